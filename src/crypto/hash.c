#include "crypto/hash.h"

#include <pthread.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/rand.h>

static pthread_once_t fetch_once = PTHREAD_ONCE_INIT;
static EVP_KDF *hkdf_algorithm;
static EVP_MD *sha256_algorithm;

/* Fetching by name costs more than one HKDF, and as much as SHA-256 of a short text: once a process. */
static void fetch_algorithms(void)
{
    hkdf_algorithm = EVP_KDF_fetch(NULL, "HKDF", NULL);
    sha256_algorithm = EVP_MD_fetch(NULL, "SHA256", NULL);
}

static const EVP_MD *sha256(void)
{
    pthread_once(&fetch_once, fetch_algorithms);
    return sha256_algorithm != NULL ? sha256_algorithm : EVP_sha256();
}

bool hash_sha256(uint8_t out[static SHA256_BYTES], const void *data, size_t len)
{
    return EVP_Digest(data, len, out, NULL, sha256(), NULL) == 1;
}

bool hash_sha256_parts(uint8_t out[static SHA256_BYTES], const struct hash_part *parts, size_t count)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = ctx != NULL && EVP_DigestInit_ex(ctx, sha256(), NULL) == 1;
    for (size_t i = 0; ok && i < count; i++) {
        uint8_t len[8];
        for (size_t b = 0; b < sizeof len; b++) {
            len[b] = (uint8_t)((uint64_t)parts[i].len >> (8 * b));
        }
        ok = EVP_DigestUpdate(ctx, len, sizeof len) == 1 &&
             EVP_DigestUpdate(ctx, parts[i].data, parts[i].len) == 1;
    }
    ok = ok && EVP_DigestFinal_ex(ctx, out, NULL) == 1;
    EVP_MD_CTX_free(ctx);
    return ok;
}

bool hash_sha384(uint8_t out[static SHA384_BYTES], const void *data, size_t len)
{
    return EVP_Digest(data, len, out, NULL, EVP_sha384(), NULL) == 1;
}

bool hash_hkdf_sha256(struct secret *out, size_t out_len, const struct secret *ikm, const uint8_t *salt,
                      size_t salt_len, const void *info, size_t info_len, struct err *err)
{
    *out = SECRET_EMPTY;
    pthread_once(&fetch_once, fetch_algorithms);
    EVP_KDF_CTX *ctx = hkdf_algorithm != NULL ? EVP_KDF_CTX_new(hkdf_algorithm) : NULL;
    if (ctx == NULL) {
        return err_set(err, ERR_CRYPTO, "OpenSSL has no HKDF");
    }
    char digest[] = "SHA256";
    OSSL_PARAM params[5];
    size_t n = 0;
    params[n++] = OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0);
    params[n++] = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, ikm->data, ikm->len);
    params[n++] = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, (void *)(uintptr_t)info, info_len);
    if (salt_len > 0) {
        params[n++] =
            OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, (void *)(uintptr_t)salt, salt_len);
    }
    params[n] = OSSL_PARAM_construct_end();
    bool ok = secret_new(out, out_len, err);
    if (ok && EVP_KDF_derive(ctx, out->data, out_len, params) != 1) {
        secret_free(out);
        ok = err_set(err, ERR_CRYPTO, "HKDF failed");
    }
    EVP_KDF_CTX_free(ctx);
    return ok;
}

bool hash_protocol_key(struct secret *key, const struct secret *z, struct err *err)
{
    static const char info[] = "ecdsa_encryption";
    return hash_hkdf_sha256(key, 32, z, NULL, 0, info, sizeof info - 1, err);
}

bool hash_random(void *out, size_t len, struct err *err)
{
    if (RAND_bytes_ex(NULL, out, len, 0) != 1) {
        return err_set(err, ERR_CRYPTO, "the random generator failed");
    }
    return true;
}
