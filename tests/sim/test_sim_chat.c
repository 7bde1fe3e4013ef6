/* The simulator as a program: round trips over every kind of model, and its records. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <cjson/cJSON.h>

#include "probe.h"

static struct probe sim;
static struct sim_key client;

static int setup(void **state)
{
    sim_key_new(&client);
    return probe_start(&sim, E2EE_SIM_PATH, NULL) ? 0 : -1;
}

static int teardown(void **state)
{
    return probe_stop(&sim);
}

static int reset(void **state)
{
    struct answer a;
    probe_send(&sim, "POST", "/sim/reset", NULL, "", &a);
    answer_free(&a);
    return 0;
}

/* The whole chat request for one user message; members: further top-level members, each beginning with a comma. */
static void chat_key(const char *model, const uint8_t point[SIM_POINT], const char *prompt,
                     const char *members, struct answer *a)
{
    struct bytes headers = {0}, body = {0};
    char *sealed = probe_seal(point, prompt);
    bytes_str(&headers, "Content-Type: application/json\r\nX-Venice-TEE-Signing-Algo: "
                        "ecdsa\r\nX-Venice-TEE-Client-Pub-Key: ");
    bytes_hex(&headers, client.pub, SIM_POINT);
    bytes_str(&headers, "\r\nX-Venice-TEE-Model-Pub-Key: ");
    bytes_hex(&headers, point, SIM_POINT);
    bytes_str(&headers, "\r\n");
    bytes_str(&body, "{\"model\":");
    bytes_json(&body, model, strlen(model));
    bytes_fmt(&body,
              ",\"stream\":true,\"venice_parameters\":{\"enable_e2ee\":true,\"include_venice_system_prompt\":"
              "false},"
              "\"messages\":[{\"role\":\"user\",\"content\":\"%s\"}]%s}",
              sealed, members);
    probe_send(&sim, "POST", "/api/v1/chat/completions", bytes_text(&headers), bytes_text(&body), a);
    free(sealed);
    bytes_free(&headers);
    bytes_free(&body);
}

static void chat(const char *model, const char *prompt, const char *members, struct answer *a)
{
    uint8_t point[SIM_POINT];
    assert_true(probe_attest(&sim, model, point));
    chat_key(model, point, prompt, members, a);
}

static void expect_violations(const char *want)
{
    struct answer a;
    probe_send(&sim, "GET", "/sim/violations", NULL, NULL, &a);
    if (!*want)
        assert_string_equal(bytes_text(&a.body), "[]");
    else
        assert_non_null(strstr(bytes_text(&a.body), want));
    answer_free(&a);
}

static void expect_text(const struct answer *a, const char *member, int choice, const char *want)
{
    struct bytes out = {0};
    assert_true(probe_open(a, &client, member, choice, &out));
    assert_string_equal(bytes_text(&out), want);
    bytes_free(&out);
}

static size_t count_of(const struct answer *a, const char *what)
{
    size_t n = 0;
    for (const char *p = bytes_text(&a->body); (p = strstr(p, what)); p += strlen(what))
        n++;
    return n;
}

static void test_round_trip_all_models(void **state)
{
    static const char *const models[] = {"sim-near",  "sim-near-ca", "sim-near-py",
                                         "sim-phala", "sim-aci",     "sim-aci-keyset"};
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        struct answer a;
        chat(models[i], "hello \xe4\xb8\x96\xe7\x95\x8c", "", &a);
        assert_int_equal(a.status, 200);
        assert_true(a.complete);
        expect_text(&a, "content", 0, "You said: hello \xe4\xb8\x96\xe7\x95\x8c");
        assert_non_null(strstr(bytes_text(&a.body), "\"choices\":[],\"usage\""));
        assert_non_null(strstr(bytes_text(&a.body), "data: [DONE]\n\n"));
        answer_free(&a);
    }
    expect_violations("");
}

static void test_odd_model_name(void **state)
{
    uint8_t point[SIM_POINT];
    struct answer a;
    assert_true(probe_attest(&sim, "odd%2Fn%C3%A4me%20%2Bv1.5%3Fa%3Db%26c%23d%2541%22e%27%3C%5C%3E", point));
    chat_key("odd/n\xc3\xa4me +v1.5?a=b&c#d%41\"e'<\\>", point, "x", "", &a);
    expect_text(&a, "content", 0, "You said: x");
    answer_free(&a);
    expect_violations("");
}

