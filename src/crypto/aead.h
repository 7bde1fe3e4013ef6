/* AES-256-GCM with a 12-byte nonce, a 16-byte tag and empty AAD (protocol.md section 2). A struct aead is one
 * key's context, used by one thread at a time. */
#ifndef E2EE_CRYPTO_AEAD_H
#define E2EE_CRYPTO_AEAD_H

#include <stdint.h>

#include "base/err.h"
#include "base/secret.h"

#define AEAD_KEY_BYTES 32
#define AEAD_NONCE_BYTES 12
#define AEAD_TAG_BYTES 16

struct aead; /* an EVP context; keys may be changed, which is cheaper than a new one */

struct aead *aead_new(struct err *err) MUST_CHECK;
void aead_free(struct aead *a);
/* Sets the 32-byte key. Each key is used for sealing by random nonces for at most 2^32 fields; a session's
 * hour is far below that. */
bool aead_set_key(struct aead *a, const struct secret *key, struct err *err) MUST_CHECK;
/* Removes the key from the context. */
void aead_clear(struct aead *a);
/* out receives len bytes of ciphertext followed by the tag: len + 16. In place (out == in) is fine. */
bool aead_seal(struct aead *a, uint8_t *out, const uint8_t nonce[static AEAD_NONCE_BYTES], const uint8_t *in,
               size_t len, struct err *err) MUST_CHECK;
/* in is len bytes, ciphertext and tag; out receives len - 16 bytes, wiped on failure. ERR_DECRYPT when the
 * tag is wrong or len < 16. In place is fine. */
bool aead_open(struct aead *a, uint8_t *out, const uint8_t nonce[static AEAD_NONCE_BYTES], const uint8_t *in,
               size_t len, struct err *err) MUST_CHECK;

#endif
