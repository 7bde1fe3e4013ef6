/*
 * The enclave's side of the cryptography, stated from docs/PROTOCOL.md sections 2 to 4 on OpenSSL and libsecp256k1.
 * Keys of the simulator are worthless, so they lie in ordinary memory and are not wiped.
 */
#ifndef SIM_CRYPTO_H
#define SIM_CRYPTO_H

#include "util.h"

#define SIM_INFO "ecdsa_encryption" /* HKDF info, section 2 */
#define SIM_POINT 65
#define SIM_FIELD_MIN_HEX 186 /* hex(65 + 12 + 0 + 16) */

struct sim_key {
    uint8_t priv[32];
    uint8_t pub[SIM_POINT]; /* 04 X Y */
    uint8_t address[20];
};

void keccak256(const void *data, size_t len, uint8_t out[static 32]);
void sha256_of(const void *data, size_t len, uint8_t out[static 32]);
void sha384_of(const void *data, size_t len, uint8_t out[static 48]);

void sim_key_new(struct sim_key *key);
bool sim_key_from(struct sim_key *key, const uint8_t priv[static 32]);
bool sim_point_valid(const uint8_t point[static SIM_POINT]); /* on the curve, prefix 04 */
void sim_point_negate(const uint8_t point[static SIM_POINT], uint8_t out[static SIM_POINT]);
void sim_address(const uint8_t point[static SIM_POINT], uint8_t out[static 20]);
/* EIP-55: 42 characters and a NUL. */
void sim_address_text(const uint8_t address[static 20], bool mixed_case, char out[static 43]);

/* Z = X of the unhashed ECDH, K = HKDF-SHA256(no salt, info). Either output may be NULL. */
bool sim_agree(const uint8_t priv[static 32], const uint8_t point[static SIM_POINT], const char *info,
               uint8_t *z, uint8_t *k);
/* out: len + 16 bytes. */
void sim_gcm_seal(const uint8_t k[static 32], const uint8_t nonce[static 12], const char *aad, const void *pt,
                  size_t len, uint8_t *out);
/* len counts the tag; out: len - 16 bytes. */
bool sim_gcm_open(const uint8_t k[static 32], const uint8_t nonce[static 12], const char *aad,
                  const uint8_t *ct, size_t len, uint8_t *out);

/* A sealed field of section 2, appended as hex: point, nonce, ciphertext, tag. */
void sim_field_seal(struct bytes *out, const uint8_t point[static SIM_POINT], const uint8_t k[static 32],
                    const uint8_t nonce[static 12], const void *pt, size_t len);
/* The opposite for the holder of priv; on success out holds the plaintext. */
bool sim_field_open(const uint8_t priv[static 32], const char *hex, size_t hex_len, struct bytes *out);

/* EIP-191 (section 4): 65 bytes r s v with v 27 or 28. */
void sim_eip191_digest(const char *text, uint8_t out[static 32]);
void sim_eip191_sign(const struct sim_key *key, const char *text, uint8_t out[static 65]);
bool sim_eip191_recover(const char *text, const uint8_t sig[static 65], uint8_t point[static SIM_POINT]);

#endif
