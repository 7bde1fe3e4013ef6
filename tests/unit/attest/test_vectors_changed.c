/* Quotes, collateral and memory that change under the verifier's hands: nothing changed is ever accepted. */
#include <ctype.h>

#include "attest/quote.h"
#include "attest/signed_json.h"
#include "fault.h"
#include "run.h"

#ifdef E2EE_SANITIZED
#define FLIP_STRIDE 5 /* sanitizers make each verification slow; the plain build flips every byte */
#else
#define FLIP_STRIDE 1
#endif

/* One bit of each byte: nothing that was flipped is ever accepted. The only bytes that may change without effect are
 * those behind the signature data: 4936 to 5005 of this quote, zero padding that is never read. */
static void every_byte_flipped(void **state)
{
    const char *dir = OWN_VECTORS "/pos/01-v4-b0c06f-dcap-qvl";
    const size_t padding = 4936, size = 5006;
    struct vector_expectation e;
    struct run r;
    (void)state;
    run_init(&r);
    assert_true(vectors_expectation(&e, dir));
    judge(&r, dir, e.at);
    assert_true(r.v->verified);
    assert_int_equal(r.quote.len, size);
    for (size_t i = 0; i < size; i += FLIP_STRIDE) {
        struct err err = {0};
        struct attest_input in = {.quote = r.quote.data, .quote_len = size, .collateral = &r.collateral};
        r.quote.data[i] ^= (uint8_t)(1U << i % 8);
        assert_true(attest_verify(&in, &r.policy, e.at, r.v, &err));
        if (r.v->verified != (i >= padding)) {
            fail_msg("byte %zu flipped: %s", i, r.v->verified ? "accepted" : r.v->reason);
        }
        r.quote.data[i] ^= (uint8_t)(1U << i % 8);
    }
    run_free(&r);
}

/* Each byte of each piece of collateral, every seventh to save time: PEM line ends and JSON white space outside the
 * signed value are all that nothing covers, so a flip there may pass or not, but never changes the status. */
static void collateral_flipped(void **state)
{
    const char *dir = OWN_VECTORS "/pos/01-v4-b0c06f-dcap-qvl";
    struct vector_expectation e;
    struct run r;
    (void)state;
    run_init(&r);
    assert_true(vectors_expectation(&e, dir));
    judge(&r, dir, e.at);
    struct buf *parts[] = {&r.collateral.tcb_info, &r.collateral.qe_identity, &r.collateral.tcb_info_chain,
                           &r.collateral.pck_crl, &r.collateral.root_crl};
    for (size_t p = 0; p < sizeof parts / sizeof parts[0]; p++) {
        for (size_t i = p; i < parts[p]->len; i += 7) {
            struct err err = {0};
            struct attest_input in = {
                .quote = r.quote.data, .quote_len = r.quote.len, .collateral = &r.collateral};
            parts[p]->data[i] ^= (uint8_t)(1U << i % 8);
            assert_true(attest_verify(&in, &r.policy, e.at, r.v, &err));
            /* The case of a hex digit of the signature means nothing. */
            bool same = p < 2 && parts[p]->len - i < 132 && isxdigit(parts[p]->data[i]) && i % 8 == 5;
            if (r.v->verified && !same) {
                fail_msg("part %zu, byte %zu flipped: accepted", p, i);
            }
            parts[p]->data[i] ^= (uint8_t)(1U << i % 8);
        }
    }
    run_free(&r);
}

/* Every length of the quote shorter than its signature data. */
static void quote_cut(void **state)
{
    const char *dir = OWN_VECTORS "/pos/14-v5-td15-go-tdx-guest";
    struct vector_expectation e;
    struct run r;
    struct quote q;
    (void)state;
    run_init(&r);
    assert_true(vectors_expectation(&e, dir));
    judge(&r, dir, e.at);
    assert_true(r.v->verified);
    assert_true(quote_parse(&q, r.quote.data, r.quote.len, NULL));
    for (size_t len = 0; len < q.used; len++) {
        struct quote cut;
        uint8_t *exact = mem_alloc(len);
        assert_non_null(exact);
        if (len > 0) {
            memcpy(exact, r.quote.data, len);
        }
        assert_false(quote_parse(&cut, exact, len, NULL));
        assert_null(cut.bytes);
        mem_free(exact);
    }
    run_free(&r);
}