/* The 130 digits after which fields differ: one point for DV, as many as fields for the others. */
static void test_server_keys(void **state)
{
    static const struct {
        const char *model, *prompt;
        bool fresh;
    } rows[] = {{"sim-near", "sim:chunks=4", true},
                {"sim-phala", "sim:chunks=4", false},
                {"sim-near", "sim:chunks=4,key=response", false},
                {"sim-phala", "sim:chunks=4,key=field", true}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct answer a;
        chat(rows[i].model, rows[i].prompt, "", &a);
        const char *one = strstr(bytes_text(&a.body), "\"content\":\"04"),
                   *two = strstr(one + 1, "\"content\":\"04");
        assert_int_equal(strncmp(one + 11, two + 11, 130) != 0, rows[i].fresh);
        assert_int_not_equal(strncmp(one + 141, two + 141, 24), 0);
        assert_int_equal(count_of(&a, "\"content\":\"04"), 4);
        answer_free(&a);
    }
}

static void test_choices_reasoning_and_kinds(void **state)
{
    struct answer a;
    struct bytes out = {0};
    chat("sim-near", "hi sim:reasoning=2", ",\"n\":2,\"seed\":9007199254740993", &a);
    expect_text(&a, "reasoning_content", 0, "step 0. step 1. ");
    expect_text(&a, "content", 0, "You said: hi sim:reasoning=2");
    expect_text(&a, "content", 1, "(choice 1) You said: hi sim:reasoning=2");
    answer_free(&a);
    chat("sim-phala", "sim:kind=unicode,piece=1", "", &a);
    assert_true(probe_open(&a, &client, "content", 0, &out));
    assert_true(utf8_valid(out.p, out.len) && out.len > 80);
    answer_free(&a);
    chat("sim-near", "sim:kind=long,length=50000,piece=100", "", &a);
    assert_true(probe_open(&a, &client, "content", 0, &out));
    assert_true(out.len >= 50000);
    answer_free(&a);
    chat("sim-near", "sim:kind=empty", "", &a);
    expect_text(&a, "content", 0, "");
    answer_free(&a);
    chat("sim-near", "x sim:reply=line one\nsim:chunks=2 and \"two\"", "", &a);
    expect_text(&a, "content", 0, "line one\nsim:chunks=2 and \"two\"");
    answer_free(&a);
    chat("sim-near", "please cut this long text", ",\"max_tokens\":2", &a);
    expect_text(&a, "content", 0, "You said: please");
    assert_non_null(strstr(bytes_text(&a.body), "\"finish_reason\":\"length\""));
    answer_free(&a);
    bytes_free(&out);
    expect_violations("");
}

static void test_content_arrays(void **state)
{
    struct answer a;
    chat("sim-near", "[{\"type\":\"text\",\"text\":\"[1,2]\"}]", "", &a);
    expect_text(&a, "content", 0, "You said: [1,2]");
    answer_free(&a);
    chat("sim-near",
         "[{\"type\":\"text\",\"text\":\"look\"},{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/"
         "png;base64,AA==\"}}]",
         "", &a);
    struct bytes out = {0};
    assert_true(probe_open(&a, &client, "content", 0, &out));
    assert_non_null(
        strstr(bytes_text(&out), "You said: look\n[image_url data:image/png, 26 characters, sha256 "));
    bytes_free(&out);
    answer_free(&a);
    expect_violations("");
    chat("sim-near", " [1,2]", "", &a);
    assert_int_equal(a.status, 400);
    answer_free(&a);
    expect_violations("content_parts");
}

