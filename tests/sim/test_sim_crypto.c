/* Published known answers (docs/PROTOCOL.md section 8) against the simulator's own statement of the cryptography. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "crypto.h"
#include "quote.h"

static void assert_hex(const void *data, size_t len, const char *hex)
{
    struct bytes b = {0};
    bytes_hex(&b, data, len);
    assert_string_equal(bytes_text(&b), hex);
    bytes_free(&b);
}

static const char EPH[] =
    "04466d7fcae563e5cb09a0d1870bb580344804617879a14949cf22285f1bae3f276728176c3c6431f8eeda4538dc37c8"
    "65e2784f3a9e77d044f33e407797e1278a";

static void make_keys(struct sim_key *model, struct sim_key *eph)
{
    uint8_t d[32];
    memset(d, 0x11, sizeof d);
    assert_true(sim_key_from(model, d));
    memset(d, 0x22, sizeof d);
    assert_true(sim_key_from(eph, d));
}

static void test_vector_a(void **state)
{
    struct sim_key model, eph;
    uint8_t z[32], k[32], nonce[12];
    struct bytes field = {0}, plain = {0};
    make_keys(&model, &eph);
    assert_hex(model.pub, SIM_POINT,
               "044f355bdcb7cc0af728ef3cceb9615d90684bb5b2ca5f859ab0f0b704075871aa385b6b1b8ead809ca67454d9683"
               "fcf2ba03456d6f"
               "e2c4abe2b07f0fbdbb2f1c1");
    assert_hex(eph.pub, SIM_POINT, EPH);
    assert_hex(model.address, 20, "19e7e376e7c213b7e7e7e46cc70a5dd086daff2a");
    assert_true(sim_agree(eph.priv, model.pub, SIM_INFO, z, k));
    assert_hex(z, 32, "77e0510d5042e2f5e9e59c977b81eeed590cf7d20c1c51da451a8eaa9fdc45ff");
    assert_hex(k, 32, "41d8f5155ed5844867b9244accfb74b0dd6baa897e300a70e94a823032f9131f");
    memset(nonce, 0x0c, sizeof nonce);
    sim_field_seal(&field, eph.pub, k, nonce, "PROBE_OK", 8);
    assert_memory_equal(field.p, EPH, 130);
    assert_string_equal((char *)field.p + 130,
                        "0c0c0c0c0c0c0c0c0c0c0c0c61fcb8d3782019da4a51df38195ea647df38e4b1b4cf7af6");
    assert_true(sim_field_open(model.priv, bytes_text(&field), field.len, &plain));
    assert_string_equal(bytes_text(&plain), "PROBE_OK");
    assert_true(sim_agree(eph.priv, model.pub, "aci.e2ee.v2.secp256k1", NULL, k));
    assert_hex(k, 32, "63311e7b28e5b7bd09356badfb24201280406629c5af10cc6f8cc26aebb136f5");
    bytes_free(&field);
    bytes_free(&plain);
}

static void test_vector_b(void **state)
{
    struct sim_key model, eph;
    uint8_t k[32], nonce[12];
    struct bytes field = {0};
    make_keys(&model, &eph);
    assert_true(sim_agree(eph.priv, model.pub, SIM_INFO, NULL, k));
    assert_true(hex_decode("a0a1a2a3a4a5a6a7a8a9aaab", 24, nonce, 12));
    sim_field_seal(&field, eph.pub, k, nonce, "deterministic Venice E2EE fixture", 33);
    assert_string_equal(
        (char *)field.p + 154,
        "3b364a6560dc6246955e1379bac6c7a0f453c5b2d9be6eabb00cad9955278b4c401f6793813d7f98ba8f163a5c51b87686");
    bytes_free(&field);
}

static void test_vector_c(void **state)
{
    static const char text[] =
        "Qwen/Qwen3.5-122B-A10B:2974f24b2a687856d2a0cf08d813902965c25e6552ba7062e4fa303432b6d2ad:"
        "8cb30eef9d133bdc6bfe812772dc4a62336d2827caea843546cbeff3f004c42c";
    static const char sig_hex[] =
        "ed381e84d059198d1826e44dbbbac9501caaa8f79f913f27578acafa5be852e6103fe34fabd6446d7fde3f5250c0"
        "a16e109fe088a562bae08ac13d081a66d0761b";
    uint8_t digest[32], sig[65], point[SIM_POINT], address[20];
    struct sim_key key;
    sim_eip191_digest(text, digest);
    assert_hex(digest, 32, "48de5a2fb0a189e22f88cd11cec49fa25a86527ae48f7818efbd761cf757bc6a");
    assert_true(hex_decode(sig_hex, 130, sig, 65));
    assert_true(sim_eip191_recover(text, sig, point));
    assert_hex(point + 1, 64,
               "1d9bbc96671c3fbc983867bd7a6b5c83298e040801764b7085352d84f3f095125db36956caed8c84bfefca635c3c4"
               "55f409c79a3889"
               "d679af688f4aded542fd5");
    sim_address(point, address);
    assert_hex(address, 20, "6525e128afcffebf7eed05d485d7be983cdae934");
    sim_key_new(&key);
    sim_eip191_sign(&key, text, sig);
    assert_true(sig[64] == 27 || sig[64] == 28);
    assert_true(sim_eip191_recover(text, sig, point));
    assert_memory_equal(point, key.pub, SIM_POINT);
}

static void test_vector_d(void **state)
{
    struct sim_key model, eph;
    uint8_t k[32], nonce[12], out[24], back[8];
    static const char aad[] = "v2|req|algo=ecdsa|model=m|m=0|c=-|n=0123456789abcdef|ts=1750000000";
    make_keys(&model, &eph);
    assert_true(sim_agree(eph.priv, model.pub, SIM_INFO, NULL, k));
    memset(nonce, 0x0c, sizeof nonce);
    sim_gcm_seal(k, nonce, aad, "PROBE_OK", 8, out);
    assert_hex(out, 24, "61fcb8d3782019daa5658065e03f83257d1ee87ee4f09c89");
    assert_true(sim_gcm_open(k, nonce, aad, out, 24, back));
    assert_false(sim_gcm_open(k, nonce, NULL, out, 24, back));
}

static void test_keccak(void **state)
{
    uint8_t d[32], block[200];
    keccak256("", 0, d);
    assert_hex(d, 32, "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470");
    keccak256("abc", 3, d);
    assert_hex(d, 32, "4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45");
    /* Around the rate of 136 bytes: the same digest however often it is computed, and different from each other. */
    memset(block, 0xa3, sizeof block);
    uint8_t all[4][32];
    for (size_t i = 0; i < 4; i++)
        keccak256(block, 135 + i, all[i]);
    for (size_t i = 1; i < 4; i++)
        assert_memory_not_equal(all[0], all[i], 32);
}

