/* Attesting a model: fetches its evidence with a fresh nonce and the collateral that belongs to it, verifies both up to
 * the root, and says which key may be sealed to. Blocking; any thread but a loop. Shared by the sessions of `serve` and
 * the command `attest`. */
#ifndef E2EE_APP_VERIFIER_H
#define E2EE_APP_VERIFIER_H

#include "app/config.h"
#include "attest/attest.h"
#include "session/collateral_source.h"
#include "session/nras_fetch.h"
#include "session/sessions.h"
#include "upstream/config.h"

struct verifier;

/* One evidence set and what came of it. */
struct verification {
    struct attest_verdict verdict;
    uint8_t nonce[ATTEST_NONCE_BYTES];
    struct buf body; /* as the provider sent it */
    struct collateral_got got;
    struct nras_got nras;  /* what NVIDIA's service said, when it was asked */
    int64_t collateral_ns; /* of the time: to get the collateral */
};

/* config and upstream outlive it. ERR_CONFIG for an unreadable policy, root or --collateral; ERR_IO when the state
 * folder cannot be had. */
struct verifier *verifier_new(const struct config *config, struct upstream_config *upstream,
                              struct err *err) MUST_CHECK;
void verifier_free(struct verifier *v);
/* Fetches of collateral that run fail, and later ones too: for shutdown. NULL is fine. */
void verifier_abort(struct verifier *v);
/* Starts a thread that renews cached collateral at half its life, also when no session asks for it: for `serve`. */
bool verifier_start(struct verifier *v, struct err *err) MUST_CHECK;
/* Where it writes pins and collateral. */
const char *verifier_folder(const struct verifier *v);
/* The file beside it that counts attestations, which exists. */
const char *verifier_quota_file(const struct verifier *v);
/* One line for the log at start: root, collateral, pins. */
void verifier_announce(struct verifier *v);
/* Reads the policy file again. *changed: it decides something else than before, or somebody changed the stored pins, so
 * that open sessions may hold no longer. On failure the old one stays. The main thread. */
bool verifier_reload(struct verifier *v, bool *changed, struct err *err) MUST_CHECK;

void verification_init(struct verification *v);
void verification_free(struct verification *v);
/* Fetches and verifies. True when a verdict was reached, verified or refused. What is verified at its first use is
 * pinned, and every set is kept where [attestation] evidence_dir says. */
bool verifier_verify(struct verifier *v, const char *model, struct verification *out,
                     struct err *err) MUST_CHECK;
/* attest --pin: accepts what out holds as a value of the model and judges it again. ERR_ATTESTATION when another check
 * than that of the pins refuses it. */
bool verifier_pin(struct verifier *v, const char *model, struct verification *out,
                  struct err *err) MUST_CHECK;

/* The hook of struct sessions_options: arg is the verifier. ERR_ATTESTATION when the verdict is a refusal; where no
 * collateral could be had, the error of the network. */
bool verifier_attest(void *arg, const char *model, struct session_evidence *out, struct err *err);

/* The last verdict on each model, for /health and /metrics. */
struct verifier_outcome {
    char model[LIMIT_MODEL_ID_BYTES + 1];
    int64_t at_ns; /* clock_boot_ns: its age must not follow a clock that was set */
    bool verified;
    bool gpus_missed; /* it was said that a verdict came without evidence of GPUs; until there is some */
    bool gpus;        /* evidence of GPUs was there, and held */
    enum tcb_status tcb_status;
    enum attest_level level;
    char check[VERDICT_NAME_BYTES]; /* that refused it; "" when verified */
    int64_t collateral_expires;     /* 0: unknown */
};
void verifier_visit(struct verifier *v, void (*visit)(void *arg, const struct verifier_outcome *outcome),
                    void *arg);

#endif
