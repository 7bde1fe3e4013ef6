/* One sealed field (docs/PROTOCOL.md, "Request encryption"): lower-case hex of
 *     point65 || nonce12 || ciphertext || tag16
 * where point is the sender's public key, AES-256-GCM's AAD is empty and the nonce is random. */
#ifndef E2EE_WIRE_FIELD_H
#define E2EE_WIRE_FIELD_H

#include "base/buf.h"
#include "crypto/aead.h"
#include "crypto/point.h"

/* Bytes that sealing adds, and the hex digits of a field that seals nothing. */
#define FIELD_EXTRA_BYTES (POINT_BYTES + AEAD_NONCE_BYTES + AEAD_TAG_BYTES)
#define FIELD_MIN_CHARS (2 * FIELD_EXTRA_BYTES) /* 186 */
/* Hex digits of a field of len bytes of plaintext. */
#define FIELD_CHARS(len) (2 * (FIELD_EXTRA_BYTES + (len)))

/* A received field, decoded. All three point into the caller's bytes. */
struct field {
    const uint8_t *point; /* POINT_BYTES, begins with 04; not yet known to be on the curve */
    const uint8_t *nonce; /* AEAD_NONCE_BYTES */
    uint8_t *sealed;      /* ciphertext and tag; aead_open may work in place */
    size_t sealed_len;    /* at least AEAD_TAG_BYTES */
};

/* The ciphertext test of docs/PROTOCOL.md, "Response encryption": at least 186 characters, even, all hex of either
 * case, beginning with 04. */
bool field_is_sealed(const char *text, size_t len);

/* Decodes text[0..len) into bytes[0..len/2), which out then points into. Fails with ERR_PLAINTEXT when text is not a
 * field at all, and with ERR_DECRYPT when it is hex that begins like a point but has no field's length. */
bool field_decode(struct field *out, uint8_t *bytes, const char *text, size_t len,
                  struct err *err) MUST_CHECK;

/* Appends the sealed hex of plain[0..len) to out, under a fresh random nonce. On failure (ERR_TOO_LARGE, ERR_CRYPTO)
 * out keeps what it held, or is failed and empty. plain must not lie in out. */
bool field_seal(struct buf *out, struct aead *key, const uint8_t point[static POINT_BYTES], const void *plain,
                size_t len, struct err *err) MUST_CHECK;

/* The same without a copy of the plaintext: field_room makes room in out for a field of at most max bytes and returns
 * where to write them (NULL when out failed); field_seal_room seals the first len of them in place and appends the
 * hex, or wipes them. Nothing else may touch out in between. */
uint8_t *field_room(struct buf *out, size_t max);
bool field_seal_room(struct buf *out, size_t max, size_t len, struct aead *key,
                     const uint8_t point[static POINT_BYTES], struct err *err) MUST_CHECK;
/* As field_seal_room under a nonce that the caller gives: for known answers only. A nonce repeated under one key
 * gives the key's stream away. */
bool field_seal_room_with_nonce(struct buf *out, size_t max, size_t len, struct aead *key,
                                const uint8_t point[static POINT_BYTES],
                                const uint8_t nonce[static AEAD_NONCE_BYTES], struct err *err) MUST_CHECK;

#endif
