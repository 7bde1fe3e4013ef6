/* Hand-written requests against each rule of strictness: what real servers refuse and what a right client never sends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "probe.h"

static struct probe sim;
static struct sim_key client;

static int setup(void **state)
{
    static const char *const more[] = {"--api-key", "sk-test", "--attestation-limit", "40", "--no-tls", NULL};
    sim_key_new(&client);
    return probe_start(&sim, E2EE_SIM_PATH, more) ? 0 : -1;
}

static int teardown(void **state)
{
    return probe_stop(&sim);
}

/* In a template: @S a sealed "hello", @A a sealed "[1,2]", @E a sealed "", @U a sealed byte that is no UTF-8,
 * @P the client's point, @M the model's. */
static char *fill(const char *template, const uint8_t model[SIM_POINT])
{
    struct bytes out = {0};
    for (const char *p = template; *p; p++) {
        char *sealed = NULL;
        if (*p != '@' || !strchr("SAEUPM", p[1])) {
            bytes_add(&out, p, 1);
            continue;
        }
        p++;
        if (*p == 'P' || *p == 'M')
            bytes_hex(&out, *p == 'P' ? client.pub : model, SIM_POINT);
        else
            sealed = probe_seal(model, *p == 'S' ? "hello" : *p == 'A' ? "[1,2]" : *p == 'E' ? "" : "\xff");
        if (sealed)
            bytes_str(&out, sealed);
        free(sealed);
    }
    return (char *)out.p;
}

static bool violation_is(const char *rule)
{
    struct answer a;
    probe_send(&sim, "GET", "/sim/violations", NULL, NULL, &a);
    struct bytes want = {0};
    bytes_fmt(&want, "\"rule\":\"%s\"", rule ? rule : "");
    bool right =
        rule ? strstr(bytes_text(&a.body), bytes_text(&want)) != NULL : !strcmp(bytes_text(&a.body), "[]");
    if (!right)
        print_error("wanted %s, have %s\n", rule ? rule : "none", bytes_text(&a.body));
    bytes_free(&want);
    answer_free(&a);
    probe_send(&sim, "POST", "/sim/reset", NULL, "", &a);
    answer_free(&a);
    return right;
}

static uint8_t model_key[3][SIM_POINT];
static const char *const models[] = {"sim-near", "sim-phala", "sim-aci"};

static void attest_all(void)
{
    static bool done;
    for (int i = 0; i < 3 && !done; i++)
        assert_true(probe_attest(&sim, models[i], model_key[i]));
    done = true;
}

#define HEAD(client, model, algo)                                                                            \
    "Content-Type: application/json\r\nAuthorization: Bearer sk-test\r\n"                                    \
    "X-Venice-TEE-Client-Pub-Key: " client "\r\nX-Venice-TEE-Model-Pub-Key: " model                          \
    "\r\nX-Venice-TEE-Signing-Algo: " algo "\r\n"
#define RIGHT HEAD("@P", "@M", "ecdsa")
#define VP "\"venice_parameters\":{\"enable_e2ee\":true,\"include_venice_system_prompt\":false}"
#define START "{\"model\":\"sim-near\",\"stream\":true," VP ","
#define USER "\"messages\":[{\"role\":\"user\",\"content\":\"@S\"}]"
#define BODY START USER "}"

/* Sends and compares status, a word of the body (NULL: any) and the violation recorded (NULL: none). */
static void expect(int which, const char *headers, const char *body, int status, const char *word,
                   const char *rule)
{
    struct answer a;
    attest_all();
    char *h = fill(headers, model_key[which]), *b = fill(body, model_key[which]);
    probe_send(&sim, "POST", "/api/v1/chat/completions", h, b, &a);
    if (a.status != status || (word && !strstr(bytes_text(&a.body), word)))
        print_error("%s\n%.300s\n -> %d %s\n", headers, body, a.status, bytes_text(&a.body));
    assert_int_equal(a.status, status);
    assert_true(!word || strstr(bytes_text(&a.body), word));
    assert_true(violation_is(rule));
    answer_free(&a);
    free(h);
    free(b);
}