/* The collateral JSON of other tools says the same as the folder, and a PCCS's hex and a PEM are the CRL. */
static void other_forms(void **state)
{
    const char *dir = OWN_VECTORS "/pos/01-v4-b0c06f-dcap-qvl";
    struct collateral c;
    struct vector_expectation e;
    struct signed_json tcb, qe;
    struct buf json;
    struct err err = {0};
    struct run r;
    int64_t from, until;
    (void)state;
    run_init(&r);
    assert_true(vectors_expectation(&e, dir));
    judge(&r, dir, e.at);
    const struct collateral *o = &r.collateral;
    assert_true(signed_json_parse(&tcb, (const char *)o->tcb_info.data, o->tcb_info.len, "tcbInfo", &err));
    assert_true(signed_json_parse(&qe, (const char *)o->qe_identity.data, o->qe_identity.len,
                                  "enclaveIdentity", &err));
    buf_init(&json, VECTORS_BYTES_MAX);
    buf_append_str(&json, "{\"tcb_info\":");
    json_append_string(&json, tcb.doc.text + tcb.value->start, tcb.value->end - tcb.value->start);
    buf_append_str(&json, ",\"tcb_info_signature\":\"");
    buf_append_hex(&json, tcb.signature, sizeof tcb.signature);
    buf_append_str(&json, "\",\"qe_identity\":");
    json_append_string(&json, qe.doc.text + qe.value->start, qe.value->end - qe.value->start);
    buf_append_str(&json, ",\"qe_identity_signature\":\"");
    buf_append_hex(&json, qe.signature, sizeof qe.signature);
    buf_append_str(&json, "\",\"tcb_info_issuer_chain\":");
    json_append_string(&json, (const char *)o->tcb_info_chain.data, o->tcb_info_chain.len);
    buf_append_str(&json, ",\"qe_identity_issuer_chain\":");
    json_append_string(&json, (const char *)o->qe_identity_chain.data, o->qe_identity_chain.len);
    buf_append_str(&json, ",\"pck_crl\":\"");
    buf_append_hex(&json, o->pck_crl.data, o->pck_crl.len);
    buf_append_str(&json, "\",\"root_ca_crl\":\"");
    buf_append_hex(&json, o->root_crl.data, o->root_crl.len);
    buf_append_str(&json, "\"}");
    collateral_init(&c);
    if (!collateral_parse_json(&c, (const char *)json.data, json.len, &err)) {
        fail_msg("%s", err.message);
    }
    struct attest_input in = {.quote = r.quote.data, .quote_len = r.quote.len, .collateral = &c};
    assert_true(attest_verify(&in, &r.policy, e.at, r.v, &err));
    assert_true(r.v->verified);
    assert_true(collateral_validity(&c, &from, &until, &err));
    assert_true(from <= e.at && e.at <= until);
    for (size_t len = 0; len < json.len; len += 97) {
        assert_false(collateral_parse_json(&c, (const char *)json.data, len, &err));
        assert_int_equal(c.tcb_info.len, 0);
    }
    struct collateral_key key;
    assert_true(attest_collateral_key(&in, &key, &err));
    assert_memory_equal(key.fmspc, "\xb0\xc0\x6f\0\0\0", 6);
    assert_false(key.processor_ca);
    signed_json_free(&tcb);
    signed_json_free(&qe);
    collateral_free(&c);
    buf_free(&json);
    run_free(&r);
}

/* A whole body of each of two shapes, with its nonce: verified; with collateral that has expired: the policy's grace. */
static void bodies_and_grace(void **state)
{
    static const char *const names[] = {"pos/03-v4-venice-gemma_3_27b_p", "pos/07-v4-venice-live_evidence"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char dir[1024];
        struct vector_expectation e;
        struct buf text;
        struct err err = {0};
        struct run r;
        run_init(&r);
        snprintf(dir, sizeof dir, "%s/%s", OWN_VECTORS, names[i]);
        assert_true(vectors_expectation(&e, dir));
        judge(&r, dir, e.at);
        assert_true(vectors_read(&text, dir, "attestation.json"));
        struct attest_input in = {.body = (const char *)text.data,
                                  .body_len = text.len,
                                  .nonce = e.nonce,
                                  .collateral = &r.collateral};
        assert_true(attest_verify(&in, &r.policy, e.at, r.v, &err));
        if (!r.v->verified) {
            fail_msg("%s: %s", names[i], r.v->reason);
        }
        assert_true(r.v->has_point && r.v->not_after > e.at);
        int64_t late = r.v->platform.collateral_expires + 1000;
        in.body = NULL;
        in.quote = r.quote.data;
        in.quote_len = r.quote.len;
        r.policy.allow_stale_s = 999;
        assert_true(attest_verify(&in, &r.policy, late, r.v, &err));
        assert_false(r.v->verified);
        r.policy.allow_stale_s = 1000;
        assert_true(attest_verify(&in, &r.policy, late, r.v, &err));
        if (!r.v->verified) {
            fail_msg("%s: %s", names[i], r.v->reason);
        }
        assert_int_equal(verdict_find(r.v, "collateral.age")->result, CHECK_FAIL);
        in.floor.tcb_evaluation = r.v->platform.tcb_evaluation + 1;
        assert_true(attest_verify(&in, &r.policy, e.at, r.v, &err));
        assert_int_equal(strncmp(r.v->reason, "rollback:", 9), 0);
        in.floor.tcb_evaluation = 0;
        r.policy.min_evaluation = 1000;
        assert_true(attest_verify(&in, &r.policy, e.at, r.v, &err));
        assert_int_equal(strncmp(r.v->reason, "tcb.evaluation:", 15), 0);
        buf_free(&text);
        run_free(&r);
    }
}

/* Memory fails at the first, second, … allocation: no verdict, or the right one. */
static void allocation_failures(void **state)
{
    const char *dir = OWN_VECTORS "/pos/07-v4-venice-live_evidence";
    struct vector_expectation e;
    struct buf text;
    struct run r;
    (void)state;
    run_init(&r);
    assert_true(vectors_expectation(&e, dir));
    judge(&r, dir, e.at);
    assert_true(vectors_read(&text, dir, "attestation.json"));
    struct attest_input in = {
        .body = (const char *)text.data, .body_len = text.len, .nonce = e.nonce, .collateral = &r.collateral};
    for (size_t n = 1;; n++) {
        struct err err = {0};
        fault_alloc_at(n);
        bool ok = attest_verify(&in, &r.policy, e.at, r.v, &err);
        bool hit = fault_alloc_hit();
        fault_alloc_at(0);
        assert_true(ok || !r.v->verified);
        assert_true(ok || err.kind == ERR_MEMORY);
        assert_false(ok && hit && !r.v->verified);
        if (!hit) {
            assert_true(ok && r.v->verified);
            break;
        }
    }
    buf_free(&text);
    run_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quote_cut),          cmocka_unit_test(every_byte_flipped),
        cmocka_unit_test(other_forms),        cmocka_unit_test(bodies_and_grace),
        cmocka_unit_test(collateral_flipped), cmocka_unit_test(allocation_failures),
    };
    return cmocka_run_group_tests_name("changed vectors", tests, NULL, NULL);
}
