/* Evidence in, verdict out. No network, no files, no clock of its own: bytes and a moment. Any thread; takes some
 * milliseconds of CPU, so never on an event loop. */
#ifndef E2EE_ATTEST_ATTEST_H
#define E2EE_ATTEST_ATTEST_H

#include <stdint.h>

#include "attest/collateral.h"
#include "attest/nras.h"
#include "attest/policy.h"
#include "attest/root.h"
#include "attest/verdict.h"
#include "base/err.h"

#define ATTEST_NONCE_BYTES 32

/* Lowest numbers that are still acceptable, from the rollback guard's memory; zeros: none. */
struct attest_floor {
    uint64_t tcb_evaluation, pck_crl_number, root_crl_number;
};

struct attest_input {
    const char *model; /* catalogue id, for pins; may be NULL */
    const char *body;  /* the provider's body; NULL with a bare quote */
    size_t body_len;
    const uint8_t *quote; /* a bare quote; ignored when there is a body */
    size_t quote_len;
    const uint8_t *nonce; /* ATTEST_NONCE_BYTES that we sent; NULL: unknown (verify without --nonce) */
    const struct collateral *collateral;  /* NULL: none, which refuses */
    const struct attest_root *root;       /* NULL: Intel's */
    const struct attest_pin *stored_pins; /* first-use pins of this model */
    size_t stored_pin_count;
    struct attest_floor floor;
    const char *collateral_problem;   /* why there is none, for the verdict; may be NULL */
    const struct nras_evidence *nras; /* what NVIDIA's service said of the body's GPUs; NULL: not asked */
};

/* Verifies. True when a verdict was reached, verified or refused: look at verdict->verified. False only when none
 * could be (ERR_MEMORY, ERR_CRYPTO, ERR_INTERNAL), or when there is neither body nor quote (ERR_INVALID); the verdict
 * refuses then. Evidence that cannot be read is a refusal like any other. */
bool attest_verify(const struct attest_input *input, const struct attest_policy *policy, int64_t now,
                   struct attest_verdict *verdict, struct err *err) MUST_CHECK;
/* A refused verdict as the error a client sees: ERR_ATTESTATION naming the check. Returns false. */
bool attest_error(const struct attest_verdict *verdict, struct err *err);
/* Which collateral to ask for, from a body or bare quote, without any verification. */
bool attest_collateral_key(const struct attest_input *input, struct collateral_key *out,
                           struct err *err) MUST_CHECK;

#endif
