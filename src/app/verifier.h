/* Attesting a model: fetches its evidence with a fresh nonce, verifies it, and says which key may be sealed to. Blocking;
 * any thread but a loop. Shared by the sessions of `serve` and the command `attest`. */
#ifndef E2EE_APP_VERIFIER_H
#define E2EE_APP_VERIFIER_H

#include "app/config.h"
#include "attest/attest.h"
#include "session/sessions.h"
#include "upstream/config.h"

struct verifier;

/* One evidence set and what came of it. */
struct verification {
    struct attest_verdict verdict;
    uint8_t nonce[ATTEST_NONCE_BYTES];
    struct buf body; /* as the provider sent it */
};

/* config and upstream outlive it. */
struct verifier *verifier_new(const struct config *config, struct upstream_config *upstream,
                              struct err *err) MUST_CHECK;
void verifier_free(struct verifier *v);

void verification_init(struct verification *v);
void verification_free(struct verification *v);
/* Fetches and verifies. True when a verdict was reached, verified or refused. */
bool verifier_verify(struct verifier *v, const char *model, struct verification *out,
                     struct err *err) MUST_CHECK;

/* The hook of struct sessions_options: arg is the verifier. ERR_ATTESTATION when the verdict is a refusal. */
bool verifier_attest(void *arg, const char *model, struct session_evidence *out, struct err *err);

#endif
