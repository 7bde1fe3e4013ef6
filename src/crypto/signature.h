/* Signatures of a long-lived key, by OpenSSL: what a checkpoint of the custody log is verified by. The key decides the algorithm:
 * ECDSA on P-256 or secp256k1 with SHA-256, on P-384 with SHA-384, RSA (PKCS#1 v1.5, 2048 to 4096 bits) with SHA-256. Any
 * thread. */
#ifndef E2EE_CRYPTO_SIGNATURE_H
#define E2EE_CRYPTO_SIGNATURE_H

#include <stdint.h>

#include "crypto/hash.h"

#define SIGNATURE_BYTES_MAX 512
#define SIGNATURE_INPUT_MAX 96 /* what a token is given: a digest, for RSA within its DigestInfo */

struct signature_key;

/* "-----BEGIN PUBLIC KEY-----", or the key of the first "CERTIFICATE" (whose validity is not looked at). ERR_INVALID for what is
 * neither, ERR_UNSUPPORTED for other kinds of keys. Free with signature_key_free. */
struct signature_key *signature_key_pem(const void *pem, size_t len, struct err *err) MUST_CHECK;
/* From what PKCS#11 gives: CKA_EC_PARAMS (a named curve) and the point, plain or within an OCTET STRING; CKA_MODULUS and
 * CKA_PUBLIC_EXPONENT. */
struct signature_key *signature_key_ec(const uint8_t *params, size_t params_len, const uint8_t *point,
                                       size_t point_len, struct err *err) MUST_CHECK;
struct signature_key *signature_key_rsa(const uint8_t *modulus, size_t modulus_len, const uint8_t *exponent,
                                        size_t exponent_len, struct err *err) MUST_CHECK;
void signature_key_free(struct signature_key *key);

/* "ecdsa-sha256", "ecdsa-sha384" or "rsa-sha256". */
const char *signature_algorithm(const struct signature_key *key);
bool signature_is_rsa(const struct signature_key *key);
/* SHA-256 of the SubjectPublicKeyInfo in DER. */
const uint8_t *signature_fingerprint(const struct signature_key *key);

/* What the private key is applied to for text, into out[SIGNATURE_INPUT_MAX]: the digest, for RSA its DigestInfo. */
bool signature_input(const struct signature_key *key, const void *text, size_t len,
                     uint8_t out[static SIGNATURE_INPUT_MAX], size_t *out_len, struct err *err) MUST_CHECK;
/* A token's r || s as DER in place, where signature has room for SIGNATURE_BYTES_MAX; RSA stays as it is. ERR_INVALID. */
bool signature_from_token(const struct signature_key *key, uint8_t *signature, size_t *len,
                          struct err *err) MUST_CHECK;
/* ECDSA in DER, as OpenSSL's tools take it. */
bool signature_valid(const struct signature_key *key, const void *text, size_t len, const uint8_t *signature,
                     size_t signature_len) MUST_CHECK;

#endif
