/* ECDSA over P-256 with raw keys and signatures. */
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <string.h>

#include "attest/certs.h"

#define SIGNATURE_DER_MAX 80

/* NULL when the point is not on the curve. */
static EVP_PKEY *key_of_raw(const uint8_t key[static P256_KEY_BYTES])
{
    uint8_t point[1 + P256_KEY_BYTES] = {4};
    char group[] = "P-256";
    EVP_PKEY *pkey = NULL;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);

    memcpy(point + 1, key, P256_KEY_BYTES);
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0),
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point, sizeof point),
        OSSL_PARAM_construct_end(),
    };
    if (ctx == NULL || EVP_PKEY_fromdata_init(ctx) != 1 ||
        EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, params) != 1) {
        pkey = NULL;
    }
    EVP_PKEY_CTX_free(ctx);
    return pkey;
}

/* r || s as the DER that EVP wants. 0 on failure. */
static size_t signature_to_der(uint8_t der[static SIGNATURE_DER_MAX],
                               const uint8_t raw[static P256_SIGNATURE_BYTES])
{
    ECDSA_SIG *signature = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(raw, 32, NULL), *s = BN_bin2bn(raw + 32, 32, NULL);
    int len = -1;

    if (signature != NULL && r != NULL && s != NULL && ECDSA_SIG_set0(signature, r, s) == 1) {
        r = s = NULL;
        len = i2d_ECDSA_SIG(signature, NULL);
        if (len > 0 && len <= SIGNATURE_DER_MAX) {
            uint8_t *p = der;
            len = i2d_ECDSA_SIG(signature, &p);
        } else {
            len = -1;
        }
    }
    BN_free(r);
    BN_free(s);
    ECDSA_SIG_free(signature);
    return len > 0 ? (size_t)len : 0;
}

bool certs_p256_verify(bool *valid, const uint8_t key[static P256_KEY_BYTES],
                       const uint8_t signature[static P256_SIGNATURE_BYTES], const void *data, size_t len,
                       struct err *err)
{
    uint8_t der[SIGNATURE_DER_MAX];
    bool ok = false;

    *valid = false;
    EVP_PKEY *pkey = key_of_raw(key);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    size_t der_len = signature_to_der(der, signature);
    if (ctx == NULL || der_len == 0) {
        err_set(err, ERR_CRYPTO, "a signature could not be prepared for verification");
        goto out;
    }
    ok = true;
    if (pkey == NULL) {
        goto out;
    }
    if (EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, pkey) != 1) {
        ok = err_set(err, ERR_CRYPTO, "EVP_DigestVerifyInit failed");
        goto out;
    }
    *valid = EVP_DigestVerify(ctx, der, der_len, data, len) == 1;
out:
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(pkey);
    ERR_clear_error();
    return ok;
}
