/* Every fault does something, ends, and leaves the simulator well; the harmless ones lose no text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <cjson/cJSON.h>

#include "fault.h"
#include "probe.h"
#include "quote.h"

static struct probe sim;
static struct sim_key client;
static uint8_t key[SIM_POINT];
static struct bytes plain_answer; /* an answer without fault, to compare with */

static void chat(const char *model, const char *prompt, int seconds, struct answer *a)
{
    struct bytes request = {0}, body = {0};
    char *sealed = probe_seal(key, prompt);
    bytes_fmt(
        &body,
        "{\"model\":\"%s\",\"stream\":true,\"venice_parameters\":{\"enable_e2ee\":true,"
        "\"include_venice_system_prompt\":false},\"messages\":[{\"role\":\"user\",\"content\":\"%s\"}]}",
        model, sealed);
    bytes_fmt(&request,
              "POST /api/v1/chat/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: "
              "application/json\r\n"
              "Content-Length: %zu\r\nX-Venice-TEE-Signing-Algo: ecdsa\r\nX-Venice-TEE-Client-Pub-Key: ",
              body.len);
    bytes_hex(&request, client.pub, SIM_POINT);
    bytes_str(&request, "\r\nX-Venice-TEE-Model-Pub-Key: ");
    bytes_hex(&request, key, SIM_POINT);
    bytes_fmt(&request, "\r\n\r\n%s", bytes_text(&body));
    probe_raw(&sim, request.p, request.len, seconds, a);
    free(sealed);
    bytes_free(&request);
    bytes_free(&body);
}

static int setup(void **state)
{
    static const char *const more[] = {"--no-tls", NULL};
    struct answer a;
    sim_key_new(&client);
    if (!probe_start(&sim, E2EE_SIM_PATH, more) || !probe_attest(&sim, "sim-near", key))
        return -1;
    chat("sim-near", "no fault, some pieces", 5, &a);
    bytes_add(&plain_answer, a.body.p, a.body.len);
    answer_free(&a);
    return plain_answer.len ? 0 : -1;
}

static int teardown(void **state)
{
    bytes_free(&plain_answer);
    return probe_stop(&sim);
}

static size_t count_of(const char *text, const char *what)
{
    size_t n = 0;
    for (const char *p = text; (p = strstr(p, what)); p += strlen(what))
        n++;
    return n;
}

static bool is_one_of(const char *name, const char *const *names)
{
    for (; *names; names++)
        if (!strcmp(*names, name))
            return true;
    return false;
}

/* These wait for ever, or write more than is worth reading here. */
static const char *const waits[] = {
    "no-first-byte", "headers-only", "slow-headers", "stall", "linger", "delay", NULL};
static const char *const floods[] = {"body-huge", "huge-event", "endless-line", "comment-flood", NULL};

static void prompt_of(const struct fault *f, struct bytes *prompt)
{
    long value = is_one_of(f->name, floods)         ? 300000
                 : !strcmp(f->name, "deep")         ? 1000
                 : !strcmp(f->name, "slow-headers") ? 1
                                                    : 0;
    bytes_clear(prompt);
    bytes_fmt(prompt, "some words sim:fault=%s", f->name);
    if (value)
        bytes_fmt(prompt, ",value=%ld", value);
    if (!strcmp(f->name, "reasoning-186") || strstr(f->name, "plaintext-reasoning"))
        bytes_str(prompt, ",reasoning=3");
}

static long stat_of(const char *name)
{
    struct answer a;
    probe_send(&sim, "GET", "/sim/stats", NULL, NULL, &a);
    cJSON *o = cJSON_Parse(bytes_text(&a.body));
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(o, name);
    long n = v ? (long)v->valuedouble : -1;
    cJSON_Delete(o);
    answer_free(&a);
    return n;
}

static void test_every_chat_fault(void **state)
{
    struct bytes prompt = {0};
    const struct fault *f;
    for (size_t i = 0; (f = fault_nth(i)); i++) {
        struct answer a;
        if (!(f->where & IN_CHAT))
            continue;
        long before = stat_of("faults");
        prompt_of(f, &prompt);
        chat("sim-near", bytes_text(&prompt), is_one_of(f->name, waits) ? 1 : 20, &a);
        if (stat_of("faults") != before + 1)
            print_error("fault %s was not counted\n", f->name);
        assert_int_equal(stat_of("faults"), before + 1);
        answer_free(&a);
        for (int k = 0; k < 100 && stat_of("transfers_open"); k++)
            usleep(10000);
        assert_int_equal(stat_of("transfers_open"), 0);
    }
    bytes_free(&prompt);
    assert_int_equal(stat_of("violations"), 0);
}