static void test_right_requests(void **state)
{
    expect(0, RIGHT, BODY, 200, "[DONE]", NULL);
    expect(0, RIGHT,
           START "\"temperature\":0.5,\"top_p\":1,\"top_k\":5,\"min_p\":0,\"max_tokens\":9,\"seed\":"
                 "9007199254740993,\"n\":1,"
                 "\"frequency_penalty\":0,\"presence_penalty\":0,\"repetition_penalty\":1.1,\"reasoning_"
                 "effort\":\"low\","
                 "\"stream_options\":{\"include_usage\":true},\"reasoning\":{\"effort\":\"high\"}," USER "}",
           200, "[DONE]", NULL);
    expect(
        0, RIGHT,
        START
        "\"messages\":[{\"role\":\"system\",\"content\":\"@S\"},{\"role\":\"assistant\",\"content\":\"@E\","
        "\"reasoning_content\":\"@S\"},{\"role\":\"tool\",\"tool_call_id\":\"c1\",\"content\":\"@S\"},"
        "{\"role\":\"assistant\",\"content\":null},{\"role\":\"developer\",\"content\":\"@S\"}]}",
        200, "[DONE]", NULL);
}

static void test_headers(void **state)
{
    static const struct {
        const char *headers;
        int status;
        const char *word, *rule;
    } rows[] = {
        {"Content-Type: application/json\r\nAuthorization: Bearer sk-test\r\nX-Venice-TEE-Client-Pub-Key: "
         "@P\r\n"
         "X-Venice-TEE-Model-Pub-Key: @M\r\n",
         400, NULL, "missing_e2ee_header"},
        {"Content-Type: application/json\r\nAuthorization: Bearer sk-test\r\nX-Venice-TEE-Client-Pub-Key: "
         "@P\r\n"
         "X-Venice-TEE-Signing-Algo: ecdsa\r\n",
         400, NULL, "missing_e2ee_header"},
        {"Content-Type: application/json\r\nAuthorization: Bearer sk-test\r\nX-Venice-TEE-Model-Pub-Key: "
         "@M\r\n"
         "X-Venice-TEE-Signing-Algo: ecdsa\r\n",
         400, NULL, "missing_e2ee_header"},
        {HEAD("@P", "@M", "ed25519"), 400, "Unsupported signing algorithm", "signing_algo"},
        {HEAD("0x@P", "@M", "ecdsa"), 400, "Invalid E2EE headers", "client_pub_key"},
        {HEAD("04abcd", "@M", "ecdsa"), 400, "130 hex digits", "client_pub_key"},
        {HEAD("@P", "abcd", "ecdsa"), 400, "Invalid E2EE headers", "model_pub_key"},
        {HEAD("@M", "@M", "ecdsa"), 400, NULL, "client_key_is_model_key"},
        {RIGHT "X-Stainless-Lang: python\r\n", 400, NULL, "unexpected_header"},
        {RIGHT "Cookie: a=b\r\n", 400, NULL, "unexpected_header"},
        {RIGHT "X-E2EE-Version: 2\r\n", 400, NULL, "unexpected_header"},
        {RIGHT "X-Venice-TEE-Signing-Algo: ecdsa\r\n", 400, NULL, "duplicate_header"},
        {"Content-Type: text/plain\r\nAuthorization: Bearer sk-test\r\nX-Venice-TEE-Client-Pub-Key: @P\r\n"
         "X-Venice-TEE-Model-Pub-Key: @M\r\nX-Venice-TEE-Signing-Algo: ecdsa\r\n",
         400, NULL, "content_type"},
        {"Content-Type: application/json\r\nX-Venice-TEE-Client-Pub-Key: @P\r\n"
         "X-Venice-TEE-Model-Pub-Key: @M\r\nX-Venice-TEE-Signing-Algo: ecdsa\r\n",
         401, "AUTHENTICATION_FAILED", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        expect(0, rows[i].headers, BODY, rows[i].status, rows[i].word, rows[i].rule);
}

/* Not on the curve: the client's point with its last digit changed, whatever it was. */
static void test_point_off_the_curve(void **state)
{
    char hex[2 * SIM_POINT + 1];
    struct bytes headers = {0};
    uint8_t point[SIM_POINT];
    memcpy(point, client.pub, SIM_POINT);
    point[64] ^= 1;
    hex_encode(point, SIM_POINT, hex);
    bytes_fmt(&headers, HEAD("%s", "@M", "ecdsa"), hex);
    expect(0, bytes_text(&headers), BODY, 400, "not a point", "client_pub_key");
    bytes_free(&headers);
}

static const struct {
    const char *body;
    const char *rule;
} bad_bodies[] = {
    {"[1]", "json_invalid"},
    {"{\"model\":\"sim-near\"", "json_invalid"},
    {BODY "x", "json_trailing"},
    {START USER ",\"seed\":1,\"seed\":2}", "json_duplicate_key"},
    {START "\"messages\":[{\"role\":\"user\",\"content\":\"@S\",\"content\":\"@S\"}]}", "json_duplicate_key"},
    {START USER ",\"x\":\"\xff\"}", "json_utf8"},
    {START USER ",\"provider\":{}}", "unknown_key"},
    {START USER ",\"stop\":\"END\"}", "forbidden_key"},
    {START USER ",\"tools\":[]}", "forbidden_key"},
    {START USER ",\"tool_choice\":\"auto\"}", "forbidden_key"},
    {START USER ",\"response_format\":{\"type\":\"text\"}}", "forbidden_key"},
    {START USER ",\"user\":\"me\"}", "forbidden_key"},
    {START USER ",\"metadata\":{}}", "forbidden_key"},
    {START USER ",\"prompt_cache_key\":\"k\"}", "forbidden_key"},
    {START USER ",\"logprobs\":true}", "forbidden_key"},
    {START USER ",\"temperature\":\"warm words\"}", "wrong_type"},
    {START USER ",\"seed\":1.5}", "wrong_type"},
    {START USER ",\"reasoning_effort\":\"words of the user\"}", "reasoning_effort"},
    {START USER ",\"reasoning\":{\"note\":\"words\"}}", "reasoning_object"},
    {START USER ",\"stream_options\":{\"note\":\"words\"}}", "stream_options"},
    {"{\"model\":\"sim-near\"," VP "," USER "}", "stream_not_true"},
    {"{\"model\":\"sim-near\",\"stream\":false," VP "," USER "}", "stream_not_true"},
    {"{\"model\":\"sim-near\",\"stream\":true," USER "}", "venice_parameters"},
    {"{\"model\":\"sim-near\",\"stream\":true,\"venice_parameters\":{\"enable_e2ee\":false,"
     "\"include_venice_system_prompt\":false}," USER "}",
     "venice_parameters"},
    {"{\"model\":\"sim-near\",\"stream\":true,\"venice_parameters\":{\"enable_e2ee\":true}," USER "}",
     "venice_parameters"},
    {"{\"model\":\"sim-near\",\"stream\":true,\"venice_parameters\":{\"enable_e2ee\":true,"
     "\"include_venice_system_prompt\":false,\"character_slug\":\"x\"}," USER "}",
     "venice_parameters"},
    {"{\"model\":\"sim-near\",\"stream\":true,\"venice_parameters\":{\"enable_e2ee\":true,"
     "\"include_venice_system_prompt\":false,\"enable_web_search\":\"on\"}," USER "}",
     "venice_parameters"},
    {"{\"model\":\"sim-tee-only\",\"stream\":true," VP "," USER "}", "model_without_e2ee"},
    {"{\"model\":\"llama-3.3-70b\",\"stream\":true," VP "," USER "}", "model_without_e2ee"},
    {"{\"model\":\"sim-e2ee-without-tee\",\"stream\":true," VP "," USER "}", "model_without_e2ee"},
    {"{\"stream\":true," VP "," USER "}", "model_missing"},
    {START "\"messages\":[{\"role\":\"user\",\"name\":\"bob\",\"content\":\"@S\"}]}", "message_key"},
    {START "\"messages\":[{\"role\":\"assistant\",\"content\":\"@S\",\"tool_calls\":[]}]}", "message_key"},
    {START "\"messages\":[{\"role\":\"user\",\"tool_call_id\":\"x\",\"content\":\"@S\"}]}", "tool_call_id"},
    {START "\"messages\":[{\"role\":\"wizard\",\"content\":\"@S\"}]}", "message_role"},
    {START "\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"@S\"}]}]}",
     "plaintext_field"},
    {START "\"messages\":[{\"role\":\"user\",\"content\":\"\"}]}", "plaintext_field"},
    {START "\"messages\":[{\"role\":\"user\",\"content\":5}]}", "plaintext_field"},
    {START "\"messages\":[{\"role\":\"assistant\",\"content\":\"@S\",\"reasoning_content\":\"I thought\"}]}",
     "plaintext_field"},
    {START "\"messages\":[{\"role\":\"user\",\"content\":\"@A\"}]}", "content_parts"},
    {START "\"messages\":[{\"role\":\"user\",\"content\":\"@U\"}]}", "sealed_utf8"},
};

static void test_bodies(void **state)
{
    for (size_t i = 0; i < sizeof bad_bodies / sizeof *bad_bodies; i++)
        expect(0, RIGHT, bad_bodies[i].body, 400, "\"error\"", bad_bodies[i].rule);
}

/* What each server itself says to plaintext and to "". */
static void test_words_of_the_servers(void **state)
{
#define FOR(model, content)                                                                                  \
    "{\"model\":\"" model "\",\"stream\":true," VP                                                           \
    ",\"messages\":[{\"role\":\"system\",\"content\":\"" content "\"}]}"
    expect(0, RIGHT, FOR("sim-near", "hello"), 400, "Encrypted field is not valid hex", "plaintext_field");
    expect(1, RIGHT, FOR("sim-phala", "hello"), 400, "Encrypted message content must be hex-encoded",
           "plaintext_field");
    expect(1, RIGHT, FOR("sim-phala", ""), 400, "invalid_e2ee_request", "plaintext_field");
    expect(2, RIGHT, FOR("sim-aci", ""), 400, "invalid_e2ee_request", "plaintext_field");
    expect(2, RIGHT,
           "{\"model\":\"sim-aci\",\"stream\":true," VP
           ",\"messages\":[{\"role\":\"user\",\"content\":null}]}",
           400, "No encrypted field", NULL);
    expect(0, RIGHT, START "\"messages\":[]}", 400, "must not be empty", NULL);
    expect(0, RIGHT, START USER ",\"n\":99}", 400, "n must be", NULL);
    expect(0, RIGHT, FOR("unheard-of", "@S"), 404, "MODEL_NOT_FOUND", "model_unknown");
#undef FOR
}

/* One point and nonce for two texts is a leak; the same field once more is a repeated request. */
static void test_nonce_reuse(void **state)
{
    struct sim_key eph;
    struct bytes one = {0}, two = {0}, body = {0};
    uint8_t k[32], nonce[12] = {1};
    attest_all();
    sim_key_new(&eph);
    assert_true(sim_agree(eph.priv, model_key[0], SIM_INFO, NULL, k));
    sim_field_seal(&one, eph.pub, k, nonce, "first", 5);
    sim_field_seal(&two, eph.pub, k, nonce, "other", 5);
    bytes_fmt(&body,
              START
              "\"messages\":[{\"role\":\"user\",\"content\":\"%s\"},{\"role\":\"user\",\"content\":\"%s\"}]}",
              bytes_text(&one), bytes_text(&one));
    expect(0, RIGHT, bytes_text(&body), 200, "[DONE]", NULL);
    bytes_clear(&body);
    bytes_fmt(&body,
              START
              "\"messages\":[{\"role\":\"user\",\"content\":\"%s\"},{\"role\":\"user\",\"content\":\"%s\"}]}",
              bytes_text(&one), bytes_text(&two));
    expect(0, RIGHT, bytes_text(&body), 400, NULL, "nonce_reuse");
    bytes_free(&one);
    bytes_free(&two);
    bytes_free(&body);
}

static void get(const char *path, int status, const char *word, const char *rule)
{
    struct answer a;
    probe_send(&sim, "GET", path, NULL, NULL, &a);
    assert_int_equal(a.status, status);
    assert_true(!word || strstr(bytes_text(&a.body), word));
    assert_true(violation_is(rule));
    answer_free(&a);
}

static void test_attestation_rules(void **state)
{
#define ATT "/api/v1/tee/attestation?model="
#define N32 "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
    struct answer a;
    get(ATT "sim-near", 200, "\"nonce_source\":\"server\"", "attestation_without_nonce");
    get(ATT "sim-near&nonce=00112233445566778899aabbccddeeff", 502, "Nonce must be exactly 32 bytes",
        "attestation_nonce");
    get(ATT "unheard-of&nonce=" N32, 404, NULL, NULL);
    get(ATT "llama-3.3-70b&nonce=" N32, 400, "does not support", NULL);
    get(ATT "sim-no-key&nonce=" N32, 200, "\"verified\":true", NULL);
    probe_send(&sim, "GET", ATT "sim-near&nonce=" N32, NULL, NULL, &a);
    answer_free(&a);
    get(ATT "sim-near&nonce=" N32, 200, NULL, "attestation_nonce_reused");
    get("/api/v1/elsewhere", 404, NULL, "unknown_path");
    get("/api/v1/chat/completions", 405, NULL, "method");
    for (int i = 0; i < 40; i++) {
        probe_send(&sim, "GET", ATT "sim-no-key", NULL, NULL, &a);
        assert_int_equal(a.status, 200);
        answer_free(&a);
    }
    probe_send(&sim, "GET", ATT "sim-no-key", NULL, NULL, &a);
    assert_int_equal(a.status, 429);
    assert_non_null(strstr(bytes_text(&a.head), "Retry-After: 60"));
    answer_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_right_requests),       cmocka_unit_test(test_headers),
        cmocka_unit_test(test_point_off_the_curve),  cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_words_of_the_servers), cmocka_unit_test(test_nonce_reuse),
        cmocka_unit_test(test_attestation_rules),
    };
    return cmocka_run_group_tests_name("sim_strict", tests, setup, teardown);
}
