/* Certificates and CRLs of Intel's PKI, over OpenSSL (attestation.md section 1, steps 2, 3, 7, 10).
 * Any thread. */
#ifndef E2EE_ATTEST_CERTS_H
#define E2EE_ATTEST_CERTS_H

#include <openssl/types.h>
#include <stdint.h>

#include "attest/ecdsa.h"
#include "attest/root.h"
#include "base/err.h"
#include "crypto/hash.h"

#define CERTS_MAX 5 /* of one chain: three of Intel's, five of NVIDIA's */
#define PCK_CHAIN 3 /* PCK certificate, its CA, root */

#define PCK_CN "Intel SGX PCK Certificate"
#define PCK_PLATFORM_CN "Intel SGX PCK Platform CA"
#define PCK_PROCESSOR_CN "Intel SGX PCK Processor CA"
#define TCB_SIGNER_CN "Intel SGX TCB Signing"
#define ROOT_CN "Intel SGX Root CA"

/* Leaf first, root last. certs_parse fills it, and nobody else: what is remembered of a chain goes by the hashes. */
struct certs {
    X509 *cert[CERTS_MAX];
    uint8_t sha256[CERTS_MAX][SHA256_BYTES]; /* of each one's DER */
    size_t count;
};

/* A certificate that is exactly this DER, for the caller to free, and its hash. NULL: it is none, its key or its extensions cannot be
 * read, or OpenSSL failed. */
X509 *certs_of_der(uint8_t sha256[static SHA256_BYTES], const uint8_t *der, size_t len);
/* Exactly count certificates in PEM, nothing but line ends between them, at most one NUL behind: no byte that a
 * signature does not cover may carry anything. ERR_INVALID. */
bool certs_parse(struct certs *out, const char *pem, size_t len, size_t count, struct err *err) MUST_CHECK;
void certs_free(struct certs *certs);
/* The subject has exactly one common name, and it is name. */
bool certs_named(const X509 *cert, const char *name);
/* True when the last certificate is, byte for byte, the root. */
bool certs_end_in(const struct certs *certs, const struct attest_root *root);
/* Seconds since 1970. */
bool certs_time(const ASN1_TIME *time, int64_t *out) MUST_CHECK;

/* A CRL and its dates, seconds since 1970. */
struct certs_crl {
    X509_CRL *crl;
    int64_t from, until;
    uint64_t number;
    uint8_t sha256[SHA256_BYTES]; /* of its DER */
};

/* DER. Refuses one without nextUpdate or number, and another signature algorithm than ecdsa-with-SHA256. */
bool certs_crl_parse(struct certs_crl *out, const uint8_t *der, size_t len, struct err *err) MUST_CHECK;
void certs_crl_free(struct certs_crl *crl);
/* Issued and signed by issuer. */
bool certs_crl_issued_by(const struct certs_crl *crl, X509 *issuer, struct err *err) MUST_CHECK;

/* The chain to the root at the moment now, by X509_verify_cert: strict flags, only the root trusted, both CRLs (NULL:
 * without revocation). A CRL may be past its nextUpdate by allow_stale_s seconds, no certificate past its end by one. What
 * was accepted is remembered for exactly these bytes while every date in them compares as it did (attest/proven.h).
 * ERR_EXPIRED: outside a validity; ERR_FORBIDDEN: revoked; ERR_INVALID: anything else. */
bool certs_verify(const struct certs *certs, const struct attest_root *root, const struct certs_crl *root_crl,
                  const struct certs_crl *pck_crl, int64_t allow_stale_s, int64_t now,
                  struct err *err) MUST_CHECK;

/* The root's certificate, owned by the root. */
X509 *root_certificate(const struct attest_root *root);

#endif
