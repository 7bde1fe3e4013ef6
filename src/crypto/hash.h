/* Hashes and HKDF. Any thread. */
#ifndef E2EE_CRYPTO_HASH_H
#define E2EE_CRYPTO_HASH_H

#include <stdint.h>

#include "base/err.h"
#include "base/secret.h"

#define SHA256_BYTES 32
#define SHA384_BYTES 48
#define KECCAK256_BYTES 32

bool hash_sha256(uint8_t out[static SHA256_BYTES], const void *data, size_t len) MUST_CHECK;
/* Over the parts one after the other, each with its length in front, so that no other parts come to the same bytes. */
struct hash_part {
    const void *data;
    size_t len;
};
bool hash_sha256_parts(uint8_t out[static SHA256_BYTES], const struct hash_part *parts,
                       size_t count) MUST_CHECK;
bool hash_sha384(uint8_t out[static SHA384_BYTES], const void *data, size_t len) MUST_CHECK;
/* Keccak-256 with the original padding 0x01 (Ethereum), not SHA3-256; OpenSSL has it only from 3.2 on. */
void hash_keccak256(uint8_t out[static KECCAK256_BYTES], const void *data, size_t len);
/* RFC 5869 with SHA-256; salt may be NULL with salt_len 0. *out, which must be empty, gets out_len bytes. */
bool hash_hkdf_sha256(struct secret *out, size_t out_len, const struct secret *ikm, const uint8_t *salt,
                      size_t salt_len, const void *info, size_t info_len, struct err *err) MUST_CHECK;
/* The protocol's key: HKDF-SHA256(no salt, info "ecdsa_encryption", 32 bytes), protocol.md section 2. */
bool hash_protocol_key(struct secret *key, const struct secret *z, struct err *err) MUST_CHECK;
/* Random bytes from the operating system's generator through OpenSSL. */
bool hash_random(void *out, size_t len, struct err *err) MUST_CHECK;

#endif
