/* Session custody (--custody session): the scalar that opens a session's answers, for tokens slower than a stream. It is
 * rooted in the token by ECDH with the model's attested key, and made unknown to whoever holds that key by a salt. */
#ifndef E2EE_HSM_SESSION_KEY_H
#define E2EE_HSM_SESSION_KEY_H

#include "crypto/point.h"

/* HKDF(z, 32 random bytes that are wiped here, "e2ee-hsm-proxy/response/v1"), again until in range: never z alone, which
 * the model can compute too. point is its public half. */
bool session_key_make(struct secret *scalar, uint8_t point[static POINT_BYTES], const struct secret *z,
                      struct err *err) MUST_CHECK;
/* The AES-256 key between scalar and a server's point, which must have been checked. */
bool session_key_derive(struct secret *key, const struct secret *scalar,
                        const uint8_t server_point[static POINT_BYTES], struct err *err) MUST_CHECK;

#endif
