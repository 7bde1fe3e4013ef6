/* Known answers: protocol.md section 8 (vectors A, B, C), RFC 5869, NIST GCM, Keccak. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/hex.h"
#include "crypto/aead.h"
#include "crypto/hash.h"
#include "crypto/point.h"
#include "fault.h"

#define MODEL_POINT                                                                                          \
    "044f355bdcb7cc0af728ef3cceb9615d90684bb5b2ca5f859ab0f0b704075871aa385b6b1b8ead809ca67454d9683fcf2ba034" \
    "56d6fe2"                                                                                                \
    "c4abe2b07f0fbdbb2f1c1"
#define CLIENT_POINT                                                                                         \
    "04466d7fcae563e5cb09a0d1870bb580344804617879a14949cf22285f1bae3f276728176c3c6431f8eeda4538dc37c865e278" \
    "4f3a9e77"                                                                                               \
    "d044f33e407797e1278a"

static void assert_hex(const uint8_t *data, size_t len, const char *hex)
{
    char text[512];
    assert_true(len * 2 < sizeof text);
    assert_string_equal(hex_str(text, data, len), hex);
}

static size_t from_hex(uint8_t *out, const char *hex)
{
    assert_true(hex_decode(out, hex, strlen(hex)));
    return strlen(hex) / 2;
}

static struct secret secret_from_byte(uint8_t byte, size_t len)
{
    struct secret s;
    assert_true(secret_new(&s, len, NULL));
    memset(s.data, byte, len);
    return s;
}

static void test_vector_a_and_b(void **state)
{
    struct err err = {0};
    struct secret model = secret_from_byte(0x11, 32), client = secret_from_byte(0x22, 32), z, z2, key;
    uint8_t model_point[POINT_BYTES], client_point[POINT_BYTES], address[ETH_ADDRESS_BYTES], out[64];
    assert_true(point_from_scalar(model_point, &model, &err));
    assert_true(point_from_scalar(client_point, &client, &err));
    assert_hex(model_point, POINT_BYTES, MODEL_POINT);
    assert_hex(client_point, POINT_BYTES, CLIENT_POINT);
    assert_true(point_ecdh(&z, &client, model_point, &err));
    assert_true(point_ecdh(&z2, &model, client_point, &err));
    assert_true(secret_equal(&z, &z2));
    assert_hex(z.data, z.len, "77e0510d5042e2f5e9e59c977b81eeed590cf7d20c1c51da451a8eaa9fdc45ff");
    assert_true(hash_protocol_key(&key, &z, &err));
    assert_hex(key.data, key.len, "41d8f5155ed5844867b9244accfb74b0dd6baa897e300a70e94a823032f9131f");
    point_eth_address(address, model_point);
    assert_hex(address, sizeof address, "19e7e376e7c213b7e7e7e46cc70a5dd086daff2a");

    struct aead *a = aead_new(&err);
    uint8_t nonce[AEAD_NONCE_BYTES], opened[64];
    assert_non_null(a);
    assert_true(aead_set_key(a, &key, &err));
    memset(nonce, 0x0c, sizeof nonce);
    assert_true(aead_seal(a, out, nonce, (const uint8_t *)"PROBE_OK", 8, &err));
    assert_hex(out, 24, "61fcb8d3782019da4a51df38195ea647df38e4b1b4cf7af6");
    from_hex(nonce, "a0a1a2a3a4a5a6a7a8a9aaab");
    const char *text = "deterministic Venice E2EE fixture";
    assert_true(aead_seal(a, out, nonce, (const uint8_t *)text, strlen(text), &err));
    assert_hex(
        out, strlen(text) + 16,
        "3b364a6560dc6246955e1379bac6c7a0f453c5b2d9be6eabb00cad9955278b4c401f6793813d7f98ba8f163a5c51b87686");
    assert_true(aead_open(a, opened, nonce, out, strlen(text) + 16, &err));
    assert_memory_equal(opened, text, strlen(text));
    aead_free(a);
    secret_free(&model);
    secret_free(&client);
    secret_free(&z);
    secret_free(&z2);
    secret_free(&key);
}

static void test_vector_c_eip191(void **state)
{
    const char *text =
        "Qwen/Qwen3.5-122B-A10B:2974f24b2a687856d2a0cf08d813902965c25e6552ba7062e4fa303432b6d2ad:"
        "8cb30eef9d133bdc6bfe812772dc4a62336d2827caea843546cbeff3f004c42c";
    uint8_t signature[65], address[ETH_ADDRESS_BYTES];
    struct err err = {0};
    from_hex(signature,
             "ed381e84d059198d1826e44dbbbac9501caaa8f79f913f27578acafa5be852e6103fe34fabd6446d7fde3f5250c0a1"
             "6e109fe088a562bae08ac13d081a66d0761b");
    assert_true(point_recover_eip191(address, text, strlen(text), signature, &err));
    assert_hex(address, sizeof address, "6525e128afcffebf7eed05d485d7be983cdae934");
    signature[64] -= 27; /* 0 and 1 are accepted too */
    assert_true(point_recover_eip191(address, text, strlen(text), signature, &err));
    assert_hex(address, sizeof address, "6525e128afcffebf7eed05d485d7be983cdae934");
    signature[64] = 2;
    assert_false(point_recover_eip191(address, text, strlen(text), signature, &err));
    signature[64] = 0;
    signature[3] ^= 1;
    if (point_recover_eip191(address, text, strlen(text), signature, &err)) {
        char hex[41];
        assert_string_not_equal(hex_str(hex, address, sizeof address),
                                "6525e128afcffebf7eed05d485d7be983cdae934");
    }
}

