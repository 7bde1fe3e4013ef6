/* Every captured and tampered quote of the vectors, each at its own moment, against what expected.json says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <ctype.h>
#include <dirent.h>

#include "attest/attest.h"
#include "attest/quote.h"
#include "attest/signed_json.h"
#include "base/mem.h"
#include "fault.h"
#include "vectors.h"

#ifdef E2EE_SANITIZED
#define FLIP_STRIDE 5 /* sanitizers make each verification slow; the plain build flips every byte */
#else
#define FLIP_STRIDE 1
#endif
#define OWN_VECTORS E2EE_SOURCE_DIR "/tests/vectors"

/* Which check refuses a vector, by the start of the folder's name: the kind of reason that expected.json gives in words
 * of its own. */
static const struct {
    const char *name, *check;
} reasons[] = {
    {"neg/01", "pck.format"},
    {"neg/02", "quote.signature"},
    {"neg/03", "quote.signature"},
    {"neg/04", "quote.signature"},
    {"neg/05", "quote.signature"},
    {"neg/06", "qe.binding"},
    {"neg/07", "qe.signature"},
    {"neg/08", "qe.signature"},
    {"neg/09", "qe.binding"},
    {"neg/10", "quote.format"},
    {"neg/11", "quote.format"},
    {"neg/12", "quote.format"},
    {"neg/13", "quote.format"},
    {"neg/14", "quote.format"},
    {"neg/15", "quote.format"},
    {"neg/16", "quote.format"},
    {"neg/17", "quote.format"},
    {"neg/18", "qe.signature"},
    {"neg/19", "tcb_info.signature"},
    {"neg/20", "tcb_info.signature"},
    {"neg/21", "qe_identity"},
    {"neg/22", "pck.crl"},
    {"neg/23", "pck.crl"},
    {"neg/24", "quote.format"},
    {"neg/25", "quote.format"},
    {"policy/01", "tcb.status"},
    {"policy/02", "tcb.status"},
    {"policy/03", "tcb.level"},
    {"policy/04", "collateral"},
    {"policy/05", "collateral"},
    {"policy/06", "pck.crl"},
    {"policy/07", "pck.crl"},
    {"policy/08", "tcb_info.platform"},
    {"policy/09", "tcb.level"},
    {"sigonly/", "collateral"},
};

struct run {
    struct collateral collateral;
    struct buf quote;
    struct attest_policy policy;
    struct attest_verdict *v;
};

static void run_init(struct run *r)
{
    collateral_init(&r->collateral);
    buf_init(&r->quote, VECTORS_BYTES_MAX);
    policy_init(&r->policy);
    r->policy.pins = POLICY_PINS_OFF;
    r->v = mem_alloc(sizeof *r->v);
    assert_non_null(r->v);
}

static void run_free(struct run *r)
{
    collateral_free(&r->collateral);
    buf_free(&r->quote);
    policy_free(&r->policy);
    mem_free(r->v);
}

/* Judges the folder's bare quote. */
static void judge(struct run *r, const char *dir, int64_t at)
{
    struct err err = {0};
    bool has = collateral_load_folder(&r->collateral, dir, &err);
    assert_true(has || err.kind == ERR_NOT_FOUND);
    assert_true(vectors_read(&r->quote, dir, "quote.bin"));
    struct attest_input in = {.quote = r->quote.data != NULL ? r->quote.data : (const uint8_t *)"",
                              .quote_len = r->quote.len,
                              .collateral = has ? &r->collateral : NULL};
    if (!attest_verify(&in, &r->policy, at, r->v, &err)) {
        fail_msg("%s: %s", dir, err.message);
    }
}

static void passed(const struct attest_verdict *v, const char *id)
{
    const struct verdict_check *c = verdict_find(v, id);
    if (c == NULL || c->result != CHECK_PASS) {
        fail_msg("%s did not pass: %s", id, c != NULL ? c->detail : "absent");
    }
}

static void check_reference(const struct attest_verdict *v, const char *dir)
{
    struct buf text;
    struct json_doc doc;
    char hex[2 * MEASUREMENT_BYTES + 1], expected[128];
    json_doc_init(&doc);
    assert_true(vectors_read(&text, dir, "expected.json"));
    assert_true(json_parse(&doc, (const char *)text.data, text.len, LIMIT_JSON_NODES, NULL));
    const struct json_node *ref = json_present(&doc, json_root(&doc), "reference_verifier");
    if (v->tcb_status != TCB_NONE) {
        const struct json_node *list = json_present(&doc, ref, "advisories");
        assert_non_null(list);
        assert_int_equal(list->count, v->advisory_count);
        for (const struct json_node *n = json_first(&doc, list); n != NULL; n = json_next(&doc, n)) {
            bool found = false;
            assert_true(json_string_copy(&doc, n, expected, sizeof expected));
            for (size_t i = 0; i < v->advisory_count; i++) {
                found = found || strcmp(v->advisories[i], expected) == 0;
            }
            assert_true(found);
        }
        assert_true(json_string_copy(&doc, json_present(&doc, ref, "platform"), expected, sizeof expected));
        assert_string_equal(expected, tcb_status_name(v->platform.platform));
        assert_true(json_string_copy(&doc, json_present(&doc, ref, "module"), expected, sizeof expected));
        assert_string_equal(expected, tcb_status_name(v->platform.module));
        assert_true(json_string_copy(&doc, json_present(&doc, ref, "tcb_date"), expected, sizeof expected));
        assert_string_equal(expected, v->tcb_date);
    }
    if (json_string_copy(&doc, json_present(&doc, ref, "mr_td"), expected, sizeof expected)) {
        assert_string_equal(expected, hex_str(hex, v->measurements.mrtd, MEASUREMENT_BYTES));
    }
    if (json_string_copy(&doc, json_present(&doc, ref, "rtmr3"), expected, sizeof expected)) {
        assert_string_equal(expected, hex_str(hex, v->measurements.rtmr[3], MEASUREMENT_BYTES));
    }
    json_doc_free(&doc);
    buf_free(&text);
}

