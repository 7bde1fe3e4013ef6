/* What a verification found: the checks in the order they were made, and what follows from them. Filled by
 * attest_verify and by the modules it calls (quote chain, guest, GPU, pins), each of which appends its own checks.
 * Plain data of fixed size, nothing to free; about 60 kB, so keep it off small stacks. One thread at a time. */
#ifndef E2EE_ATTEST_VERDICT_H
#define E2EE_ATTEST_VERDICT_H

#include <stdint.h>

#include "attest/tcb.h"
#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "crypto/hash.h"
#include "crypto/point.h"

#define VERDICT_CHECKS_MAX 64
#define VERDICT_DETAIL_BYTES 768
#define VERDICT_ADVISORIES_MAX 64
#define VERDICT_ADVISORY_BYTES 32
#define VERDICT_DATE_BYTES 24
#define VERDICT_NAME_BYTES 64
#define MEASUREMENT_BYTES 48

enum check_result { CHECK_PASS, CHECK_FAIL, CHECK_NOT_APPLICABLE, CHECK_NOT_CHECKED };

struct verdict_check {
    const char *id; /* static text, e.g. "quote.signature" */
    enum check_result result;
    bool enforced;
    char
        detail[VERDICT_DETAIL_BYTES]; /* why, in words for a security officer; never text from the evidence */
};

/* interface.md: what is pinned. Below L3 the words are "some genuine TDX guest". */
enum attest_level { ATTEST_LEVEL_NONE, ATTEST_LEVEL_1, ATTEST_LEVEL_2, ATTEST_LEVEL_3 };

/* What the quote says of the guest; has no meaning while quote_verified is false. */
struct verdict_measurements {
    bool present;
    uint8_t mrtd[MEASUREMENT_BYTES], rtmr[4][MEASUREMENT_BYTES];
    uint8_t mr_config_id[MEASUREMENT_BYTES], mr_owner[MEASUREMENT_BYTES], mr_owner_config[MEASUREMENT_BYTES];
    uint8_t mr_seam[MEASUREMENT_BYTES], mr_signer_seam[MEASUREMENT_BYTES], mr_service_td[MEASUREMENT_BYTES];
    uint8_t report_data[64], td_attributes[8], xfam[8], seam_attributes[8], tee_tcb_svn[16], tee_tcb_svn2[16];
    bool has_td15; /* tee_tcb_svn2 and mr_service_td are there */
};

/* What the platform's certificate and Intel's collateral say. */
struct verdict_platform {
    bool present;
    uint8_t fmspc[6], ppid[16], cpusvn[16];
    unsigned pcesvn;
    bool chain_verified; /* every signature from the PCK certificate to the root holds */
    bool revoked;        /* and a certificate of that chain is on Intel's lists */
    enum tcb_status platform, qe, module, current; /* before convergence; current: with TEE_TCB_SVN2 */
    uint64_t tcb_evaluation, qe_evaluation;        /* tcbEvaluationDataNumber of TCB info and QE identity */
    uint64_t pck_crl_number, root_crl_number;      /* for the rollback guard's memory */
    int64_t collateral_expires;                    /* earliest nextUpdate, seconds since 1970 */
};

/* Identity of the guest's software, from authenticated events only (dstack's check fills it); what pins compare. */
struct verdict_guest {
    bool log_replayed; /* all four RTMRs follow from the event log: what L1 says */
    bool has_compose_hash, has_app_id, has_key_provider, has_os_image;
    uint8_t compose_hash[SHA256_BYTES];
    uint8_t app_id[20];
    char key_provider[16];                 /* "kms", "local-sgx", "tpm" or "none" */
    uint8_t key_provider_id[SHA256_BYTES]; /* SHA-256 of the id's bytes */
    uint8_t os_image[SHA256_BYTES];
};

struct attest_verdict {
    struct verdict_check checks[VERDICT_CHECKS_MAX];
    size_t check_count;
    bool verified;
    enum attest_level level;
    char reason[VERDICT_DETAIL_BYTES + 64]; /* "id: detail" of the first enforced check that failed */
    bool quote_verified;                    /* every signature, chain and collateral check passed */
    enum tcb_status tcb_status;             /* TCB_NONE while quote_verified is false */
    char tcb_date[VERDICT_DATE_BYTES];
    char advisories[VERDICT_ADVISORIES_MAX][VERDICT_ADVISORY_BYTES];
    size_t advisory_count;
    struct verdict_measurements measurements;
    struct verdict_platform platform;
    struct verdict_guest guest;
    int64_t at; /* the moment it was judged at, seconds since 1970 */
    int64_t
        not_after; /* sessions end here: evidence's own freshness and collateral, INT64_MAX when unbounded */
    /* The key to seal to; only when the quote binds it. */
    bool has_point;
    uint8_t point[POINT_BYTES];
    char point_hex[POINT_HEX_CHARS + 1]; /* as attested, 04 in front */
    uint8_t address[ETH_ADDRESS_BYTES];
    char shape[VERDICT_NAME_BYTES]; /* which of the three bodies */
    uint8_t quote_sha256[SHA256_BYTES], body_sha256[SHA256_BYTES];
    bool
        pin_new; /* pins = first-use and nothing stored yet: the caller stores what was seen (attest/pins.h) */
};

void verdict_init(struct attest_verdict *v, int64_t at);
/* Appends a check. id must be static. A list that is full turns the verdict into a refusal. Returns true when result
 * is CHECK_PASS or CHECK_NOT_APPLICABLE. */
bool verdict_add(struct attest_verdict *v, const char *id, enum check_result result, bool enforced,
                 const char *fmt, ...) PRINTF_LIKE(5, 6);
/* Shorthands for enforced checks; return true and false. */
#define verdict_pass(v, id, ...) verdict_add(v, id, CHECK_PASS, true, __VA_ARGS__)
#define verdict_fail(v, id, ...) verdict_add(v, id, CHECK_FAIL, true, __VA_ARGS__)
/* The last check of that id, or NULL. */
const struct verdict_check *verdict_find(const struct attest_verdict *v, const char *id);
/* Appends each id that has no check yet as not-checked with the given detail (an earlier step failed). */
void verdict_skip_rest(struct attest_verdict *v, const char *const *ids, size_t count, bool enforced,
                       const char *detail);
/* Adds an advisory to the union. False when the name is malformed or the list is full. */
bool verdict_advisory(struct attest_verdict *v, const char *name) MUST_CHECK;
/* Lowers not_after to when (0 is ignored). */
void verdict_limit(struct attest_verdict *v, int64_t when);
/* Decides verified, reason and level: refused when an enforced check failed or was not made. Call last. */
void verdict_close(struct attest_verdict *v);

const char *
verdict_result_name(enum check_result result);           /* "pass", "fail", "not-applicable", "not-checked" */
const char *verdict_level_name(enum attest_level level); /* "none", "L1", "L2", "L3" */

/* interface.md, "What attest --json and verify --json print": one line of JSON, without newline. */
bool verdict_to_json(const struct attest_verdict *v, struct buf *out, struct err *err) MUST_CHECK;
/* The same as a table for people, with newlines. */
bool verdict_to_text(const struct attest_verdict *v, struct buf *out, struct err *err) MUST_CHECK;

#endif