/* The text must survive them when it is read by a parser as simple as probe_open. */
static void test_harmless_faults(void **state)
{
    static const char *const keep[] = {"content-empty", "content-deleted", "content-null",
                                       "empty-extras",  "choices-null",    "comments",
                                       "blank-lines",   "no-usage",        "usage-early",
                                       "delta-null",    "no-delta",        "bytes",
                                       "done-twice",    "key-change",      "reasoning-186",
                                       "event-fields",  "no-role",         "comment-flood",
                                       "crlf",          "upper-hex",       NULL};
    struct bytes prompt = {0}, want = {0}, have = {0};
    for (size_t i = 0; keep[i]; i++) {
        struct answer a;
        const struct fault *f = fault_find(keep[i], strlen(keep[i]));
        assert_non_null(f);
        assert_non_null(strstr(f->help, "not an error"));
        prompt_of(f, &prompt);
        bytes_clear(&want);
        bytes_fmt(&want, "You said: %s", bytes_text(&prompt));
        chat("sim-near", bytes_text(&prompt), 5, &a);
        if (!a.complete || !probe_open(&a, &client, "content", 0, &have) ||
            strcmp(bytes_text(&have), bytes_text(&want)))
            print_error("%s: %s\n", keep[i], bytes_text(&have));
        assert_true(a.complete);
        assert_string_equal(bytes_text(&have), bytes_text(&want));
        assert_non_null(strstr(bytes_text(&a.body), "[DONE]"));
        answer_free(&a);
    }
    bytes_free(&prompt);
    bytes_free(&want);
    bytes_free(&have);
}

