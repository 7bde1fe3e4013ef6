/* ECDH in the token, HKDF here. */
#ifndef E2EE_HSM_DERIVE_H
#define E2EE_HSM_DERIVE_H

#include "crypto/point.h"
#include "hsm/module.h"

/* X of private_key * point, 32 bytes, into *z: derived as a generic secret that may be read, read once, destroyed at
 * once, so that a session never holds two (some modules give out a living handle twice: tokens.md). point must have been
 * checked (point_valid): some cards leak an object on each one that they refuse. *dirty is set when the derived object
 * could not be destroyed: the session must not derive again. *rv is the token's last word. */
bool derive_shared_secret(struct module *m, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE private_key,
                          const uint8_t point[static POINT_BYTES], struct secret *z, bool *dirty, CK_RV *rv,
                          struct err *err) MUST_CHECK;

/* Is z, just derived with private_key and point, what that key and that point give? The token derives once more, with the
 * point blinded by a scalar that nobody knew before, and point_ecdh_proven compares by own, the key's public point. Needed where
 * nothing else would show a wrong secret: what is sealed with a request key has left before an answer fails to open.
 * ERR_TOKEN with *rv CKR_OK: it is wrong. The rest is as for derive_shared_secret. */
bool derive_prove(struct module *m, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE private_key,
                  const uint8_t own[static POINT_BYTES], const uint8_t point[static POINT_BYTES],
                  const struct secret *z, bool *dirty, CK_RV *rv, struct err *err) MUST_CHECK;

/* The AES-256 key between private_key and point (hash_protocol_key); the shared secret is wiped here. */
bool derive_key(struct module *m, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE private_key,
                const uint8_t point[static POINT_BYTES], struct secret *key, bool *dirty, CK_RV *rv,
                struct err *err) MUST_CHECK;

#endif
