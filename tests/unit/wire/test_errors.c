/* The upstream's errors made safe, and OpenAI's form of all of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "wire/openai_error.h"
#include "wire/upstream_error.h"

static struct upstream_error read_body(const char *body, uint16_t status)
{
    struct upstream_error error;
    struct json_doc doc;
    json_doc_init(&doc);
    upstream_error_body(&error, &doc, body, strlen(body), status);
    json_doc_free(&doc);
    assert_true(json_utf8_valid(error.message, strlen(error.message)));
    assert_int_equal(strncmp(error.message, "upstream: ", 10), 0);
    return error;
}

static void test_shapes(void **state)
{
    struct upstream_error e =
        read_body("{\"error\":{\"message\":\"no credit\",\"type\":\"billing\",\"code\":\"c-1\"}}", 402);
    assert_string_equal(e.message, "upstream: no credit");
    assert_string_equal(e.type, "billing");
    assert_string_equal(e.code, "c-1");
    assert_int_equal(e.status, 402);
    assert_false(e.key_changed);
    e = read_body("{\"error\":\"words\",\"details\":{}}", 400);
    assert_string_equal(e.message, "upstream: words");
    assert_string_equal(e.type, "upstream_error");
    assert_string_equal(e.code, "");
    assert_string_equal(read_body("{\"detail\":\"words\"}", 400).message, "upstream: words");
    assert_string_equal(read_body("{\"object\":\"error\",\"message\":\"words\"}", 400).message,
                        "upstream: words");
    assert_string_equal(read_body("\"words\"", 500).message, "upstream: words");
    assert_string_equal(read_body("<html>Bad gateway</html>", 502).message, "upstream: HTTP status 502");
    assert_string_equal(read_body("", 503).message, "upstream: HTTP status 503");
    assert_string_equal(read_body("{\"detail\":[{\"msg\":\"x\"}]}", 422).message,
                        "upstream: HTTP status 422");
    assert_string_equal(read_body("[1]", 0).message, "upstream: an error without a message");
    assert_int_equal(read_body("{}", 200).status, 502);
    assert_int_equal(read_body("{}", 302).status, 502);
}

static void test_key_changed(void **state)
{
    assert_true(read_body("{}", 421).key_changed);
    assert_true(read_body("{\"error\":{\"type\":\"e2ee_model_key_mismatch\"}}", 400).key_changed);
    assert_true(
        read_body("{\"error\":{\"code\":\"e2ee_decryption_failed\",\"message\":\"x\"}}", 400).key_changed);
    assert_true(read_body("{\"error\":{\"message\":\"Decryption failed\",\"type\":\"bad_request\"}}", 400)
                    .key_changed);
    assert_true(read_body("{\"detail\":\"Failed to decrypt field\"}", 400).key_changed);
    assert_true(
        read_body("{\"error\":{\"message\":\"The encryption key is no longer valid. Please refresh\"}}", 400)
            .key_changed);
    assert_false(
        read_body("{\"error\":{\"message\":\"Encrypted field is not valid hex\"}}", 400).key_changed);
    assert_false(
        read_body("{\"error\":{\"message\":\"bad\",\"type\":\"e2ee_invalid_nonce\"}}", 400).key_changed);
}

static void test_words_made_safe(void **state)
{
    assert_string_equal(read_body("{\"error\":\"a\\u0000b\\r\\nc\\u001b[31md\\u007f\\u0085e\"}", 400).message,
                        "upstream: a b  c [31md  e");
    assert_string_equal(read_body("{\"error\":\"a\\u202eb\\u2066c\\u200bd\\ufeffe\\u2028f\"}", 400).message,
                        "upstream: a b c d e f");
    assert_string_equal(read_body("{\"error\":\"\xc3\xa4 \\ud83d\\ude00\"}", 400).message,
                        "upstream: \xc3\xa4 \xf0\x9f\x98\x80");
    /* Cut at 500 bytes, between characters. */
    struct buf body;
    buf_init(&body, 4096);
    buf_append_str(&body, "{\"error\":\"x");
    for (int i = 0; i < 600; i++) {
        buf_append_str(&body, "\xc3\xa4");
    }
    buf_append_str(&body, "\"}");
    assert_int_equal(strlen(read_body(buf_cstr(&body), 400).message), 10 + 499);
    buf_free(&body);
}

static void test_tokens(void **state)
{
    assert_string_equal(read_body("{\"error\":{\"code\":\"Hello you\",\"type\":\"<b>\"}}", 400).code, "");
    assert_string_equal(read_body("{\"error\":{\"code\":\"Hello you\",\"type\":\"<b>\"}}", 400).type,
                        "upstream_error");
    /* What only we may say. */
    assert_string_equal(read_body("{\"error\":{\"code\":\"attestation_failed\"}}", 400).code, "");
    assert_string_equal(read_body("{\"error\":{\"code\":\"model_not_found\"}}", 404).code, "model_not_found");
    char body[256];
    snprintf(body, sizeof body, "{\"error\":{\"code\":\"%0100d\"}}", 7);
    assert_string_equal(read_body(body, 400).code, "");
}

