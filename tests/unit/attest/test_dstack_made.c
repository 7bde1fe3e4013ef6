/* The guest's software: event logs and configurations made up here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "attest/dstack.h"
#include "base/mem.h"
#include "fault.h"
#include "vectors.h"

static void expect_result(const struct attest_verdict *v, const char *id, enum check_result result)
{
    const struct verdict_check *c = verdict_find(v, id);
    assert_non_null(c);
    if (c->result != result) {
        fail_msg("%s: %s, expected %s (%s)", id, verdict_result_name(c->result), verdict_result_name(result),
                 c->detail);
    }
}

struct made {
    struct attest_verdict *v;
    struct attest_body body;
    struct buf log;
    uint8_t rtmr[4][MEASUREMENT_BYTES];
};

static void made_init(struct made *m)
{
    memset(m, 0, sizeof *m);
    m->v = mem_alloc(sizeof *m->v);
    assert_non_null(m->v);
    body_init(&m->body);
    buf_init(&m->log, VECTORS_BYTES_MAX);
}

static void made_free(struct made *m)
{
    body_free(&m->body);
    buf_free(&m->log);
    mem_free(m->v);
}

static void extend(struct made *m, int imr, const uint8_t digest[SHA384_BYTES])
{
    uint8_t both[2 * SHA384_BYTES];
    memcpy(both, m->rtmr[imr], SHA384_BYTES);
    memcpy(both + SHA384_BYTES, digest, SHA384_BYTES);
    assert_true(hash_sha384(m->rtmr[imr], both, sizeof both));
}

/* Everything about an event that a test may want otherwise. */
struct odd {
    int imr;
    unsigned long type;
    int version;                     /* 0: not written, 1 */
    bool stripped, preimage, forged; /* forged: its digest is measured, another payload shown */
};

static const struct odd usual = {.imr = 3, .type = 0x08000001};

static void add_odd(struct made *m, const char *name, const void *payload, size_t len, struct odd o)
{
    uint8_t digest[SHA384_BYTES];
    assert_true(event_log_digest(digest, o.version == 2 ? 2 : 1, name, strlen(name), payload, len, NULL));
    extend(m, o.imr, digest);
    buf_appendf(&m->log, "%s{\"imr\":%d,\"event_type\":%lu,\"event\":", m->log.len > 0 ? "," : "", o.imr,
                o.type);
    json_append_string(&m->log, name, strlen(name));
    buf_append_str(&m->log, ",\"event_payload\":\"");
    buf_append_hex(&m->log, payload, len);
    buf_append_str(&m->log, o.forged ? "00\",\"digest\":\"" : "\",\"digest\":\"");
    if (!o.stripped) {
        buf_append_hex(&m->log, digest, sizeof digest);
    }
    buf_append_byte(&m->log, '"');
    if (o.version > 0) {
        buf_appendf(&m->log, ",\"version\":%d", o.version);
    }
    if (o.preimage) {
        struct buf text;
        buf_init(&text, 4096);
        buf_appendf(&text, "{\"name\":\"%s\",\"payload\":\"", name);
        buf_append_hex(&text, payload, len);
        buf_append_str(&text, "\",\"type\":134217729}");
        buf_append_str(&m->log, ",\"preimage\":\"");
        buf_append_hex(&m->log, text.data, text.len);
        buf_append_byte(&m->log, '"');
        buf_free(&text);
    }
    buf_append_byte(&m->log, '}');
}

static void add(struct made *m, const char *name, const void *payload, size_t len)
{
    add_odd(m, name, payload, len, usual);
}

static const uint8_t app_id[20] = {0x11, 0x3a, 0x22};
static const uint8_t instance_id[20] = {0x44};
static const char compose[] = "{\"services\":{}}";
static const char provider[] = "{\"name\":\"kms\",\"id\":\"3059ab\"}";
static const uint8_t provider_id[] = {0x30, 0x59, 0xab};

static void compose_hash(uint8_t out[SHA256_BYTES])
{
    assert_true(hash_sha256(out, compose, strlen(compose)));
}