static void test_words_of_chat_faults(void **state)
{
    static const struct {
        const char *fault, *want, *never;
    } rows[] = {
        {"plaintext-content", "\"content\":\"injected: ", NULL},
        {"plaintext-reasoning,reasoning=3", "\"reasoning_content\":\"injected: ", NULL},
        {"plaintext-reasoning-field,reasoning=3", "\"reasoning\":\"injected: ", NULL},
        {"tool-calls", "\"tool_calls\":[{", NULL},
        {"dup-key", ",\"content\":\"injected duplicate\"", NULL},
        {"dup-key-escaped", "con\\u0074ent", NULL},
        {"wrong-index", "\"index\":99", NULL},
        {"0x-hex", "\"content\":\"0x04", NULL},
        {"point-prefix", "\"content\":\"06", NULL},
        {"upper-hex", "\"content\":\"04", NULL},
        {"cut", "\"content\":\"04", "[DONE]"},
        {"cut-finished", "\"finish_reason\":\"stop\"", "[DONE]"},
        {"error-overloaded", "\"retry_after\":11", "\"finish_reason\":\"stop\""},
        {"error-overloaded", "data: [DONE]", "usage"},
        {"error-blocked", "content_blocked_by_provider", NULL},
        {"error-no-done", "upstream_error", "[DONE]"},
        {"error-event", "event: error\n", NULL},
        {"no-space", "data:{", "data: {"},
        {"crlf", "\r\n\r\n", NULL},
        {"cr", "\r\rdata: ", "\n"},
        {"bom",
         "\xef\xbb\xbf"
         "data: {",
         NULL},
        {"after-done", "injected after the end", NULL},
        {"finish-odd", "injected words", NULL},
        {"http-429", "SIM_429", "data:"},
        {"error-200", "it failed", "data:"},
        {"whole-json", "\"message\":{", "data:"},
        {"no-finish", "[DONE]", "\"finish_reason\":\"stop\""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct bytes prompt = {0};
        struct answer a;
        bytes_fmt(&prompt, "some words sim:fault=%s", rows[i].fault);
        chat("sim-near", bytes_text(&prompt), 5, &a);
        if (!strstr(bytes_text(&a.body), rows[i].want) ||
            (rows[i].never && strstr(bytes_text(&a.body), rows[i].never)))
            print_error("%s: %s\n", rows[i].fault, bytes_text(&a.body));
        assert_non_null(strstr(bytes_text(&a.body), rows[i].want));
        assert_true(!rows[i].never || !strstr(bytes_text(&a.body), rows[i].never));
        answer_free(&a);
        bytes_free(&prompt);
    }
}

/* Fields that must not open, at the place asked for and only there. */
static void test_broken_fields(void **state)
{
    static const char *const names[] = {
        "bad-tag", "bad-point",      "point-zero",    "wrong-key",       "short-field",     "odd-hex",
        "non-hex", "reflect-client", "reflect-model", "reflect-negated", "reflect-request", NULL};
    for (size_t i = 0; names[i]; i++) {
        struct bytes prompt = {0}, out = {0};
        struct answer a;
        bytes_fmt(&prompt, "sim:chunks=5,size=20,fault=%s,at=3", names[i]);
        chat("sim-near", bytes_text(&prompt), 5, &a);
        assert_true(a.complete);
        assert_false(probe_open(&a, &client, "content", 0, &out));
        /* 0, 1, 2 open; what comes after the broken one does not count for probe_open. */
        assert_non_null(strstr(bytes_text(&out), "chunk 2 "));
        assert_null(strstr(bytes_text(&out), "chunk 3 "));
        answer_free(&a);
        bytes_free(&prompt);
        bytes_free(&out);
    }
}

/* The same sealed digits twice: within an answer, and from the answer before. */
static void test_repeat_and_replay(void **state)
{
    struct answer a, b;
    char field[240] = "";
    chat("sim-near", "sim:chunks=4,fault=repeat,at=2", 5, &a);
    const char *second = strstr(strstr(bytes_text(&a.body), "\"content\":\"04") + 1, "\"content\":\"04");
    memcpy(field, second + 11, 239);
    assert_int_equal(count_of(bytes_text(&a.body), field), 2);
    answer_free(&a);
    chat("sim-near", "sim:chunks=3", 5, &a);
    chat("sim-near", "sim:chunks=3,fault=replay", 5, &b);
    const char *last = NULL;
    for (const char *p = bytes_text(&a.body); (p = strstr(p, "\"content\":\"04")); p++)
        last = p;
    memcpy(field, last + 11, 239);
    assert_int_equal(count_of(bytes_text(&b.body), field), 1);
    answer_free(&a);
    answer_free(&b);
}

static void test_queue_and_suffix(void **state)
{
    struct answer a;
    probe_send(&sim, "POST", "/sim/fault", NULL,
               "{\"endpoint\":\"chat\",\"fault\":\"http-503\",\"count\":2,\"model\":\"sim-near\"}", &a);
    assert_int_equal(a.status, 200);
    answer_free(&a);
    static const int want[] = {503, 503, 200};
    for (int i = 0; i < 3; i++) {
        chat("sim-near", "hi", 5, &a);
        assert_int_equal(a.status, want[i]);
        answer_free(&a);
    }
    chat("sim-near@http-402", "hi", 5, &a);
    assert_int_equal(a.status, 402);
    answer_free(&a);
    probe_send(&sim, "POST", "/sim/fault", NULL, "{\"endpoint\":\"attestation\",\"fault\":\"bad-tag\"}", &a);
    assert_int_equal(a.status, 400);
    answer_free(&a);
    probe_send(&sim, "POST", "/sim/fault", NULL, "{\"endpoint\":\"models\",\"fault\":\"body-empty\"}", &a);
    answer_free(&a);
    probe_send(&sim, "GET", "/api/v1/models?type=text", NULL, NULL, &a);
    assert_int_equal(a.body.len, 0);
    answer_free(&a);
    probe_send(&sim, "GET", "/api/v1/models?type=text", NULL, NULL, &a);
    assert_true(a.body.len > 0);
    answer_free(&a);
}

/* ---- attestation ---- */

static void attest(const char *model, const char *fault, struct answer *a)
{
    uint8_t nonce[32];
    struct bytes path = {0};
    random_bytes(nonce, sizeof nonce);
    bytes_fmt(&path, "/api/v1/tee/attestation?model=%s%s%s&nonce=", model, *fault ? "@" : "", fault);
    bytes_hex(&path, nonce, sizeof nonce);
    probe_send(&sim, "GET", bytes_text(&path), NULL, NULL, a);
    bytes_free(&path);
}

static void test_every_attestation_fault(void **state)
{
    static const char *const valid_binding[] = {"verified-false",
                                                "verified-string",
                                                "verified-absent",
                                                "nonce-echo",
                                                "key-128",
                                                "address",
                                                "algo",
                                                "quote-base64",
                                                "quote-upper",
                                                "quote-cut",
                                                "quote-huge",
                                                "quote-flip",
                                                "quote-sgx",
                                                NULL};
    const struct fault *f;
    for (size_t i = 0; (f = fault_nth(i)); i++) {
        struct answer a;
        if (f->where != IN_ATTEST)
            continue;
        bool aci = !strncmp(f->name, "stale", 5) || !strcmp(f->name, "keyset-only");
        attest(aci ? "sim-aci" : "sim-near", f->name, &a);
        assert_int_equal(a.status, !strcmp(f->name, "unverified-502") ? 502 : 200);
        assert_true(a.complete && a.body.len > 1000);
        cJSON *o = cJSON_Parse(bytes_text(&a.body));
        bool broken = !strcmp(f->name, "attest-invalid") || !strcmp(f->name, "attest-deep");
        assert_int_equal(o != NULL, !broken);
        if (is_one_of(f->name, valid_binding))
            assert_non_null(cJSON_GetObjectItemCaseSensitive(o, "signing_public_key"));
        cJSON_Delete(o);
        answer_free(&a);
    }
}

/* The faults that concern REPORTDATA and the guest's attributes, read from the quote itself. */
static void test_quote_faults(void **state)
{
    static const struct {
        const char *fault;
        size_t offset;
        int bit_wrong; /* 1: the byte differs from the one without the fault */
    } rows[] = {{"", 168, 0},        {"debug", 168, 1},      {"report-pad", 568 + 25, 1},
                {"quote-sgx", 4, 1}, {"quote-flip", 184, 1}, {"mrconfig", 237, 1}};
    uint8_t right[16384], quote[16384];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct answer a;
        attest("sim-near", rows[i].fault, &a);
        cJSON *o = cJSON_Parse(bytes_text(&a.body));
        const char *hex = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o, "intel_quote"));
        assert_non_null(hex);
        assert_true(strlen(hex) / 2 <= sizeof quote && hex_decode(hex, strlen(hex), quote, strlen(hex) / 2));
        if (i == 0)
            memcpy(right, quote, sizeof right);
        assert_int_equal(quote[rows[i].offset] != right[rows[i].offset], rows[i].bit_wrong);
        cJSON_Delete(o);
        answer_free(&a);
    }
}

