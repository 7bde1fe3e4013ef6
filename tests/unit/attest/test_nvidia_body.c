/* GPU evidence as a body carries it: lists from NVIDIA's samples and from Venice, and what a host could make of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "attest/nvidia.h"
#include "base/mem.h"
#include "fault.h"
#include "vectors.h"

#define NOW 1781056027
#define VENICE_NONCE "d2f37ab51f93f80365506fcc09119b28bd9c521be89ba25e3aa439912bbba732"
#define SDK_NONCE "e97b23a1718095a0e9e35edca810768c70a6a5a389b705e753b197912bc11576"
#define HOLD_NONCE "931d8dd0add203ac3d8b4fbde75e115278eefcdceac5b87671a748f32364dfcb"

struct judged {
    struct attest_verdict *v;
    struct attest_body body;
    uint8_t nonce[SPDM_NONCE_BYTES];
};

static const char *nvidia_dir(void)
{
    static char dir[1100];
    const char *root = vectors_shared();
    if (root == NULL) {
        print_message("shared/vectors is not there: GPU samples skipped\n");
        skip();
        return "";
    }
    snprintf(dir, sizeof dir, "%s/nvidia", root);
    return dir;
}

static void init(struct judged *j, const char *nonce)
{
    j->v = mem_alloc(sizeof *j->v);
    assert_non_null(j->v);
    body_init(&j->body);
    assert_true(hex_decode(j->nonce, nonce, 2 * SPDM_NONCE_BYTES));
}

static void done(struct judged *j)
{
    body_free(&j->body);
    mem_free(j->v);
}

static void judge(struct judged *j, bool enforced)
{
    struct err err = {0};
    verdict_init(j->v, NOW);
    verdict_pass(j->v, "quote", "stands for what came before");
    if (!nvidia_check(j->v, &j->body, &(struct nvidia_terms){.nonce = j->nonce, .enforced = enforced},
                      &err)) {
        fail_msg("%s", err.message);
    }
    verdict_close(j->v);
}

static void expect_result(const struct judged *j, const char *id, enum check_result result)
{
    const struct verdict_check *c = verdict_find(j->v, id);
    assert_non_null(c);
    if (c->result != result) {
        fail_msg("%s: %s, expected %s (%s)", id, verdict_result_name(c->result), verdict_result_name(result),
                 c->detail);
    }
}

static void expect_unproven(const struct judged *j)
{
    static const char *const open[] = {"gpu.measurements", "gpu.revocation", "gpu.binding"};
    for (size_t i = 0; i < sizeof open / sizeof open[0]; i++) {
        expect_result(j, open[i], CHECK_NOT_CHECKED);
        assert_false(verdict_find(j->v, open[i])->enforced);
    }
}

static void set_payload(struct judged *j, const char *arch, const char *nonce, const char *list, size_t len)
{
    buf_reset(&j->body.nvidia_payload);
    buf_appendf(&j->body.nvidia_payload, "{\"arch\":\"%s\",\"nonce\":\"%s\",\"evidence_list\":", arch, nonce);
    buf_append(&j->body.nvidia_payload, list, len);
    assert_true(buf_append_byte(&j->body.nvidia_payload, '}'));
}

static void sdk_lists(void **state)
{
    static const struct {
        const char *file, *nonce, *arch;
        bool ok;
    } files[] = {
        {"sdk/evidence_hopper_590_12.json", SDK_NONCE, "HOPPER", true},
        {"sdk/hopper_evidence.json", SDK_NONCE, "HOPPER", true},
        {"sdk/multi_gpu_hopper.json", SDK_NONCE, "HOPPER", true},
        {"sdk/hopper_evidence_cert_hold.json", HOLD_NONCE, "HOPPER", true}, /* only OCSP knows better */
        {"sdk/switch_evidence_ls10.json", HOLD_NONCE, "LS10", false},
        {"sdk/switch_evidence_ls10.json", HOLD_NONCE, "HOPPER", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        struct judged j;
        struct buf text;
        init(&j, files[i].nonce);
        assert_true(vectors_read(&text, nvidia_dir(), files[i].file));
        set_payload(&j, files[i].arch, files[i].nonce, (const char *)text.data, text.len);
        judge(&j, true);
        if (j.v->verified != files[i].ok) {
            fail_msg("%s: %s", files[i].file, j.v->reason);
        }
        expect_unproven(&j);
        judge(&j, false);
        assert_true(j.v->verified);
        buf_free(&text);
        done(&j);
    }
}

