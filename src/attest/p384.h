/* ECDSA over P-384 with SHA-384 and signatures as r || s: NVIDIA's GPU reports and ES384 tokens. Any thread. */
#ifndef E2EE_ATTEST_P384_H
#define E2EE_ATTEST_P384_H

#include <openssl/types.h>
#include <stdint.h>

#include "base/err.h"

#define P384_KEY_BYTES 96 /* X || Y */
#define P384_SIGNATURE_BYTES 96

/* Key of a certificate, which must be on P-384 and uncompressed. ERR_INVALID. */
bool p384_key(const X509 *cert, uint8_t key[static P384_KEY_BYTES], struct err *err) MUST_CHECK;
/* *valid false when the point is not on the curve or the signature does not fit; false only for ERR_CRYPTO. */
bool p384_verify(bool *valid, const uint8_t key[static P384_KEY_BYTES],
                 const uint8_t signature[static P384_SIGNATURE_BYTES], const void *data, size_t len,
                 struct err *err) MUST_CHECK;

#endif