/* The event log replays to the quote's registers, by the rule of dstack. */
static void test_event_log_replays(void **state)
{
    struct quote q;
    struct quote_request r = {.app_name = "replay"};
    uint8_t rtmr[4][48] = {{0}};
    quote_make(&r, &q);
    cJSON *list = cJSON_Parse(q.event_log), *e;
    cJSON_ArrayForEach(e, list)
    {
        uint8_t both[96];
        const char *digest = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(e, "digest"));
        int imr = cJSON_GetObjectItemCaseSensitive(e, "imr")->valueint;
        memcpy(both, rtmr[imr], 48);
        assert_true(hex_decode(digest, strlen(digest), both + 48, 48));
        sha384_of(both, sizeof both, rtmr[imr]);
    }
    assert_memory_equal(q.raw.p + QUOTE_RTMR0, rtmr, sizeof rtmr);
    cJSON_Delete(list);
    quote_free(&q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_chat_fault),        cmocka_unit_test(test_harmless_faults),
        cmocka_unit_test(test_words_of_chat_faults),    cmocka_unit_test(test_broken_fields),
        cmocka_unit_test(test_repeat_and_replay),       cmocka_unit_test(test_queue_and_suffix),
        cmocka_unit_test(test_every_attestation_fault), cmocka_unit_test(test_quote_faults),
        cmocka_unit_test(test_event_log_replays),
    };
    return cmocka_run_group_tests_name("sim_faults", tests, setup, teardown);
}
