/* Whether the quote was made for our nonce and our key: REPORTDATA is address(key) || twelve zero bytes || nonce
 * (protocol.md section 1, attestation.md section 3), compared whole, with the address computed from the key that
 * messages will be sealed to, never from what the body says it is. */
#ifndef E2EE_ATTEST_BINDING_H
#define E2EE_ATTEST_BINDING_H

#include "attest/body.h"
#include "attest/verdict.h"

/* Appends "nonce" and "binding" and sets the verdict's key. body NULL: a bare quote. nonce (32 bytes) NULL: unknown.
 * v->measurements must be filled. */
void binding_check(struct attest_verdict *v, const struct attest_body *body, const uint8_t *nonce);
/* Appends "freshness" from ACI's own dates and lowers not_after; now is v->at. */
void binding_freshness(struct attest_verdict *v, const struct attest_body *body);

#endif
