/* Keys and signatures of certificates (attest/provider.h): what the default context says, of two curves only, and nothing of a
 * signature is remembered but that it fits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#include "attest/provider.h"

struct spki {
    uint8_t der[2048];
    size_t len;
};

static struct spki spki_of(EVP_PKEY *key)
{
    struct spki out;
    uint8_t *p = out.der;
    int len = i2d_PUBKEY(key, NULL);
    assert_true(len > 0 && (size_t)len <= sizeof out.der);
    assert_int_equal(i2d_PUBKEY(key, &p), len);
    out.len = (size_t)len;
    return out;
}

static EVP_PKEY *read_spki(const struct spki *spki, OSSL_LIB_CTX *context)
{
    const uint8_t *p = spki->der;
    EVP_PKEY *key = d2i_PUBKEY_ex(NULL, &p, (long)spki->len, context, NULL);
    ERR_clear_error();
    return key;
}

static bool has_key(const struct spki *spki)
{
    EVP_PKEY *key = read_spki(spki, provider_context());
    bool has = key != NULL;
    EVP_PKEY_free(key);
    return has;
}

static void two_curves(void **state)
{
    const char *const curves[] = {"P-256", "P-384"}, *const groups[] = {"prime256v1", "secp384r1"};
    (void)state;
    assert_non_null(provider_context());
    assert_ptr_equal(provider_context(), provider_context());
    for (size_t i = 0; i < 2; i++) {
        EVP_PKEY *made = EVP_EC_gen(curves[i]), *other = EVP_EC_gen(curves[i]);
        struct spki spki = spki_of(made), others = spki_of(other);
        EVP_PKEY *key = read_spki(&spki, provider_context()), *same = read_spki(&spki, provider_context());
        EVP_PKEY *different = read_spki(&others, provider_context());
        char group[32];
        int explicit = -1;
        assert_true(key != NULL && same != NULL && different != NULL);
        assert_true(EVP_PKEY_is_a(key, "EC"));
        assert_int_equal(EVP_PKEY_get_id(key), EVP_PKEY_EC);
        assert_int_equal(EVP_PKEY_get_bits(key), EVP_PKEY_get_bits(made));
        assert_int_equal(EVP_PKEY_get_group_name(key, group, sizeof group, NULL), 1);
        assert_string_equal(group, groups[i]);
        assert_int_equal(
            EVP_PKEY_get_int_param(key, OSSL_PKEY_PARAM_EC_DECODED_FROM_EXPLICIT_PARAMS, &explicit), 1);
        assert_int_equal(explicit, 0);
        assert_int_equal(EVP_PKEY_eq(key, same), 1);
        assert_int_not_equal(EVP_PKEY_eq(key, different), 1);
        EVP_PKEY_free(made);
        EVP_PKEY_free(other);
        EVP_PKEY_free(key);
        EVP_PKEY_free(same);
        EVP_PKEY_free(different);
    }
    ERR_clear_error();
}

/* Other keys, and the right ones written in another way. */
static void nothing_else(void **state)
{
    EVP_PKEY *const keys[] = {EVP_EC_gen("P-521"), EVP_EC_gen("secp256k1"),
                              EVP_RSA_gen(2048),   EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"),
                              EVP_EC_gen("P-256"), EVP_EC_gen("P-256")};
    const char *const settings[] = {OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT, OSSL_PKEY_PARAM_EC_ENCODING};
    const char *const values[] = {"compressed", "explicit"};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(EVP_PKEY_set_utf8_string_param(keys[4 + i], settings[i], values[i]), 1);
    }
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        struct spki spki = spki_of(keys[i]);
        EVP_PKEY *known = read_spki(&spki, NULL);
        assert_non_null(known);
        assert_false(has_key(&spki));
        EVP_PKEY_free(known);
        EVP_PKEY_free(keys[i]);
    }
    assert_null(EVP_CIPHER_fetch(provider_context(), "AES-256-GCM", NULL));
    assert_null(EVP_KDF_fetch(provider_context(), "HKDF", NULL));
    ERR_clear_error();
}

/* Every byte changed, one cut off, one more: a key where the default context has it too, and the same one. */
static void every_byte(void **state)
{
    EVP_PKEY *made = EVP_EC_gen("P-256");
    struct spki spki = spki_of(made);
    unsigned on_curve = 0;
    (void)state;
    for (size_t i = 0; i < spki.len; i++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            struct spki changed = spki;
            changed.der[i] ^= (uint8_t)(1u << bit);
            EVP_PKEY *key = read_spki(&changed, provider_context());
            if (key != NULL) {
                EVP_PKEY *known = read_spki(&changed, NULL);
                struct spki again = spki_of(known);
                assert_int_equal(again.len, changed.len);
                assert_memory_equal(again.der, changed.der, changed.len);
                EVP_PKEY_free(known);
                on_curve++;
            }
            EVP_PKEY_free(key);
        }
    }
    assert_int_equal(on_curve, 0); /* a point with all bits but one in common would have to lie on it too */
    struct spki less = spki, more = spki;
    less.len--;
    more.der[more.len++] = 0;
    assert_false(has_key(&less));
    assert_true(has_key(&more)); /* d2i stops behind the key: what follows is its caller's */
    EVP_PKEY_free(made);
}

