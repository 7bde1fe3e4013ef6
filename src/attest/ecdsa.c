#include "attest/ecdsa.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "crypto/hash.h"

#define KEY_MAX P384_KEY_BYTES
#define SIGNATURE_DER_MAX 112

static const struct {
    const char *name;
    int nid;
    size_t coordinate; /* bytes; a key and a signature have two of that size */
    size_t digest_bytes;
    bool (*hash)(uint8_t *digest, const void *data, size_t len);
} curves[] = {
    [ECDSA_P256] = {"P-256", NID_X9_62_prime256v1, P256_KEY_BYTES / 2, SHA256_BYTES, hash_sha256},
    [ECDSA_P384] = {"P-384", NID_secp384r1, P384_KEY_BYTES / 2, SHA384_BYTES, hash_sha384},
};

bool ecdsa_key(enum ecdsa_curve curve, const X509 *cert, uint8_t *key, struct err *err)
{
    EVP_PKEY *pkey = X509_get0_pubkey(cert);
    /* The point as it stands in the certificate, which is what pkey was made of, for OpenSSL reckons the coordinates anew
     * when it is asked for them. */
    const ASN1_BIT_STRING *point = X509_get0_pubkey_bitstr(cert);
    char group[32];
    size_t len, key_bytes = 2 * curves[curve].coordinate;
    bool ok = pkey != NULL && point != NULL && EVP_PKEY_is_a(pkey, "EC") &&
              EVP_PKEY_get_group_name(pkey, group, sizeof group, &len) &&
              OBJ_txt2nid(group) == curves[curve].nid && (size_t)ASN1_STRING_length(point) == 1 + key_bytes &&
              ASN1_STRING_get0_data(point)[0] == 4;
    ERR_clear_error();
    if (!ok) {
        memset(key, 0, key_bytes);
        return err_set(err, ERR_INVALID, "a certificate's key is not on %s", curves[curve].name);
    }
    memcpy(key, ASN1_STRING_get0_data(point) + 1, key_bytes);
    return true;
}

/* A key without a point. */
static EVP_PKEY *make_blank(enum ecdsa_curve curve)
{
    char group[8];
    EVP_PKEY *pkey = NULL;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);

    snprintf(group, sizeof group, "%s", curves[curve].name); /* OpenSSL's parameter is not const */
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0),
        OSSL_PARAM_construct_end(),
    };
    if (ctx == NULL || EVP_PKEY_fromdata_init(ctx) != 1 ||
        EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_KEY_PARAMETERS, params) != 1) {
        pkey = NULL;
    }
    EVP_PKEY_CTX_free(ctx);
    return pkey;
}

/* A copy of a key without a point, which is kept for the life of the process: to copy a curve takes a quarter of the time
 * that OpenSSL takes to make it of its name. */
static EVP_PKEY *blank(enum ecdsa_curve curve)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static EVP_PKEY *kept[ECDSA_P384 + 1];
    pthread_mutex_lock(&lock);
    if (kept[curve] == NULL) {
        kept[curve] = make_blank(curve);
    }
    EVP_PKEY *copy = kept[curve] != NULL ? EVP_PKEY_dup(kept[curve]) : NULL;
    pthread_mutex_unlock(&lock);
    return copy;
}

/* r || s as the DER that EVP wants. 0 on failure. */
static size_t signature_to_der(uint8_t der[static SIGNATURE_DER_MAX], const uint8_t *raw, size_t coordinate)
{
    ECDSA_SIG *signature = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(raw, (int)coordinate, NULL);
    BIGNUM *s = BN_bin2bn(raw + coordinate, (int)coordinate, NULL);
    int len = -1;

    if (signature != NULL && r != NULL && s != NULL && ECDSA_SIG_set0(signature, r, s) == 1) {
        uint8_t *p = der;
        r = s = NULL;
        len = i2d_ECDSA_SIG(signature, NULL);
        len = len > 0 && len <= SIGNATURE_DER_MAX ? i2d_ECDSA_SIG(signature, &p) : -1;
    }
    BN_free(r);
    BN_free(s);
    ECDSA_SIG_free(signature);
    return len > 0 ? (size_t)len : 0;
}

static bool set_point(EVP_PKEY *pkey, enum ecdsa_curve curve, const uint8_t *key)
{
    uint8_t point[1 + KEY_MAX] = {4};
    size_t key_bytes = 2 * curves[curve].coordinate;
    memcpy(point + 1, key, key_bytes);
    return EVP_PKEY_set1_encoded_public_key(pkey, point, 1 + key_bytes) == 1;
}

EVP_PKEY *ecdsa_pkey(enum ecdsa_curve curve, const uint8_t *key)
{
    ERR_set_mark();
    EVP_PKEY *pkey = blank(curve);
    if (pkey != NULL && !set_point(pkey, curve, key)) {
        EVP_PKEY_free(pkey);
        pkey = NULL;
    }
    ERR_pop_to_mark();
    return pkey;
}

bool ecdsa_fits(bool *valid, EVP_PKEY *pkey, const uint8_t *der, size_t der_len, const uint8_t *digest,
                size_t digest_len)
{
    ERR_set_mark();
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL);
    bool ok = ctx != NULL && EVP_PKEY_verify_init(ctx) == 1;
    *valid = ok && EVP_PKEY_verify(ctx, der, der_len, digest, digest_len) == 1;
    EVP_PKEY_CTX_free(ctx);
    ERR_pop_to_mark();
    return ok;
}

bool ecdsa_verify_digest(enum ecdsa_curve curve, bool *valid, const uint8_t *key, const uint8_t *signature,
                         const uint8_t *digest, struct err *err)
{
    uint8_t der[SIGNATURE_DER_MAX];
    bool ok = false;

    *valid = false;
    EVP_PKEY *pkey = blank(curve);
    size_t der_len = signature_to_der(der, signature, curves[curve].coordinate);
    if (pkey == NULL || der_len == 0) {
        err_set(err, ERR_CRYPTO, "a signature could not be prepared for verification");
        goto out;
    }
    ok = !set_point(pkey, curve, key) /* not on the curve */ ||
         ecdsa_fits(valid, pkey, der, der_len, digest, curves[curve].digest_bytes) ||
         err_set(err, ERR_CRYPTO, "a signature could not be verified");
out:
    EVP_PKEY_free(pkey);
    ERR_clear_error();
    return ok;
}

bool ecdsa_verify(enum ecdsa_curve curve, bool *valid, const uint8_t *key, const uint8_t *signature,
                  const void *data, size_t len, struct err *err)
{
    uint8_t digest[SHA384_BYTES];
    *valid = false;
    return curves[curve].hash(digest, data, len)
               ? ecdsa_verify_digest(curve, valid, key, signature, digest, err)
               : err_set(err, ERR_CRYPTO, "what is signed could not be hashed");
}
