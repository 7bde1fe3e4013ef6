/* The guest's software: genuine event logs against genuine quotes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "attest/dstack.h"
#include "attest/quote.h"
#include "attest/td.h"
#include "base/mem.h"
#include "vectors.h"

#define OWN_VECTORS E2EE_SOURCE_DIR "/tests/vectors"

struct genuine {
    const char *name;
    const char *path[4]; /* members from the root of attestation.json to the object with event_log */
    size_t events;
    const char *app_id, *os_image, *provider; /* beginnings */
    enum check_result compose, config;
};

static void walk_to(const struct json_doc *doc, const struct json_node **node, const char *const path[4])
{
    for (int i = 0; i < 4 && path[i] != NULL; i++) {
        *node = json_present(doc, *node, path[i]);
        assert_non_null(*node);
    }
}

/* The text of a JSON value; a string unescaped. */
static void text_of(struct buf *out, const struct json_doc *doc, const struct json_node *node)
{
    buf_init(out, VECTORS_BYTES_MAX);
    assert_non_null(node);
    if (node->type == JSON_STRING) {
        assert_true(json_string_get(doc, node, out));
    } else {
        assert_true(buf_append(out, doc->text + node->start, node->end - node->start));
    }
}

static void load_genuine(struct attest_verdict *v, struct attest_body *body, const char *root,
                         const struct genuine *g)
{
    char dir[2048];
    struct buf text, quote;
    struct json_doc doc;
    struct quote q;
    snprintf(dir, sizeof dir, "%s/%s", root, g->name);
    body_init(body);
    json_doc_init(&doc);
    assert_true(vectors_read(&text, dir, "attestation.json") || vectors_read(&text, dir, "getquote.json"));
    assert_true(json_parse(&doc, (const char *)text.data, text.len, LIMIT_JSON_NODES, NULL));
    const struct json_node *node = json_root(&doc), *compose;
    walk_to(&doc, &node, g->path);
    buf_free(&body->event_log);
    text_of(&body->event_log, &doc, json_present(&doc, node, "event_log"));
    compose =
        json_present(&doc, json_present(&doc, json_present(&doc, node, "info"), "tcb_info"), "app_compose");
    if (compose != NULL) {
        buf_free(&body->app_compose);
        text_of(&body->app_compose, &doc, compose);
    }
    assert_true(vectors_read(&quote, dir, "quote.bin"));
    assert_true(quote_parse(&q, quote.data, quote.len, NULL));
    verdict_init(v, 0);
    td_measurements(v, &q);
    buf_free(&quote);
    buf_free(&text);
    json_doc_free(&doc);
}

static void expect_result(const struct attest_verdict *v, const char *id, enum check_result result)
{
    const struct verdict_check *c = verdict_find(v, id);
    assert_non_null(c);
    if (c->result != result) {
        fail_msg("%s: %s, expected %s (%s)", id, verdict_result_name(c->result), verdict_result_name(result),
                 c->detail);
    }
}

static void expect_start(const uint8_t *bytes, size_t len, const char *hex)
{
    char text[2 * SHA256_BYTES + 1];
    hex_str(text, bytes, len);
    if (strncmp(text, hex, strlen(hex)) != 0) {
        fail_msg("%s does not begin with %s", text, hex);
    }
}

static void check_genuine(const char *root, const struct genuine *g)
{
    struct attest_verdict *v = mem_alloc(sizeof *v);
    struct attest_body body;
    struct err err = {0};
    assert_non_null(v);
    load_genuine(v, &body, root, g);
    assert_true(dstack_check(v, &body, &err));
    expect_result(v, "guest.event-log", CHECK_PASS);
    expect_result(v, "guest.events", CHECK_PASS);
    expect_result(v, "guest.compose", g->compose);
    expect_result(v, "guest.config-id", g->config);
    expect_result(v, "guest.key-provider", CHECK_PASS);
    expect_result(v, "guest.os-image", CHECK_NOT_CHECKED);
    assert_true(v->guest.log_replayed);
    assert_true(v->guest.has_compose_hash && v->guest.has_app_id && v->guest.has_key_provider);
    expect_start(v->guest.app_id, sizeof v->guest.app_id, g->app_id);
    assert_int_equal(v->guest.has_os_image, g->os_image[0] != '\0');
    expect_start(v->guest.os_image, sizeof v->guest.os_image, g->os_image);
    assert_string_equal(v->guest.key_provider, g->provider);
    verdict_close(v);
    assert_true(v->verified);

    /* The log of another register, and the log shortened: refused, and nothing of it is believed. */
    v->measurements.rtmr[3][0] ^= 1;
    v->check_count = 0;
    assert_true(dstack_check(v, &body, &err));
    expect_result(v, "guest.event-log", CHECK_FAIL);
    expect_result(v, "guest.compose", CHECK_NOT_CHECKED);
    assert_false(v->guest.log_replayed || v->guest.has_compose_hash || v->guest.has_app_id);
    body_free(&body);
    mem_free(v);
}