static void test_rotation_errors(void **state)
{
    static const struct {
        const char *model;
        int status;
        const char *word;
    } rows[] = {{"sim-near", 400, "Decryption failed"},
                {"sim-near-ca", 421, "no longer valid"},
                {"sim-near-py", 400, "{\"detail\":\"Failed to decrypt field\"}"},
                {"sim-phala", 400, "e2ee_model_key_mismatch"},
                {"sim-aci", 400, "e2ee_model_key_mismatch"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t point[SIM_POINT];
        struct answer a;
        assert_true(probe_attest(&sim, rows[i].model, point));
        probe_send(&sim, "POST", "/sim/rotate-key", NULL, "", &a);
        assert_int_equal(a.status, 200);
        answer_free(&a);
        chat_key(rows[i].model, point, "hi", "", &a);
        assert_int_equal(a.status, rows[i].status);
        assert_non_null(strstr(bytes_text(&a.body), rows[i].word));
        answer_free(&a);
        chat(rows[i].model, "hi", "", &a);
        assert_int_equal(a.status, 200);
        answer_free(&a);
    }
    expect_violations("");
}

static void test_signatures(void **state)
{
    static const char *const models[] = {"sim-near", "sim-phala", "sim-aci"};
    for (size_t i = 0; i < 3; i++) {
        uint8_t point[SIM_POINT], signer[SIM_POINT], sig[65], hash[32];
        char hex[65];
        struct answer a, s;
        struct bytes path = {0};
        assert_true(probe_attest(&sim, models[i], point));
        chat_key(models[i], point, "sign this", "", &a);
        const char *id = strstr(bytes_text(&a.body), "chatcmpl-");
        bytes_fmt(&path, "/api/v1/tee/signature?model=%s&request_id=%.41s", models[i], id);
        probe_send(&sim, "GET", bytes_text(&path), NULL, NULL, &s);
        assert_int_equal(s.status, 200);
        cJSON *o = cJSON_Parse(bytes_text(&s.body));
        const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o, "text"));
        const char *hex_sig = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o, "signature"));
        assert_true(hex_decode(hex_sig + 2, strlen(hex_sig) - 2, sig, 65));
        assert_true(sim_eip191_recover(text, sig, signer));
        assert_memory_equal(signer, point, SIM_POINT);
        sha256_of(a.body.p, a.body.len, hash);
        hex_encode(hash, 32, hex);
        assert_string_equal(strrchr(text, ':') + 1, hex);
        assert_int_equal(!strncmp(text, "sim/sim-near:", 13), i == 0);
        cJSON_Delete(o);
        bytes_free(&path);
        answer_free(&a);
        answer_free(&s);
    }
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

static void test_records(void **state)
{
    struct answer a, r;
    chat("sim-near", "the canary stays sealed", "", &a);
    probe_send(&sim, "GET", "/sim/requests", NULL, NULL, &r);
    assert_non_null(strstr(bytes_text(&r.body), "GET /api/v1/tee/attestation?model=sim-near&nonce="));
    assert_non_null(strstr(bytes_text(&r.body), "\"enable_e2ee\":true"));
    assert_null(strstr(bytes_text(&r.body), "canary"));
    assert_int_equal(stat_of("chat_requests"), 1);
    assert_int_equal(stat_of("attestation_requests"), 1);
    assert_int_equal(stat_of("fields_opened"), 1);
    assert_int_equal(stat_of("transfers_open"), 0);
    answer_free(&a);
    answer_free(&r);
}

static void test_hang_up_is_seen(void **state)
{
    static const char request[] =
        "POST /api/v1/plain/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 80\r\n\r\n"
        "{\"messages\":[{\"role\":\"user\",\"content\":\"sim:chunks=1000,delay_ms=50\"}]          }";
    int fd = probe_connect(&sim);
    char block[512];
    assert_int_equal(write(fd, request, sizeof request - 1), sizeof request - 1);
    assert_true(read(fd, block, sizeof block) > 0);
    assert_int_equal(stat_of("transfers_open"), 1);
    close(fd);
    for (int i = 0; i < 100 && stat_of("transfers_open"); i++)
        usleep(10000);
    assert_int_equal(stat_of("transfers_open"), 0);
    assert_int_equal(stat_of("client_disconnects"), 1);
}

/* Two requests in one write on one connection: answered one after the other. */
static void test_keep_alive(void **state)
{
    static const char two[] = "GET /sim/violations HTTP/1.1\r\nHost: x\r\n\r\n"
                              "GET /api/v1/models?type=text HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    struct answer a;
    probe_raw(&sim, two, sizeof two - 1, 5, &a);
    assert_int_equal(a.status, 200);
    assert_non_null(strstr(bytes_text(&a.body), "[]HTTP/1.1 200 OK"));
    assert_non_null(strstr(bytes_text(&a.body), "\"supportsE2EE\":true"));
    answer_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_round_trip_all_models, reset),
        cmocka_unit_test_setup(test_odd_model_name, reset),
        cmocka_unit_test_setup(test_server_keys, reset),
        cmocka_unit_test_setup(test_choices_reasoning_and_kinds, reset),
        cmocka_unit_test_setup(test_content_arrays, reset),
        cmocka_unit_test_setup(test_rotation_errors, reset),
        cmocka_unit_test_setup(test_signatures, reset),
        cmocka_unit_test_setup(test_records, reset),
        cmocka_unit_test_setup(test_hang_up_is_seen, reset),
        cmocka_unit_test_setup(test_keep_alive, reset),
    };
    return cmocka_run_group_tests_name("sim_chat", tests, setup, teardown);
}