static void load_venice(struct judged *j)
{
    init(j, VENICE_NONCE);
    buf_free(&j->body.nvidia_payload);
    assert_true(vectors_read(&j->body.nvidia_payload, nvidia_dir(), "venice-20260610/nvidia_payload.json"));
    assert_true(buf_append_str(&j->body.vm_config, "{\"num_gpus\":8}"));
}

static void venice(void **state)
{
    struct judged j;
    (void)state;
    load_venice(&j);
    judge(&j, true);
    if (!j.v->verified) {
        fail_msg("%s", j.v->reason);
    }
    static const char *const passed[] = {"gpu.evidence", "gpu.certificates", "gpu.report", "gpu.signature",
                                         "gpu.nonce",    "gpu.firmware",     "gpu.devices"};
    for (size_t i = 0; i < sizeof passed / sizeof passed[0]; i++) {
        expect_result(&j, passed[i], CHECK_PASS);
    }
    assert_non_null(strstr(verdict_find(j.v, "gpu.devices")->detail, "8 GPUs (HOPPER)"));
    assert_non_null(
        strstr(verdict_find(j.v, "gpu.devices")->detail, "driver 570.172.08, VBIOS 96.00.CF.00.02"));
    expect_unproven(&j);

    j.nonce[31] ^= 1;
    judge(&j, true);
    assert_int_equal(strncmp(j.v->reason, "gpu.nonce:", 10), 0);
    judge(&j, false);
    assert_true(j.v->verified);
    done(&j);
}

/* Words that replace others of the payload or of vm_config, and the check that must refuse. */
static void refused(void **state)
{
    static const struct {
        const char *config, *id;
        int gpus; /* of the eight; the first of them again behind when negative */
    } cases[] = {{"{\"num_gpus\":9}", "gpu.devices", 8},
                 {"{\"num_gpus\":0}", "gpu.devices", 8},
                 {"{\"num_gpus\":7}", "gpu.devices", 8},
                 {"{\"num_gpus\":\"8\"}", "gpu.devices", 8},
                 {"{\"num_gpus\":18446744073709551624}", "gpu.devices", 8},
                 {"nonsense", "gpu.devices", 8},
                 {"{\"num_gpus\":3}", "gpu.devices", -2},
                 {"{\"num_gpus\":8}", "gpu.devices", 7},
                 {"{\"num_gpus\":8}", "gpu.devices", 0}};
    struct json_doc doc;
    struct judged all;
    (void)state;
    load_venice(&all);
    json_doc_init(&doc);
    assert_true(json_parse(&doc, (const char *)all.body.nvidia_payload.data, all.body.nvidia_payload.len,
                           1000, NULL));
    const struct json_node *list = json_present(&doc, json_root(&doc), "evidence_list");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct judged j;
        struct buf text;
        int left = abs(cases[i].gpus);
        init(&j, VENICE_NONCE);
        buf_init(&text, VECTORS_BYTES_MAX);
        buf_append_byte(&text, '[');
        for (const struct json_node *n = json_first(&doc, list); left > 0; n = json_next(&doc, n), left--) {
            buf_append_str(&text, text.len > 1 ? "," : "");
            buf_append(&text, doc.text + n->start, n->end - n->start);
        }
        if (cases[i].gpus < 0) {
            const struct json_node *n = json_first(&doc, list);
            buf_append_byte(&text, ',');
            buf_append(&text, doc.text + n->start, n->end - n->start);
        }
        buf_append_byte(&text, ']');
        set_payload(&j, "HOPPER", VENICE_NONCE, (const char *)text.data, text.len);
        buf_append_str(&j.body.vm_config, cases[i].config);
        judge(&j, true);
        if (j.v->verified || strncmp(j.v->reason, cases[i].id, strlen(cases[i].id)) != 0) {
            fail_msg("case %zu: %s", i, j.v->verified ? "accepted" : j.v->reason);
        }
        buf_free(&text);
        done(&j);
    }
    json_doc_free(&doc);
    done(&all);
}