static void test_in_band(void **state)
{
    assert_int_equal(read_body("{\"error\":{\"code\":\"model_overloaded\"}}", 0).status, 429);
    assert_int_equal(read_body("{\"error\":{\"code\":\"upstream_error\"}}", 0).status, 502);
    assert_int_equal(read_body("{\"error\":{\"code\":\"content_blocked_by_provider\"}}", 0).status, 502);
    assert_int_equal(read_body("{\"error\":{\"code\":403}}", 0).status, 403);
    assert_int_equal(read_body("{\"error\":{\"code\":200}}", 0).status, 502);
    assert_int_equal(read_body("{\"error\":{\"retry_after\":0.2}}", 0).retry_after_s, 1);
    assert_int_equal(read_body("{\"error\":{\"x\":1},\"retry_after\":7}", 0).retry_after_s, 7);
    assert_int_equal(read_body("{\"error\":{\"retry_after\":1e300}}", 0).retry_after_s, 86400);
    assert_int_equal(read_body("{\"error\":{\"retry_after\":-5}}", 0).retry_after_s, 0);
    assert_int_equal(read_body("{\"error\":{\"retry_after\":\"5\"}}", 0).retry_after_s, 0);
}

/* What an err carries for HTTP wins over its row; a status counts for the upstream's errors only. */
static void test_status_and_seconds(void **state)
{
    struct err err;
    err_set(&err, ERR_BUSY, "x");
    assert_int_equal(openai_error_of(&err).retry_after_s, 1);
    err_retry_after(&err, 42);
    err_context(&err, "y");
    assert_int_equal(openai_error_of(&err).retry_after_s, 42);
    err_retry_after(&err, INT64_MAX);
    assert_int_equal(openai_error_of(&err).retry_after_s, 65535);
    err_retry_after(&err, -1);
    assert_int_equal(openai_error_of(&err).retry_after_s, 1);
    err.upstream_status = 401;
    assert_int_equal(openai_error_of(&err).status, 503);
    err_set(&err, ERR_UPSTREAM, "x");
    assert_int_equal(openai_error_of(&err).status, 502);
    err.upstream_status = 401;
    assert_int_equal(openai_error_of(&err).status, 401);
    assert_string_equal(openai_error_of(&err).code, "invalid_api_key");
    err.upstream_status = 429;
    assert_int_equal(openai_error_of(&err).status, 429);
    assert_string_equal(openai_error_of(&err).code, "upstream_error");
}

static void assert_row(enum err_kind kind, uint16_t status, const char *code, bool no_retry)
{
    struct openai_error error = openai_error_of_kind(kind);
    assert_int_equal(error.status, status);
    assert_int_equal(error.no_retry, no_retry);
    if (code == NULL) {
        assert_null(error.code);
    } else {
        assert_string_equal(error.code, code);
    }
}

static void test_table(void **state)
{
    assert_row(ERR_INVALID, 400, NULL, false);
    assert_row(ERR_UNSUPPORTED, 400, "unsupported_feature", false);
    assert_row(ERR_TOO_LARGE, 413, "request_too_large", false);
    assert_row(ERR_NOT_FOUND, 404, "model_not_found", false);
    assert_row(ERR_AUTH, 401, "invalid_api_key", false);
    assert_row(ERR_FORBIDDEN, 403, "forbidden_origin", false);
    assert_row(ERR_TOKEN, 503, "token_unavailable", false);
    assert_row(ERR_ATTESTATION, 502, "attestation_failed", true);
    assert_row(ERR_PLAINTEXT, 502, "plaintext_from_upstream", true);
    assert_row(ERR_DECRYPT, 502, "decryption_failed", true);
    assert_row(ERR_TIMEOUT, 504, "upstream_timeout", false);
    assert_row(ERR_UNREACHABLE, 502, "upstream_unreachable", false);
    for (int kind = -1; kind <= ERR_KIND_COUNT; kind++) {
        struct openai_error error = openai_error_of_kind((enum err_kind)kind);
        assert_in_range(error.status, 400, 599);
        assert_non_null(error.type);
        assert_true(error.status != 503 || error.retry_after_s > 0);
    }
    struct upstream_error upstream = read_body("{\"error\":\"x\"}", 503);
    assert_int_equal(openai_error_of_upstream(&upstream).retry_after_s, 1);
    assert_string_equal(openai_error_of_upstream(&upstream).code, "upstream_error");
}

static void test_json(void **state)
{
    struct buf out;
    struct err err = {0};
    buf_init(&out, 4096);
    err_set(&err, ERR_UNSUPPORTED, "say \"no\"\n\\ \xc3\xa4");
    struct openai_error error = openai_error_of(&err);
    error.param = "messages[0].tool_calls";
    assert_true(openai_error_json(&out, &error));
    assert_string_equal(
        buf_cstr(&out),
        "{\"error\":{\"message\":\"say \\\"no\\\"\\n\\\\ \xc3\xa4\",\"type\":\"invalid_request_error\","
        "\"param\":\"messages[0].tool_calls\",\"code\":\"unsupported_feature\"}}");
    buf_reset(&out);
    error = openai_error_of_kind(ERR_INVALID);
    error.message = "a\xff\xc3\xa4\xc3";
    assert_true(openai_error_event(&out, &error));
    assert_string_equal(buf_cstr(&out),
                        "data: {\"error\":{\"message\":\"a\xef\xbf\xbd\xc3\xa4\xef\xbf\xbd\","
                        "\"type\":\"invalid_request_error\",\"param\":null,\"code\":null}}\n\n");
    buf_free(&out);
    buf_init(&out, 20);
    assert_false(openai_error_json(&out, &error));
    assert_int_equal(out.len, 0);
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_status_and_seconds),
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_key_changed),
        cmocka_unit_test(test_words_made_safe),
        cmocka_unit_test(test_tokens),
        cmocka_unit_test(test_in_band),
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_json),
    };
    return cmocka_run_group_tests_name("errors", tests, NULL, NULL);
}
