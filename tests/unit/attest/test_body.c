/* The three shapes of the attestation body, and what is refused in them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "attest/attest.h"
#include "attest/body.h"
#include "base/mem.h"
#include "fault.h"
#include "vectors.h"

/* Public point of the scalar 11×32: protocol.md section 8, vector A. */
#define KEY                                                                                                  \
    "4f355bdcb7cc0af728ef3cceb9615d90684bb5b2ca5f859ab0f0b704075871aa385b6b1b8ead809ca67454d9683fcf2ba03456" \
    "d6fe2c4abe2b07f0fbdbb2f1c1"
#define ADDRESS "19e7e376e7c213b7e7e7e46cc70a5dd086daff2a"
#define NONCE "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

static bool parse(struct attest_body *b, const char *text, struct err *err)
{
    return body_parse(b, text, strlen(text), err);
}

static void near_shape(void **state)
{
    struct attest_body b;
    struct err err;
    (void)state;
    body_init(&b);
    assert_true(parse(
        &b,
        "{\"model_name\":\"m\",\"signing_public_key\":\"" KEY "\",\"signing_key\":\"04" KEY
        "\",\"signing_address\":\"0x" ADDRESS "\",\"intel_quote\":\"00FFaa\",\"nonce\":\"" NONCE
        "\",\"event_log\":[{\"imr\":0}],\"info\":{\"vm_config\":\"{\\\"num_gpus\\\":8}\",\"tcb_info\":\"{"
        "\\\"app_compose\\\":\\\"{\\\\\\\"a\\\\\\\":1}\\\"}\"},\"nvidia_payload\":\"{}\",\"verified\":true}",
        &err));
    assert_int_equal(b.shape, BODY_NEAR);
    assert_int_equal(b.key_count, 1);
    assert_string_equal(b.keys[0].hex, "04" KEY);
    assert_true(b.has_address && b.has_verified && b.verified);
    assert_int_equal(b.nonce_count, 1);
    assert_int_equal(b.quote.len, 3);
    assert_memory_equal(b.quote.data, "\x00\xff\xaa", 3);
    assert_string_equal(buf_cstr(&b.event_log), "[{\"imr\":0}]");
    assert_string_equal(buf_cstr(&b.app_compose), "{\"a\":1}");
    assert_string_equal(buf_cstr(&b.vm_config), "{\"num_gpus\":8}");
    body_free(&b);
}

static void phala_shape(void **state)
{
    struct attest_body b;
    struct err err;
    (void)state;
    body_init(&b);
    assert_true(parse(
        &b,
        "{\"intel_quote\":\"AP+q\",\"quote\":\"00ffaa\",\"vm_config\":\"{}\",\"event_log\":\"\\\"[1]\\\"\","
        "\"signing_public_key\":\"04" KEY "\",\"info\":{\"tcb_info\":{\"app_compose\":\"x\"}}}",
        &err));
    assert_int_equal(b.shape, BODY_PHALA);
    assert_string_equal(buf_cstr(&b.event_log), "[1]");
    assert_string_equal(buf_cstr(&b.app_compose), "x");
    assert_false(b.has_verified);
    body_free(&b);
}

static void aci_shape(void **state)
{
    struct attest_body b;
    struct err err;
    (void)state;
    body_init(&b);
    assert_true(parse(
        &b,
        "{\"api_version\":\"aci/1\",\"attestation\":{\"evidence\":{\"quote\":\"0102\",\"event_log\":\"[]\","
        "\"app_compose\":\"c\"},\"freshness\":{\"fetched_at\":5,\"stale_after\":9},\"workload_keyset\":{"
        "\"keyset_epoch\":{\"not_after\":77},\"e2ee_public_keys\":[{\"algo\":\"ed25519\",\"public_key\":"
        "\"00\"},{\"algo\":\"ecdsa\",\"public_key\":\"" KEY "\"},{\"algo\":\"secp256k1-aes-256-gcm-hkdf-"
        "sha256\",\"public_key\":\"04" KEY "\"}]}}}",
        &err));
    assert_int_equal(b.shape, BODY_ACI);
    assert_int_equal(b.key_count, 1);
    assert_true(b.keys[0].from_keyset);
    assert_int_equal(b.fetched_at, 5);
    assert_int_equal(b.stale_after, 9);
    assert_int_equal(b.keyset_not_after, 77);
    assert_string_equal(buf_cstr(&b.app_compose), "c");
    body_free(&b);
}

