/* Does this token, with this program, compute what the protocol needs? */
#ifndef E2EE_HSM_SELFTEST_H
#define E2EE_HSM_SELFTEST_H

#include "hsm/key.h"

/* HKDF and AES-256-GCM on protocol.md's vector A. No token. */
bool selftest_vector(struct err *err) MUST_CHECK;
/* A pair of the token and a fresh software key derive on both sides and must agree. ERR_TOKEN. */
bool selftest_ecdh(struct token *t, const struct key_pair *pair, struct err *err) MUST_CHECK;
/* A fresh token key and a fresh software key derive on both sides and must agree; the token key is destroyed. Its
 * attributes go to *attributes (may be NULL). ERR_TOKEN names the step. */
bool selftest_token(struct token *t, struct key_set *set, struct key_attributes *attributes,
                    struct err *err) MUST_CHECK;

#endif