static void malformed(void **state)
{
    static const struct {
        const char *payload, *id;
    } cases[] = {
        {"[]", "gpu.evidence"},
        {"{", "gpu.evidence"},
        {"{\"evidence_list\":{}}", "gpu.evidence"},
        {"{\"nonce\":\"" SDK_NONCE "\",\"evidence_list\":[]}", "gpu.nonce"},
        {"{\"nonce\":\"00\",\"evidence_list\":[]}", "gpu.nonce"},
        {"{\"arch\":\"HOPPER\",\"evidence_list\":[{}]}", "gpu.nonce"},
        {"{\"nonce\":\"" VENICE_NONCE "\",\"evidence_list\":[{}]}", "gpu.evidence"},
        {"{\"arch\":\"HOPPER\",\"nonce\":\"" VENICE_NONCE "\",\"evidence_list\":[{}]}", "gpu.certificates"},
        {"{\"arch\":\"HOPPER\",\"nonce\":\"" VENICE_NONCE "\",\"evidence_list\":[7]}", "gpu.certificates"},
        {"{\"arch\":\"HOPPER\",\"nonce\":\"" VENICE_NONCE
         "\",\"evidence_list\":[{\"certificate\":\"AAAA\",\"evidence\":\"AAAA\"}]}",
         "gpu.certificates"},
        {"{\"arch\":\"HOPPER\",\"nonce\":\"" VENICE_NONCE
         "\",\"evidence_list\":[{\"certificate\":\"AAAA\",\"arch\":\"BLACKWELL\"}]}",
         "gpu.certificates"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct judged j;
        init(&j, VENICE_NONCE);
        buf_append_str(&j.body.nvidia_payload, cases[i].payload);
        judge(&j, true);
        if (j.v->verified || strncmp(j.v->reason, cases[i].id, strlen(cases[i].id)) != 0) {
            fail_msg("case %zu: %s", i, j.v->verified ? "accepted" : j.v->reason);
        }
        done(&j);
    }
}

/* Nothing at all is never called verified. */
static void nothing(void **state)
{
    static const char *const payloads[] = {"", "{\"nonce\":\"" VENICE_NONCE "\",\"evidence_list\":[]}"};
    static const char *const configs[] = {"", "{\"num_gpus\":0}", "{}"};
    (void)state;
    for (size_t i = 0; i < 6; i++) {
        struct judged j;
        init(&j, VENICE_NONCE);
        buf_append_str(&j.body.nvidia_payload, payloads[i % 2]);
        buf_append_str(&j.body.vm_config, configs[i / 2]);
        judge(&j, true);
        assert_true(j.v->verified);
        expect_result(&j, "gpu.evidence", CHECK_NOT_CHECKED);
        assert_non_null(strstr(verdict_find(j.v, "gpu.evidence")->detail, "no GPU evidence"));
        for (size_t c = 1; c < j.v->check_count; c++) {
            assert_int_not_equal(j.v->checks[c].result, CHECK_PASS);
        }
        done(&j);
    }
    struct judged j;
    struct err err = {0};
    init(&j, VENICE_NONCE);
    verdict_init(j.v, NOW);
    assert_true(nvidia_check(j.v, NULL, &(struct nvidia_terms){.enforced = true}, &err));
    expect_result(&j, "gpu.evidence", CHECK_NOT_APPLICABLE);
    expect_result(&j, "gpu.binding", CHECK_NOT_APPLICABLE);
    done(&j);
}

static void allocations(void **state)
{
    struct judged j;
    struct buf text;
    size_t n;
    (void)state;
    init(&j, SDK_NONCE);
    assert_true(vectors_read(&text, nvidia_dir(), "sdk/hopper_evidence.json"));
    set_payload(&j, "HOPPER", SDK_NONCE, (const char *)text.data, text.len);
    buf_append_str(&j.body.vm_config, "{\"num_gpus\":1}");
    for (n = 1;; n++) {
        struct err err = {0};
        verdict_init(j.v, NOW);
        fault_alloc_at(n);
        bool ok =
            nvidia_check(j.v, &j.body, &(struct nvidia_terms){.nonce = j.nonce, .enforced = true}, &err);
        bool hit = fault_alloc_hit();
        fault_alloc_at(0);
        if (!hit) {
            assert_true(ok);
            break;
        }
        assert_false(ok);
        assert_int_equal(err.kind, ERR_MEMORY);
    }
    assert_true(n > 5);
    buf_free(&text);
    done(&j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sdk_lists), cmocka_unit_test(venice),  cmocka_unit_test(refused),
        cmocka_unit_test(malformed), cmocka_unit_test(nothing), cmocka_unit_test(allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