static void refused(void **state)
{
    static const char *const bad[] = {
        "",
        "[]",
        "{}",
        "{\"intel_quote\":\"\"}",
        "{\"intel_quote\":7}",
        "{\"intel_quote\":\"0g0!\"}",
        "{\"intel_quote\":\"00\",\"quote\":\"01\"}",
        "{\"intel_quote\":\"00\",\"intel_quote\":\"00\"}",
        "{\"intel_quote\":\"00\",\"verified\":\"true\"}",
        "{\"intel_quote\":\"00\",\"verified\":1}",
        "{\"intel_quote\":\"00\",\"signing_public_key\":\"04\"}",
        "{\"intel_quote\":\"00\",\"signing_public_key\":\"05" KEY "\"}",
        "{\"intel_quote\":\"00\",\"signing_address\":\"0x12\"}",
        "{\"intel_quote\":\"00\",\"nonce\":\"12\"}",
        "{\"intel_quote\":\"00\",\"info\":[]}",
        "{\"intel_quote\":\"00\",\"info\":{\"tcb_info\":\"[]\"}}",
        "{\"intel_quote\":\"00\",\"info\":{\"tcb_info\":\"{\"}}",
        "{\"intel_quote\":\"00\",\"event_log\":\"\\\"\"}",
        ("{\"api_version\":\"aci/"
         "1\",\"intel_quote\":\"00\",\"attestation\":{\"freshness\":{\"stale_after\":-1}}}"),
    };
    struct attest_body b;
    (void)state;
    body_init(&b);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct err err = {0};
        if (parse(&b, bad[i], &err)) {
            fail_msg("accepted: %s", bad[i]);
        }
        assert_int_equal(err.kind, ERR_INVALID);
        assert_int_equal(b.quote.len, 0);
        assert_int_equal(b.key_count, 0);
    }
    body_free(&b);
}

static void allocation_failures(void **state)
{
    const char *text =
        "{\"api_version\":\"aci/1\",\"attestation\":{\"evidence\":\"{\\\"quote\\\":\\\"0102\\\"}\"},"
        "\"event_log\":\"[1]\",\"info\":\"{}\"}";
    struct attest_body b;
    (void)state;
    body_init(&b);
    for (size_t n = 1;; n++) {
        struct err err = {0};
        fault_alloc_at(n);
        bool ok = parse(&b, text, &err);
        bool hit = fault_alloc_hit();
        fault_alloc_at(0);
        assert_true(ok != hit);
        if (ok) {
            break;
        }
        assert_int_equal(b.quote.len, 0);
    }
    body_free(&b);
}

/* Every captured body binds its key to its nonce; the chain is judged by another test. */
static void captured_bodies(void **state)
{
    static const char *const names[] = {"pos/03-v4-venice-gemma_3_27b_p",
                                        "pos/04-v4-venice-gpt_oss_120b_p",
                                        "pos/05-v4-venice-qwen3_vl_30b_a3b_p",
                                        "pos/06-v4-venice-glm_5_1",
                                        "pos/07-v4-venice-live_evidence",
                                        "pos/08-v4-venice-20260424",
                                        "pos/09-v4-venice-20260610"};
    static const enum body_shape shapes[] = {BODY_PHALA, BODY_NEAR, BODY_PHALA, BODY_NEAR,
                                             BODY_ACI,   BODY_NEAR, BODY_NEAR};
    const char *root = vectors_shared();
    struct attest_policy policy;
    (void)state;
    if (root == NULL) {
        print_message("shared/vectors is not there: captured bodies skipped\n");
        skip();
    }
    policy_init(&policy);
    policy.pins = POLICY_PINS_OFF;
    struct attest_verdict *v = mem_alloc(sizeof *v);
    assert_non_null(v);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char dir[1200];
        struct vector_expectation e;
        struct attest_body b;
        struct collateral collateral;
        struct buf text;
        struct err err = {0};
        snprintf(dir, sizeof dir, "%s/%s", root, names[i]);
        assert_true(vectors_expectation(&e, dir) && e.has_nonce);
        assert_true(vectors_read(&text, dir, "attestation.json"));
        body_init(&b);
        if (!body_parse(&b, (const char *)text.data, text.len, &err)) {
            fail_msg("%s: %s", names[i], err.message);
        }
        assert_int_equal(b.shape, shapes[i]);
        body_free(&b);
        collateral_init(&collateral);
        assert_true(collateral_load_folder(&collateral, dir, &err));
        struct attest_input in = {.body = (const char *)text.data,
                                  .body_len = text.len,
                                  .nonce = e.nonce,
                                  .collateral = &collateral};
        assert_true(attest_verify(&in, &policy, e.at, v, &err));
        if (!v->verified) {
            fail_msg("%s: %s", names[i], v->reason);
        }
        assert_true(v->has_point);
        e.nonce[31] ^= 1;
        assert_true(attest_verify(&in, &policy, e.at, v, &err));
        assert_false(v->verified);
        assert_false(v->has_point);
        assert_int_equal(strncmp(v->reason, "nonce: ", 7), 0);
        buf_free(&text);
        collateral_free(&collateral);
    }
    mem_free(v);
    policy_free(&policy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(near_shape),      cmocka_unit_test(phala_shape),
        cmocka_unit_test(aci_shape),       cmocka_unit_test(refused),
        cmocka_unit_test(captured_bodies), cmocka_unit_test(allocation_failures),
    };
    return cmocka_run_group_tests_name("attest body", tests, NULL, NULL);
}
