/* ECDSA on the two curves of evidence, with keys and signatures as they stand in it: Intel's (P-256 with SHA-256), and
 * NVIDIA's GPU reports and ES384 tokens (P-384 with SHA-384). Any thread. */
#ifndef E2EE_ATTEST_ECDSA_H
#define E2EE_ATTEST_ECDSA_H

#include <openssl/types.h>
#include <stdint.h>

#include "base/err.h"

#define P256_KEY_BYTES 64       /* X || Y, big-endian */
#define P256_SIGNATURE_BYTES 64 /* r || s */
#define P384_KEY_BYTES 96
#define P384_SIGNATURE_BYTES 96

enum ecdsa_curve { ECDSA_P256, ECDSA_P384 };

/* The key of a certificate, which must be on the curve and uncompressed; key has the curve's KEY_BYTES. ERR_INVALID, key
 * zeroed. */
bool ecdsa_key(enum ecdsa_curve curve, const X509 *cert, uint8_t *key, struct err *err) MUST_CHECK;
/* signature, of the curve's SIGNATURE_BYTES, over data[0..len). *valid false when the point is not on the curve or the
 * signature does not fit; false only for ERR_CRYPTO. */
bool ecdsa_verify(enum ecdsa_curve curve, bool *valid, const uint8_t *key, const uint8_t *signature,
                  const void *data, size_t len, struct err *err) MUST_CHECK;

/* The same for what has the digest already: SHA-256 on P-256, SHA-384 on P-384. */
bool ecdsa_verify_digest(enum ecdsa_curve curve, bool *valid, const uint8_t *key, const uint8_t *signature,
                         const uint8_t *digest, struct err *err) MUST_CHECK;

/* The same with what OpenSSL has of them, for attest/provider.c. The key of a point: NULL when it is not on the curve, or OpenSSL
 * failed; the caller's. */
EVP_PKEY *ecdsa_pkey(enum ecdsa_curve curve, const uint8_t *key);
/* signature as DER. *valid false when it does not fit; false only when OpenSSL failed. */
bool ecdsa_fits(bool *valid, EVP_PKEY *pkey, const uint8_t *der, size_t der_len, const uint8_t *digest,
                size_t digest_len) MUST_CHECK;

#endif
