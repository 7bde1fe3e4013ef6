/* The attestation policy (--policy FILE, INI). What no policy can accept: Revoked, no matching TCB level, debug mode, an
 * unknown status, a broken signature. Read-only once loaded; any thread. docs name the file's keys; policy_show prints
 * the one in force and where each line comes from. */
#ifndef E2EE_ATTEST_POLICY_H
#define E2EE_ATTEST_POLICY_H

#include <stdint.h>

#include "attest/tcb.h"
#include "attest/verdict.h"
#include "base/buf.h"
#include "base/err.h"

#define POLICY_PINS_MAX 256
#define POLICY_ADVISORIES_MAX 64
#define POLICY_FILE_BYTES 262144
#define POLICY_MODEL_BYTES 128

enum policy_pins {
    POLICY_PINS_FIRST_USE, /* as ssh does: stored at the first verified evidence, others refused */
    POLICY_PINS_POLICY,    /* only what the policy file lists */
    POLICY_PINS_WARN,      /* changes are said loudly and pass */
    POLICY_PINS_OFF        /* not judged: verify without a policy */
};

/* One accepted set of values for a model: those that are given must all match. */
struct attest_pin {
    char label[VERDICT_NAME_BYTES];
    char model[POLICY_MODEL_BYTES + 1]; /* "*" for any */
    bool has_os, has_compose_hash, has_app_id, has_key_provider;
    uint8_t mrtd[MEASUREMENT_BYTES], rtmr1[MEASUREMENT_BYTES], rtmr2[MEASUREMENT_BYTES]; /* the OS image */
    uint8_t compose_hash[SHA256_BYTES];
    uint8_t app_id[20];
    char key_provider[16];
    bool has_key_provider_id;
    uint8_t key_provider_id[SHA256_BYTES]; /* SHA-256 of the id's bytes */
};

/* Which settings the file set; the others are built in. */
enum policy_setting {
    POLICY_SET_ACCEPT,
    POLICY_SET_MIN_EVALUATION,
    POLICY_SET_ADVISORIES,
    POLICY_SET_ALLOW_STALE,
    POLICY_SET_PINS,
    POLICY_SET_GPU,
    POLICY_SETTING_COUNT
};

struct attest_policy {
    unsigned accept;         /* TCB_BIT set of statuses; all but UpToDate pass with a warning */
    uint64_t min_evaluation; /* lowest tcbEvaluationDataNumber, 0: any */
    char advisories[POLICY_ADVISORIES_MAX][VERDICT_ADVISORY_BYTES]; /* accepted though they apply */
    size_t advisory_count;
    int64_t allow_stale_s; /* collateral this long past its nextUpdate passes, loudly */
    enum policy_pins pins;
    bool gpu_enforced;
    bool gpu_required;           /* and evidence of GPUs must be there */
    struct attest_pin *accepted; /* owned */
    size_t accepted_count;
    char *source;                    /* the file, owned; NULL: built in */
    int lines[POLICY_SETTING_COUNT]; /* line in source, 0: built in */
};

/* The built-in policy: UpToDate and SWHardeningNeeded, pins = first-use, GPU checks enforced. */
void policy_init(struct attest_policy *p);
void policy_free(struct attest_policy *p);
/* Reads an INI file (ERR_CONFIG names file and line). */
bool policy_load(struct attest_policy *p, const char *path, struct err *err) MUST_CHECK;
/* The same from memory; name stands for the path in messages. */
bool policy_parse(struct attest_policy *p, const char *name, const char *text, struct err *err) MUST_CHECK;
/* What `policy show` prints. */
bool policy_show(const struct attest_policy *p, struct buf *out, struct err *err) MUST_CHECK;
/* SHA-256 of all that decides: sessions end when it changes. */
bool policy_digest(const struct attest_policy *p, uint8_t out[static SHA256_BYTES]) MUST_CHECK;

#endif
