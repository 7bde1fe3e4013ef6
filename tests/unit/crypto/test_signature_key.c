/* Keys that sign checkpoints: the same fingerprint by every way to a key, what a token gives becomes what OpenSSL verifies, other kinds
 * of keys are refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <string.h>

#include "crypto/signature.h"

static const char text[] = "e2ee-hsm-proxy custody log checkpoint v1\n";

static const struct curve {
    const char *group, *algorithm;
    size_t half;
    uint8_t oid[10];
    size_t oid_len;
} curves[] = {
    {"P-256", "ecdsa-sha256", 32, {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07}, 10},
    {"secp256k1", "ecdsa-sha256", 32, {0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x0a}, 7},
    {"P-384", "ecdsa-sha384", 48, {0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22}, 7},
};

static size_t pem_of(EVP_PKEY *pkey, char *out, size_t cap)
{
    BIO *bio = BIO_new(BIO_s_mem());
    assert_int_equal(PEM_write_bio_PUBKEY(bio, pkey), 1);
    int n = BIO_read(bio, out, (int)cap);
    assert_true(n > 0);
    BIO_free(bio);
    return (size_t)n;
}

static struct signature_key *read_pem(EVP_PKEY *pkey)
{
    char pem[2048];
    struct err err = {0};
    size_t len = pem_of(pkey, pem, sizeof pem);
    struct signature_key *key = signature_key_pem(pem, len, &err);
    if (key == NULL) {
        fail_msg("%s", err.message);
    }
    return key;
}

/* What C_Sign gives for an EC key. */
static void sign_raw(EVP_PKEY *pkey, const struct signature_key *key, size_t half, uint8_t *out, size_t *len)
{
    uint8_t input[SIGNATURE_INPUT_MAX];
    unsigned char der[256];
    size_t input_len, der_len = sizeof der;
    struct err err = {0};
    assert_true(signature_input(key, text, sizeof text - 1, input, &input_len, &err));
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(pkey, NULL);
    assert_true(EVP_PKEY_sign_init(ctx) == 1 && EVP_PKEY_sign(ctx, der, &der_len, input, input_len) == 1);
    EVP_PKEY_CTX_free(ctx);
    const unsigned char *at = der;
    ECDSA_SIG *pair = d2i_ECDSA_SIG(NULL, &at, (long)der_len);
    assert_int_equal(BN_bn2binpad(ECDSA_SIG_get0_r(pair), out, (int)half), half);
    assert_int_equal(BN_bn2binpad(ECDSA_SIG_get0_s(pair), out + half, (int)half), half);
    ECDSA_SIG_free(pair);
    *len = 2 * half;
}

static void test_curves(void **state)
{
    for (size_t i = 0; i < sizeof curves / sizeof *curves; i++) {
        const struct curve *c = &curves[i];
        struct err err = {0};
        uint8_t point[128] = {0x04}, signature[SIGNATURE_BYTES_MAX];
        size_t point_len, len;
        EVP_PKEY *pkey = EVP_EC_gen(c->group);
        assert_int_equal(
            EVP_PKEY_get_octet_string_param(pkey, OSSL_PKEY_PARAM_PUB_KEY, point + 2, 126, &point_len), 1);
        point[1] = (uint8_t)point_len;
        struct signature_key *pem = read_pem(pkey);
        struct signature_key *plain = signature_key_ec(c->oid, c->oid_len, point + 2, point_len, &err);
        struct signature_key *wrapped = signature_key_ec(c->oid, c->oid_len, point, point_len + 2, &err);
        assert_true(plain != NULL && wrapped != NULL);
        assert_int_equal(
            EVP_PKEY_set_utf8_string_param(pkey, OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT, "compressed"),
            1);
        struct signature_key *compressed = read_pem(pkey);
        assert_memory_equal(signature_fingerprint(pem), signature_fingerprint(plain), SHA256_BYTES);
        assert_memory_equal(signature_fingerprint(pem), signature_fingerprint(wrapped), SHA256_BYTES);
        assert_memory_equal(signature_fingerprint(pem), signature_fingerprint(compressed), SHA256_BYTES);
        assert_string_equal(signature_algorithm(pem), c->algorithm);
        assert_false(signature_is_rsa(pem));
        sign_raw(pkey, pem, c->half, signature, &len);
        assert_true(signature_from_token(pem, signature, &len, &err));
        assert_true(signature_valid(plain, text, sizeof text - 1, signature, len));
        assert_false(signature_valid(plain, text, sizeof text - 2, signature, len));
        assert_false(signature_valid(plain, text, sizeof text - 1, signature, len - 1));
        signature[len - 1] ^= 1;
        assert_false(signature_valid(plain, text, sizeof text - 1, signature, len));
        len = 2 * c->half - 1;
        assert_false(signature_from_token(pem, signature, &len, &err));
        point[7] ^= 1; /* off the curve */
        assert_null(signature_key_ec(c->oid, c->oid_len, point, point_len + 2, &err));
        assert_null(signature_key_ec(c->oid, c->oid_len - 1, point, point_len + 2, &err));
        signature_key_free(pem);
        signature_key_free(plain);
        signature_key_free(wrapped);
        signature_key_free(compressed);
        EVP_PKEY_free(pkey);
    }
}