static const struct genuine captured[] = {
    {"pos/03-v4-venice-gemma_3_27b_p", {"attestation"}, 30, "", "e3e677dd", "kms", CHECK_PASS, CHECK_PASS},
    {"pos/04-v4-venice-gpt_oss_120b_p", {"attestation"}, 30, "", "9b69bb16", "kms", CHECK_PASS, CHECK_PASS},
    {"pos/05-v4-venice-qwen3_vl_30b_a3b_p",
     {"attestation"},
     30,
     "",
     "e3e677dd",
     "kms",
     CHECK_PASS,
     CHECK_PASS},
    {"pos/06-v4-venice-glm_5_1", {"attestation"}, 30, "", "9b69bb16", "kms", CHECK_PASS, CHECK_PASS},
    {"pos/07-v4-venice-live_evidence",
     {"attestation", "attestation", "evidence"},
     30,
     "",
     "de9c74f0",
     "kms",
     CHECK_NOT_CHECKED,
     CHECK_PASS},
    {"pos/08-v4-venice-20260424", {NULL}, 30, "2c0a0c96", "9b69bb16", "kms", CHECK_PASS, CHECK_PASS},
    {"pos/09-v4-venice-20260610", {NULL}, 30, "2c0a0c96", "9b69bb16", "kms", CHECK_PASS, CHECK_PASS},
    {"pos/10-v4-neardirect-20260629", {NULL}, 30, "", "9b69bb16", "kms", CHECK_PASS, CHECK_PASS},
    {"pos/11-v4-nearcloud-gateway-20260629",
     {"gateway_attestation"},
     29,
     "",
     "da9a3d5c",
     "kms",
     CHECK_PASS,
     CHECK_PASS},
    {"sigonly/04-v4-dstack-quote-report",
     {NULL},
     28,
     "3763bc34",
     "",
     "local-sgx",
     CHECK_NOT_CHECKED,
     CHECK_NOT_APPLICABLE},
    {"sigonly/05-v4-dstack-tdx-lite",
     {NULL},
     29,
     "86b0e55f",
     "07a2388c",
     "kms",
     CHECK_NOT_CHECKED,
     CHECK_PASS},
};

static void captured_logs(void **state)
{
    const char *root = vectors_shared();
    (void)state;
    if (root == NULL) {
        print_message("shared/vectors is not there: captured event logs skipped\n");
        skip();
    }
    for (size_t i = 0; i < sizeof captured / sizeof captured[0]; i++) {
        check_genuine(root, &captured[i]);
    }
}

/* Every byte of a genuine log, one bit each: refused, unless it changes nothing that is measured. */
static void flipped_log(void **state)
{
    const struct genuine *g = &captured[9];
    struct attest_verdict *v = mem_alloc(sizeof *v);
    struct attest_body body;
    struct verdict_guest before;
    struct err err = {0};
    (void)state;
    assert_non_null(v);
    load_genuine(v, &body, OWN_VECTORS, g);
    assert_true(dstack_check(v, &body, &err));
    before = v->guest;
    for (size_t i = 0; i < body.event_log.len; i++) {
        v->check_count = 0;
        body.event_log.data[i] ^= (uint8_t)(1U << i % 8);
        assert_true(dstack_check(v, &body, &err));
        verdict_close(v);
        if (v->verified && memcmp(&before, &v->guest, sizeof before) != 0) {
            fail_msg("byte %zu flipped: accepted with another identity", i);
        }
        body.event_log.data[i] ^= (uint8_t)(1U << i % 8);
    }
    body_free(&body);
    mem_free(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(captured_logs),
        cmocka_unit_test(flipped_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