static void check_folder(struct run *r, const char *name, const char *dir)
{
    struct vector_expectation e;
    struct buf json;
    assert_true(vectors_expectation(&e, dir));
    judge(r, dir, e.has_at ? e.at : 1781056027);
    const struct attest_verdict *v = r->v;
    if (strcmp(v->verified ? "verified" : "refused", e.verdict) != 0 ||
        strcmp(v->tcb_status != TCB_NONE ? tcb_status_name(v->tcb_status) : "", e.tcb_status) != 0) {
        fail_msg("%s: %s (%s), expected %s %s", name, v->verified ? "verified" : "refused", v->reason,
                 e.verdict, e.tcb_status);
    }
    if (!v->verified) {
        bool known = false;
        for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++) {
            if (strncmp(name, reasons[i].name, strlen(reasons[i].name)) == 0) {
                size_t len = strlen(reasons[i].check);
                known = true;
                if (strncmp(v->reason, reasons[i].check, len) != 0 || v->reason[len] != ':') {
                    fail_msg("%s: refused for %s, expected %s (%s)", name, v->reason, reasons[i].check,
                             e.reason);
                }
            }
        }
        assert_true(known);
    }
    if (strcmp(e.expect, "reject") != 0) {
        passed(v, "qe.signature");
        passed(v, "qe.binding");
        passed(v, "quote.signature");
        check_reference(v, dir);
    }
    if (strstr(e.reason, "MRSERVICETD") != NULL) {
        assert_int_equal(verdict_find(v, "td.service")->result, CHECK_FAIL);
    }
    buf_init(&json, 0);
    assert_true(verdict_to_json(v, &json, NULL));
    struct json_doc doc;
    json_doc_init(&doc);
    assert_true(json_parse(&doc, (const char *)json.data, json.len, LIMIT_JSON_NODES, NULL));
    json_doc_free(&doc);
    assert_true(verdict_to_text(v, &json, NULL));
    if (getenv("VECTORS_PRINT") != NULL) {
        print_message("%s\n%s\n", name, buf_cstr(&json));
    }
    buf_free(&json);
}

static size_t check_all_in(struct run *r, const char *root, const char *kind)
{
    char path[1100], dir[2048], name[512];
    size_t count = 0;
    snprintf(path, sizeof path, "%s/%s", root, kind);
    DIR *d = opendir(path);
    assert_non_null(d);
    for (struct dirent *entry; (entry = readdir(d)) != NULL;) {
        if (entry->d_name[0] != '.') {
            snprintf(name, sizeof name, "%s/%s", kind, entry->d_name);
            snprintf(dir, sizeof dir, "%s/%s", root, name);
            check_folder(r, name, dir);
            count++;
        }
    }
    closedir(d);
    return count;
}

static void shared_vectors(void **state)
{
    const char *root = vectors_shared();
    struct run r;
    (void)state;
    if (root == NULL) {
        print_message("shared/vectors is not there: captured quotes skipped\n");
        skip();
    }
    run_init(&r);
    assert_int_equal(check_all_in(&r, root, "pos"), 14);
    assert_int_equal(check_all_in(&r, root, "policy"), 9);
    assert_int_equal(check_all_in(&r, root, "sigonly"), 5);
    assert_int_equal(check_all_in(&r, root, "neg"), 25);
    run_free(&r);
}

/* The part of them that is in this tree. */
static void own_vectors(void **state)
{
    struct run r;
    (void)state;
    run_init(&r);
    assert_int_equal(check_all_in(&r, OWN_VECTORS, "pos"), 4);
    assert_int_equal(check_all_in(&r, OWN_VECTORS, "policy"), 2);
    assert_int_equal(check_all_in(&r, OWN_VECTORS, "sigonly"), 1);
    run_free(&r);
}

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
        cmocka_unit_test(shared_vectors),   cmocka_unit_test(own_vectors),
        cmocka_unit_test(quote_cut),        cmocka_unit_test(every_byte_flipped),
        cmocka_unit_test(other_forms),      cmocka_unit_test(collateral_flipped),
        cmocka_unit_test(bodies_and_grace), cmocka_unit_test(allocation_failures),
    };
    return cmocka_run_group_tests_name("vectors", tests, NULL, NULL);
}