static size_t number(EVP_PKEY *pkey, const char *name, uint8_t out[512])
{
    BIGNUM *n = NULL;
    assert_int_equal(EVP_PKEY_get_bn_param(pkey, name, &n), 1);
    int len = BN_bn2bin(n, out);
    BN_free(n);
    return (size_t)len;
}

static void test_rsa(void **state)
{
    EVP_PKEY *pkey = EVP_RSA_gen(2048), *small = EVP_RSA_gen(1024);
    struct err err = {0};
    uint8_t n[512], e[512], signature[SIGNATURE_BYTES_MAX], input[SIGNATURE_INPUT_MAX];
    size_t n_len = number(pkey, OSSL_PKEY_PARAM_RSA_N, n), e_len = number(pkey, OSSL_PKEY_PARAM_RSA_E, e);
    size_t len = sizeof signature, input_len;
    struct signature_key *pem = read_pem(pkey), *key = signature_key_rsa(n, n_len, e, e_len, &err);
    assert_non_null(key);
    assert_memory_equal(signature_fingerprint(pem), signature_fingerprint(key), SHA256_BYTES);
    assert_string_equal(signature_algorithm(key), "rsa-sha256");
    assert_true(signature_input(key, text, sizeof text - 1, input, &input_len, &err));
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(pkey, NULL); /* as CKM_RSA_PKCS */
    assert_true(EVP_PKEY_sign_init(ctx) == 1 && EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) == 1 &&
                EVP_PKEY_sign(ctx, signature, &len, input, input_len) == 1);
    EVP_PKEY_CTX_free(ctx);
    assert_true(signature_from_token(key, signature, &len, &err));
    assert_true(signature_valid(key, text, sizeof text - 1, signature, len));
    char short_pem[2048];
    size_t short_len = pem_of(small, short_pem, sizeof short_pem);
    assert_null(signature_key_pem(short_pem, short_len, &err));
    assert_int_equal(err.kind, ERR_UNSUPPORTED);
    signature_key_free(pem);
    signature_key_free(key);
    EVP_PKEY_free(pkey);
    EVP_PKEY_free(small);
}

static void test_refused(void **state)
{
    static const char *const texts[] = {"", "x",
                                        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
                                        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"};
    struct err err = {0};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        assert_null(signature_key_pem(texts[i], strlen(texts[i]), &err));
        assert_int_equal(err.kind, ERR_INVALID);
    }
    EVP_PKEY *others[] = {EVP_EC_gen("P-521"), EVP_PKEY_Q_keygen(NULL, NULL, "ED25519")};
    for (size_t i = 0; i < 2; i++) {
        char pem[2048];
        size_t len = pem_of(others[i], pem, sizeof pem);
        assert_null(signature_key_pem(pem, len, &err));
        assert_int_equal(err.kind, ERR_UNSUPPORTED);
        EVP_PKEY_free(others[i]);
    }
    assert_null(signature_key_ec((const uint8_t *)"", 0, (const uint8_t *)"", 0, &err));
    assert_null(signature_key_rsa((const uint8_t *)"", 0, (const uint8_t *)"", 0, &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_curves), cmocka_unit_test(test_rsa),
                                       cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
