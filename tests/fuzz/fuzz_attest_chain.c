/* A quote's certificates as it carries them, PEM text: what parses is exactly three certificates, each the DER that its
 * base64 says, and its SGX extension is whole or empty. Slow, for OpenSSL makes a key of each certificate. */
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

#include "attest/certs.h"
#include "attest/sgx.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool ok)
{
    if (!ok) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct sgx_extension empty;
    struct certs certs;
    struct sgx_extension sgx;
    struct err err = {0};

    if (!certs_parse(&certs, (const char *)data, size, PCK_CHAIN, &err)) {
        require(certs.count == 0 && certs.cert[0] == NULL && err.kind != ERR_NONE);
        return 0;
    }
    require(certs.count == PCK_CHAIN);
    for (size_t i = 0; i < certs.count; i++) {
        uint8_t *der = NULL, hash[SHA256_BYTES];
        int len = i2d_X509(certs.cert[i], &der);
        require(len > 0 && hash_sha256(hash, der, (size_t)len) &&
                memcmp(hash, certs.sha256[i], sizeof hash) == 0);
        OPENSSL_free(der);
    }
    if (!sgx_of_cert(&sgx, certs.cert[0], &err)) {
        require(memcmp(&sgx, &empty, sizeof sgx) == 0);
    }
    certs_free(&certs);
    return 0;
}