static void add_system(struct made *m, struct odd o, const char *without)
{
    uint8_t hash[SHA256_BYTES];
    compose_hash(hash);
    const struct {
        const char *name;
        const void *payload;
        size_t len;
    } events[] = {{"system-preparing", "", 0},
                  {"app-id", app_id, 20},
                  {"compose-hash", hash, 32},
                  {"instance-id", instance_id, 20},
                  {"boot-mr-done", "", 0},
                  {"os-image-hash", hash, 32},
                  {"key-provider", provider, strlen(provider)},
                  {"system-ready", "", 0}};
    for (size_t i = 0; i < sizeof events / sizeof events[0]; i++) {
        if (strcmp(events[i].name, without) != 0) {
            add_odd(m, events[i].name, events[i].payload, events[i].len, o);
        }
    }
}

static void set_config(struct made *m, unsigned version, const char *document)
{
    uint8_t hash[SHA256_BYTES];
    uint8_t *id = m->v->measurements.mr_config_id;
    compose_hash(hash);
    const struct dstack_config c = {hash, app_id, "kms", provider_id, sizeof provider_id};
    if (version == 1) {
        dstack_config_id_v1(id, &c);
    } else if (version == 2) {
        assert_true(dstack_config_id_v2(id, &c, NULL));
    } else if (version == 3) {
        assert_true(dstack_config_id_v3(id, document, strlen(document), NULL));
    } else {
        memset(id, 0, MEASUREMENT_BYTES);
        id[0] = (uint8_t)version;
    }
}

/* Closes the log and judges it with the measurements that it gives. */
static bool judge(struct made *m, unsigned config, const char *document)
{
    struct err err = {0};
    verdict_init(m->v, 0);
    memcpy(m->v->measurements.rtmr, m->rtmr, sizeof m->rtmr);
    m->v->measurements.present = true;
    set_config(m, config, document);
    buf_free(&m->body.event_log);
    buf_init(&m->body.event_log, VECTORS_BYTES_MAX);
    buf_append_byte(&m->body.event_log, '[');
    buf_append(&m->body.event_log, m->log.data, m->log.len);
    buf_append_byte(&m->body.event_log, ']');
    assert_true(dstack_check(m->v, &m->body, &err));
    verdict_close(m->v);
    return m->v->verified;
}

static void refuse(struct made *m, const char *id, const char *words)
{
    if (judge(m, 1, NULL) || strncmp(m->v->reason, id, strlen(id)) != 0 ||
        strstr(m->v->reason, words) == NULL) {
        fail_msg("%s (%s) expected: %s", id, words, m->v->verified ? "accepted" : m->v->reason);
    }
    made_free(m);
}

static void both_digest_forms(void **state)
{
    const struct odd forms[] = {usual,
                                {3, 0x08000001, 0, true, false, false},
                                {3, 0x08000001, 1, false, false, false},
                                {3, 0x08000001, 2, false, false, false},
                                {3, 0x08000001, 2, true, false, false},
                                {3, 0x08000001, 2, false, true, false}};
    (void)state;
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        struct made m;
        made_init(&m);
        buf_append_str(&m.body.app_compose, compose);
        if (i == 5) {
            /* A preimage is compared, so names and JSON payloads must need no escaping here: they do not. */
            add_odd(&m, "system-preparing", "", 0, forms[i]);
            uint8_t hash[SHA256_BYTES];
            compose_hash(hash);
            add_odd(&m, "app-id", app_id, 20, forms[i]);
            add_odd(&m, "compose-hash", hash, 32, forms[i]);
            add_odd(&m, "key-provider", provider, strlen(provider), forms[i]);
            add_odd(&m, "system-ready", "", 0, forms[i]);
        } else {
            add_system(&m, forms[i], "");
        }
        add(&m, "of:the application", "x", 1);
        if (!judge(&m, 1, NULL)) {
            fail_msg("form %zu: %s", i, m.v->reason);
        }
        expect_result(m.v, "guest.compose", CHECK_PASS);
        made_free(&m);
    }
    /* Known answer, computed with another tool. */
    uint8_t digest[SHA384_BYTES];
    char hex[2 * SHA384_BYTES + 1];
    assert_true(event_log_digest(digest, 1, "system-preparing", 16, NULL, 0, NULL));
    assert_string_equal(
        hex_str(hex, digest, sizeof digest),
        "f9974020ef507068183313d0ca808e0d1ca9b2d1ad0c61f5784e7157c362c06536f5ddacdad4451693f48fcc7"
        "2fff624");
    assert_true(event_log_digest(digest, 2, "a\"\n\x01\xc3\xa9", 6, (const uint8_t *)"\xab\xcd", 2, NULL));
    assert_string_equal(
        hex_str(hex, digest, sizeof digest),
        "43729579562597f691326347abd67fe9e313b9bfb20c57e79a51cab5cd80049fd70b3e0021359f44dc44c89f48255f5b");
}

