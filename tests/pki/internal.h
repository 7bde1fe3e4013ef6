/* Shared by the files of the test PKI. */
#ifndef E2EE_TESTS_PKI_INTERNAL_H
#define E2EE_TESTS_PKI_INTERNAL_H

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdlib.h>

#include "pki/pki.h"

#define MUST(condition)                                                                                      \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)

struct pki {
    EVP_PKEY *root_key, *ca_key, *pck_key, *signer_key, *attestation_key;
    X509 *root, *ca, *pck, *signer;
    X509_CRL *root_crl, *pck_crl;
};

void pki_append(struct pki_bytes *b, const void *data, size_t len);
void pki_appendf(struct pki_bytes *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* r || s of ECDSA with SHA-256. */
void pki_sign(EVP_PKEY *key, const void *data, size_t len, uint8_t signature[static 64]);
/* r || s of ECDSA with SHA-384. */
void pki_sign384(EVP_PKEY *key, const void *data, size_t len, uint8_t signature[static 96]);
/* X || Y. */
void pki_public(EVP_PKEY *key, uint8_t xy[static 64]);
/* "2026-06-10T00:56:35Z" */
void pki_date(int64_t when, char out[static 32]);
/* issuer NULL: self-signed. Signed with the digest that fits the issuer's curve. extra: one more extension, or NULL. */
X509 *pki_cert(EVP_PKEY *key, const char *cn, X509 *issuer, EVP_PKEY *issuer_key, bool ca, long serial,
               int64_t from, int64_t until, X509_EXTENSION *extra);
struct pki_bytes pki_pem(X509 *const *certs, size_t count);

#endif