static void test_eip55(void **state)
{
    char text[43];
    uint8_t address[20];
    assert_true(hex_decode("a10befbf9cbef57f58a3a85ac9b6b9f5b6cffdda", 40, address, 20));
    sim_address_text(address, true, text);
    assert_string_equal(text, "0xa10befbF9CBEF57F58A3a85aC9b6b9f5b6CFfDda"); /* a captured DV body */
    sim_address_text(address, false, text);
    assert_string_equal(text, "0xa10befbf9cbef57f58a3a85ac9b6b9f5b6cffdda");
}

static void test_field_negatives(void **state)
{
    struct sim_key model, eph;
    uint8_t k[32], nonce[12] = {0};
    struct bytes field = {0}, plain = {0};
    make_keys(&model, &eph);
    assert_true(sim_agree(eph.priv, model.pub, SIM_INFO, NULL, k));
    sim_field_seal(&field, eph.pub, k, nonce, "", 0);
    assert_int_equal(field.len, SIM_FIELD_MIN_HEX);
    assert_true(sim_field_open(model.priv, bytes_text(&field), field.len, &plain));
    assert_int_equal(plain.len, 0);
    assert_false(sim_field_open(model.priv, bytes_text(&field), field.len - 2, &plain));
    assert_false(sim_field_open(eph.priv, bytes_text(&field), field.len, &plain));
    for (size_t i = 0; i < field.len; i += 7) {
        uint8_t was = field.p[i];
        field.p[i] = was == '5' ? '6' : '5';
        assert_false(sim_field_open(model.priv, bytes_text(&field), field.len, &plain));
        field.p[i] = was;
    }
    bytes_free(&field);
    bytes_free(&plain);
}

static uint32_t u32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* Intel's layout, followed from the front: every length must lead to the next part and the last to the end. */
static void test_quote_layout(void **state)
{
    struct quote q;
    struct quote_request r = {.app_name = "test"};
    uint8_t hash[32];
    for (int i = 0; i < 64; i++)
        r.report_data[i] = (uint8_t)i;
    quote_make(&r, &q);
    const uint8_t *p = q.raw.p;
    assert_int_equal(u32(p), 4 | 2 << 16);
    assert_int_equal(u32(p + 4), 0x81);
    assert_hex(p + 12, 16, "939a7233f79c4ca9940a0db3957f0607");
    assert_hex(p + 168, 8, "0000001000000000");
    assert_memory_equal(p + 568, r.report_data, 64);
    sha256_of(q.app_compose, strlen(q.app_compose), hash);
    assert_int_equal(p[232], 1);
    assert_memory_equal(p + 233, hash, 32);
    for (int i = 0; i < 15; i++)
        assert_int_equal(p[265 + i], 0);
    uint32_t len = u32(p + 632);
    assert_int_equal(q.raw.len, 636 + len + 70);
    assert_int_equal(p[764], 6);
    assert_int_equal(u32(p + 766), len - 64 - 64 - 6);
    assert_int_equal(p[1218], 32);
    assert_int_equal(p[1252], 5);
    assert_int_equal(1258 + u32(p + 1254), 636 + len);
    quote_free(&q);
    struct fault_use debug = {fault_find("debug", 5), 0, 0};
    r.fault = &debug;
    quote_make(&r, &q);
    assert_int_equal(q.raw.p[168] & 1, 1);
    quote_free(&q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vector_a),        cmocka_unit_test(test_vector_b),
        cmocka_unit_test(test_vector_c),        cmocka_unit_test(test_vector_d),
        cmocka_unit_test(test_keccak),          cmocka_unit_test(test_eip55),
        cmocka_unit_test(test_field_negatives), cmocka_unit_test(test_quote_layout),
    };
    return cmocka_run_group_tests_name("sim_crypto", tests, NULL, NULL);
}