/* What the log itself must not have. */
static void refused_logs(void **state)
{
    const struct {
        struct odd odd;
        const char *words;
    } systems[] = {
        {{.imr = 3, .type = 0x08000001, .forged = true}, "digest is not that"},
        {{.imr = 3, .type = 0x08000001, .version = 3}, "version"},
        {{.imr = 3, .type = 0x08000001, .version = 1, .preimage = true}, "preimage"},
        {{.imr = 3, .type = 4}, "type and register"}, /* a name that nothing would vouch for */
        {{.imr = 2, .type = 0x08000001}, "type and register"},
        {{.imr = 1, .type = 4, .stripped = true}, "no digest"},
    };
    struct made m;
    (void)state;
    for (size_t i = 0; i < sizeof systems / sizeof systems[0]; i++) {
        made_init(&m);
        add_system(&m, systems[i].odd, "");
        refuse(&m, "guest.event-log", systems[i].words);
    }
    made_init(&m);
    add(&m, "a:b", "", 0);
    add_system(&m, usual, "");
    refuse(&m, "guest.event-log", "colon");
    made_init(&m);
    refuse(&m, "guest.event-log", "1 to");
}

/* One event of the system's replaced by another, before or behind the rest. */
static void refused_events(void **state)
{
    uint8_t hash[SHA256_BYTES];
    static const uint8_t other[SHA256_BYTES] = {9};
    compose_hash(hash);
    const struct {
        const char *without, *id, *words, *name;
        const void *payload;
        size_t len;
        bool behind;
    } cases[] = {
        {"", "guest.events", "compose-hash", "compose-hash", other, 32, false},
        {"", "guest.events", "compose-hash", "compose-hash", other, 32, true},
        {"", "guest.events", "system-ready", "system-ready", "", 0, true},
        {"compose-hash", "guest.events", "compose-hash", "compose-hash", hash, 32, true},
        {"compose-hash", "guest.compose", "no compose-hash", "x", "", 0, false},
        {"system-ready", "guest.events", "system-ready", "x", "", 0, false},
        {"app-id", "guest.events", "app-id", "x", "", 0, false},
        {"app-id", "guest.events", "19 bytes", "app-id", app_id, 19, false},
        {"key-provider", "guest.key-provider", "no key provider", "x", "", 0, false},
        {"key-provider", "guest.key-provider", "kind", "key-provider", "{\"name\":\"mine\",\"id\":\"\"}", 23,
         false},
        {"key-provider", "guest.key-provider", "hex", "key-provider", "{\"name\":\"kms\",\"id\":\"zz\"}", 24,
         false},
        {"key-provider", "guest.key-provider", "JSON", "key-provider", "kms", 3, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct made m;
        made_init(&m);
        if (!cases[i].behind) {
            add(&m, cases[i].name, cases[i].payload, cases[i].len);
        }
        add_system(&m, usual, cases[i].without);
        if (cases[i].behind) {
            add(&m, cases[i].name, cases[i].payload, cases[i].len);
        }
        refuse(&m, cases[i].id, cases[i].words);
    }
    struct made m;
    made_init(&m);
    buf_append_str(&m.body.app_compose, "{\"services\":{} }");
    add_system(&m, usual, "");
    refuse(&m, "guest.compose", "not the one that was measured");
}

static void config_ids(void **state)
{
    char document[512], full[768], hex[2 * SHA256_BYTES + 1];
    uint8_t hash[SHA256_BYTES];
    struct made m;
    (void)state;
    compose_hash(hash);
    hex_str(hex, hash, sizeof hash);
    made_init(&m);
    add_system(&m, usual, "");
    assert_true(judge(&m, 0, NULL));
    expect_result(m.v, "guest.config-id", CHECK_NOT_APPLICABLE);
    assert_true(judge(&m, 1, NULL));
    expect_result(m.v, "guest.config-id", CHECK_PASS);
    assert_true(judge(&m, 2, NULL));
    snprintf(document, sizeof document, "{\"compose_hash\":\"%s\",\"key_provider\":\"kms\",\"version\":3}",
             hex);
    assert_true(judge(&m, 3, document));
    expect_result(m.v, "guest.config-id", CHECK_PASS);
    snprintf(full, sizeof full,
             "{\"app_id\":\"113a220000000000000000000000000000000000\",\"compose_hash\":\"%s\","
             "\"init_script_hashes\":[],\"instance_id\":\"4400000000000000000000000000000000000000\","
             "\"key_provider\":\"kms\",\"key_provider_id\":\"3059ab\",\"version\":3}",
             hex);
    assert_true(judge(&m, 3, full));
    /* Another provider, order or version is another configuration. */
    snprintf(document, sizeof document, "{\"compose_hash\":\"%s\",\"key_provider\":\"tpm\",\"version\":3}",
             hex);
    assert_false(judge(&m, 3, document));
    snprintf(document, sizeof document, "{\"key_provider\":\"kms\",\"compose_hash\":\"%s\",\"version\":3}",
             hex);
    assert_false(judge(&m, 3, document));
    assert_false(judge(&m, 4, NULL));
    for (unsigned version = 1; version <= 3; version++) {
        for (size_t i = 1; i < MEASUREMENT_BYTES; i++) {
            struct err err = {0};
            assert_true(judge(&m, version, full));
            m.v->check_count = 0;
            m.v->measurements.mr_config_id[i] ^= 0x80;
            assert_true(dstack_check(m.v, &m.body, &err));
            expect_result(m.v, "guest.config-id", CHECK_FAIL);
        }
    }
    made_free(&m);
}

/* Known answers of versions 2 and 3, computed with another tool. */
static void config_known_answers(void **state)
{
    uint8_t compose32[SHA256_BYTES], app20[20], id33[32], out[MEASUREMENT_BYTES];
    char hex[2 * MEASUREMENT_BYTES + 1];
    (void)state;
    memset(compose32, 0x22, sizeof compose32);
    memset(app20, 0x11, sizeof app20);
    memset(id33, 0x33, sizeof id33);
    const struct dstack_config c = {compose32, app20, "local-sgx", id33, sizeof id33};
    dstack_config_id_v1(out, &c);
    assert_string_equal(
        hex_str(hex, out, sizeof out),
        "012222222222222222222222222222222222222222222222222222222222222222000000000000000000000000"
        "000000");
    assert_true(dstack_config_id_v2(out, &c, NULL));
    assert_string_equal(
        hex_str(hex, out, sizeof out),
        "0257edb6ccd079b0a63e4c612e4ac84c0ad905a481f0c8619dccdc3de87882b5ca000000000000000000000000000000");
    assert_true(dstack_config_id_v3(out, "{\"version\":3}", 13, NULL));
    assert_string_equal(
        hex_str(hex, out, sizeof out),
        "0329ef858cb3ed30481ded24eea93988ce647a8ba8b0c8511a12a3eccfeaa49e8c000000000000000000000000000000");
}

static void absent(void **state)
{
    struct made m;
    struct err err = {0};
    (void)state;
    made_init(&m);
    verdict_init(m.v, 0);
    assert_true(dstack_check(m.v, NULL, &err));
    expect_result(m.v, "guest.event-log", CHECK_NOT_APPLICABLE);
    expect_result(m.v, "guest.os-image", CHECK_NOT_APPLICABLE);
    verdict_init(m.v, 0);
    assert_true(dstack_check(m.v, &m.body, &err));
    expect_result(m.v, "guest.event-log", CHECK_FAIL);
    expect_result(m.v, "guest.compose", CHECK_NOT_CHECKED);
    made_free(&m);
}

/* Each allocation fails once: an error of memory and no identity, never a verdict. */
static void allocations(void **state)
{
    struct made m;
    size_t n;
    (void)state;
    made_init(&m);
    buf_append_str(&m.body.app_compose, compose);
    add_system(&m, (struct odd){3, 0x08000001, 2, false, false, false}, "");
    assert_true(judge(&m, 3, "{}") || m.v->check_count > 0);
    for (n = 1;; n++) {
        struct err err = {0};
        verdict_init(m.v, 0);
        memcpy(m.v->measurements.rtmr, m.rtmr, sizeof m.rtmr);
        m.v->measurements.mr_config_id[0] = 3;
        fault_alloc_at(n);
        bool ok = dstack_check(m.v, &m.body, &err);
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
    made_free(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_digest_forms),    cmocka_unit_test(refused_logs),
        cmocka_unit_test(refused_events),       cmocka_unit_test(config_ids),
        cmocka_unit_test(config_known_answers), cmocka_unit_test(absent),
        cmocka_unit_test(allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