static void test_hkdf_rfc5869(void **state)
{
    struct err err = {0};
    struct secret ikm = secret_from_byte(0x0b, 22), okm;
    uint8_t salt[13], info[10];
    from_hex(salt, "000102030405060708090a0b0c");
    from_hex(info, "f0f1f2f3f4f5f6f7f8f9");
    assert_true(hash_hkdf_sha256(&okm, 42, &ikm, salt, sizeof salt, info, sizeof info, &err));
    assert_hex(okm.data, okm.len,
               "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865");
    secret_free(&okm);
    assert_true(hash_hkdf_sha256(&okm, 42, &ikm, NULL, 0, "", 0, &err)); /* test case 3: no salt, no info */
    assert_hex(okm.data, okm.len,
               "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8");
    secret_free(&okm);
    secret_free(&ikm);
}

static void test_gcm_nist(void **state)
{
    /* Test cases 13 and 14 of the GCM specification: AES-256, zero key and nonce. */
    struct err err = {0};
    struct secret key = secret_from_byte(0, 32);
    uint8_t nonce[AEAD_NONCE_BYTES] = {0}, zero[16] = {0}, out[32], back[16];
    struct aead *a = aead_new(&err);
    assert_true(aead_set_key(a, &key, &err));
    assert_true(aead_seal(a, out, nonce, zero, 0, &err));
    assert_hex(out, 16, "530f8afbc74536b9a963b4f1c4cb738b");
    assert_true(aead_seal(a, out, nonce, zero, 16, &err));
    assert_hex(out, 32, "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919");
    for (size_t bit = 0; bit < 256; bit++) {
        memset(back, 0xaa, sizeof back);
        out[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_false(aead_open(a, back, nonce, out, 32, &err));
        assert_int_equal(err.kind, ERR_DECRYPT);
        assert_memory_equal(back, zero, sizeof back); /* wiped */
        out[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_true(aead_open(a, back, nonce, out, 32, &err));
    assert_false(aead_open(a, back, nonce, out, 15, &err));
    aead_clear(a);
    assert_false(aead_open(a, back, nonce, out, 32, &err));
    assert_int_equal(err.kind, ERR_INTERNAL);
    struct secret short_key = secret_from_byte(0, 16);
    assert_false(aead_set_key(a, &short_key, &err));
    secret_free(&short_key);
    secret_free(&key);
    aead_free(a);
}

static void test_keccak(void **state)
{
    uint8_t out[KECCAK256_BYTES], data[200];
    hash_keccak256(out, "", 0);
    assert_hex(out, sizeof out, "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470");
    hash_keccak256(out, "abc", 3);
    assert_hex(out, sizeof out, "4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45");
    /* One block exactly, and one more: the padding's edge (values from an independent implementation). */
    memset(data, 'a', sizeof data);
    hash_keccak256(out, data, 135);
    assert_hex(out, sizeof out, "34367dc248bbd832f4e3e69dfaac2f92638bd0bbd18f2912ba4ef454919cf446");
    hash_keccak256(out, data, 136);
    assert_hex(out, sizeof out, "a6c4d403279fe3e0af03729caada8374b5ca54d8065329a3ebcaeb4b60aa386e");
}

static void test_points_refused(void **state)
{
    uint8_t point[POINT_BYTES];
    struct err err = {0};
    from_hex(point, MODEL_POINT);
    assert_true(point_valid(point));
    for (int prefix = 0; prefix < 256; prefix++) {
        point[0] = (uint8_t)prefix;
        assert_int_equal(point_valid(point), prefix == 4);
    }
    point[0] = 4;
    point[64] ^= 1; /* off the curve */
    assert_false(point_valid(point));
    memset(point + 1, 0xff, 64); /* x >= p */
    assert_false(point_valid(point));
    memset(point + 1, 0, 64);
    assert_false(point_valid(point));
    assert_true(point_from_hex(point, MODEL_POINT, POINT_HEX_CHARS, &err));
    assert_true(point_from_hex(point, &MODEL_POINT[2], POINT_HEX_CHARS - 2, &err));
    assert_hex(point, POINT_BYTES, MODEL_POINT);
    assert_false(point_from_hex(point, MODEL_POINT, POINT_HEX_CHARS - 1, &err));
    assert_false(point_from_hex(point, MODEL_POINT, 66, &err));
    struct secret zero = secret_from_byte(0, 32), z;
    from_hex(point, MODEL_POINT);
    assert_false(point_ecdh(&z, &zero, point, &err));
    assert_null(z.data);
    assert_false(point_from_scalar(point, &zero, &err));
    secret_free(&zero);
}

static void test_random_scalar(void **state)
{
    struct secret a, b;
    assert_true(point_random_scalar(&a, NULL));
    assert_true(point_random_scalar(&b, NULL));
    assert_false(secret_equal(&a, &b));
    secret_free(&a);
    secret_free(&b);
    assert_int_equal(secret_live_count(), 0);
}

static void test_allocation_failure(void **state)
{
    struct err err = {0};
    fault_alloc_at(1);
    assert_null(aead_new(&err));
    assert_true(fault_alloc_hit());
    assert_int_equal(err.kind, ERR_MEMORY);
    fault_alloc_at(0);
}

static int set_up(void **state)
{
    struct err err = {0};
    return secret_heap_init(&err) ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vector_a_and_b), cmocka_unit_test(test_vector_c_eip191),
        cmocka_unit_test(test_hkdf_rfc5869),   cmocka_unit_test(test_gcm_nist),
        cmocka_unit_test(test_keccak),         cmocka_unit_test(test_points_refused),
        cmocka_unit_test(test_random_scalar),  cmocka_unit_test(test_allocation_failure),
    };
    return cmocka_run_group_tests_name("crypto", tests, set_up, NULL);
}