static int verify(EVP_PKEY *key, const EVP_MD *hash, const uint8_t *signature, size_t signature_len,
                  const void *text, size_t len)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    int answer =
        EVP_DigestVerifyInit_ex(ctx, NULL, EVP_MD_get0_name(hash), provider_context(), NULL, key, NULL);
    answer = answer == 1 ? EVP_DigestVerify(ctx, signature, signature_len, text, len) : -1;
    EVP_MD_CTX_free(ctx);
    ERR_clear_error();
    return answer;
}

struct signed_text {
    EVP_PKEY *key, *other; /* of the provider */
    uint8_t signature[128];
    size_t len;
};

static const char text[] = "what is signed";

static void sign(struct signed_text *out, const char *curve, const EVP_MD *hash)
{
    EVP_PKEY *made = EVP_EC_gen(curve), *other = EVP_EC_gen(curve);
    struct spki spki = spki_of(made), others = spki_of(other);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    out->key = read_spki(&spki, provider_context());
    out->other = read_spki(&others, provider_context());
    out->len = sizeof out->signature;
    assert_int_equal(EVP_DigestSignInit(ctx, NULL, hash, NULL, made), 1);
    assert_int_equal(EVP_DigestSign(ctx, out->signature, &out->len, (const uint8_t *)text, sizeof text), 1);
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(made);
    EVP_PKEY_free(other);
}

static void sign_end(struct signed_text *s)
{
    EVP_PKEY_free(s->key);
    EVP_PKEY_free(s->other);
}

/* Each input changed, before the signature is known to fit and after. */
static void each_input_counts(void **state)
{
    (void)state;
    for (int c = 0; c < 2; c++) {
        const EVP_MD *hash = c == 0 ? EVP_sha256() : EVP_sha384(),
                     *wrong = c == 0 ? EVP_sha384() : EVP_sha256();
        struct signed_text s;
        sign(&s, c == 0 ? "P-256" : "P-384", hash);
        for (int round = 0; round < 3; round++) {
            assert_int_not_equal(verify(s.other, hash, s.signature, s.len, text, sizeof text), 1);
            assert_int_not_equal(verify(s.key, wrong, s.signature, s.len, text, sizeof text), 1);
            assert_int_not_equal(verify(s.key, hash, s.signature, s.len, text, sizeof text - 1), 1);
            assert_int_not_equal(verify(s.key, hash, s.signature, s.len - 1, text, sizeof text), 1);
            assert_int_not_equal(verify(s.key, hash, s.signature, 0, text, sizeof text), 1);
            for (size_t i = 0; i < s.len; i++) {
                s.signature[i] ^= 1;
                assert_int_not_equal(verify(s.key, hash, s.signature, s.len, text, sizeof text), 1);
                s.signature[i] ^= 1;
            }
            assert_int_equal(verify(s.key, hash, s.signature, s.len, text, sizeof text), 1);
        }
        sign_end(&s);
    }
}

/* It verifies only. */
static void no_signing(void **state)
{
    struct signed_text s;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    (void)state;
    sign(&s, "P-256", EVP_sha256());
    assert_int_not_equal(EVP_DigestSignInit_ex(ctx, NULL, "SHA256", provider_context(), NULL, s.key, NULL),
                         1);
    ERR_clear_error();
    EVP_MD_CTX_free(ctx);
    sign_end(&s);
}

struct job {
    const struct signed_text *s;
    const struct spki *spki;
    unsigned wrong;
};

static void *work(void *arg)
{
    struct job *job = arg;
    for (int i = 0; i < 50; i++) {
        char other[sizeof text];
        memcpy(other, text, sizeof text);
        other[i % (int)sizeof text] ^= 1;
        job->wrong += !has_key(job->spki);
        job->wrong +=
            verify(job->s->key, EVP_sha256(), job->s->signature, job->s->len, text, sizeof text) != 1;
        job->wrong +=
            verify(job->s->key, EVP_sha256(), job->s->signature, job->s->len, other, sizeof text) == 1;
    }
    return NULL;
}

static void many_threads(void **state)
{
    EVP_PKEY *made = EVP_EC_gen("P-384");
    struct spki spki = spki_of(made);
    struct signed_text s;
    struct job jobs[4];
    pthread_t threads[4];
    (void)state;
    sign(&s, "P-256", EVP_sha256());
    for (int i = 0; i < 4; i++) {
        jobs[i] = (struct job){&s, &spki, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, work, &jobs[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(jobs[i].wrong, 0);
    }
    sign_end(&s);
    EVP_PKEY_free(made);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_curves),        cmocka_unit_test(nothing_else), cmocka_unit_test(every_byte),
        cmocka_unit_test(each_input_counts), cmocka_unit_test(no_signing),   cmocka_unit_test(many_threads),
    };
    return cmocka_run_group_tests_name("provider", tests, NULL, NULL);
}
