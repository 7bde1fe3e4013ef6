/* What a hostile upstream may not say: plaintext for ciphertext, words where names belong, broken fields and events. */
#include "answer_fixture.h"

#define FRAME "{\"choices\":[{\"delta\":{\"content\":\"%s\"}}]}"

static void refused(const char *pattern, enum err_kind kind)
{
    struct err err = {0};
    if (sealed_event(&parser, event, pattern, &err)) {
        fail_msg("accepted: %s", pattern);
    }
    if (err.kind != kind) {
        fail_msg("%s: %s %s", pattern, err_kind_name(err.kind), err.message);
    }
}

static void test_left_out(void **state)
{
    assert_string_equal(render("{\"venice_parameters\":{\"web\":\"text\"},\"choices\":[{\"delta\":{}}]}"),
                        "{\"choices\":[{\"delta\":{}}]}");
    assert_string_equal(render("{\"a\":1, \"choices\":[{}], \"b\":2 , \"id\":\"x\",\"c\":3,\"d\":4}"),
                        "{\"choices\":[{}], \"id\":\"x\"}");
    /* Other decoders match names without regard to case. */
    assert_string_equal(render("{\"Choices\":[{\"delta\":{\"content\":\"Hello\"}}],\"choices\":[{}]}"),
                        "{\"choices\":[{}]}");
    assert_string_equal(
        render("{\"id\":\"Hello, I am the model\",\"choices\":[{}],\"model\":\"a b\",\"object\":7}"),
        "{\"choices\":[{}]}");
    assert_string_equal(render("{\"id\":\"\\u0041\",\"choices\":[{}]}"), "{\"choices\":[{}]}");
    assert_string_equal(
        render("{\"choices\":[{}],\"created\":\"Hello\",\"usage\":{\"x\":\"Hello you\"},\"cost\":\"a b\"}"),
        "{\"choices\":[{}]}");
    assert_string_equal(
        render("{\"choices\":[{\"token_ids\":null,\"x\":5,\"delta\":{\"x\":null,\"y\":\"\"},\"z\":true}]}"),
        "{\"choices\":[{\"delta\":{}}]}");
    assert_string_equal(render("{\"choices\":[{\"x\":null}]}"), "{\"choices\":[{}]}");
    assert_string_equal(
        render(
            "{\"choices\":[{\"delta\":{\"x\":{},\"content\":\"<a>\",\"y\":[[]],\"role\":\"assistant\"}}]}"),
        "{\"choices\":[{\"delta\":{\"content\":\"a\",\"role\":\"assistant\"}}]}");
    assert_string_equal(
        render("{\"choices\":[{\"logprobs\":{\"content\":[],\"refusal\":null},\"index\":0}]}"),
        "{\"choices\":[{\"index\":0}]}");
    assert_string_equal(render("{\"choices\":[{\"delta\":{\"content\":[],\"tool_calls\":[{}]}}]}"),
                        "{\"choices\":[{\"delta\":{}}]}");
}

static void test_plaintext_refused(void **state)
{
    static const char *const deltas[] = {
        "{\"content\":\"Hello\"}",
        "{\"content\":\" \"}",
        "{\"content\":\"04\"}",
        "{\"reasoning_content\":\"Hello\"}",
        "{\"reasoning\":\"Hello\"}",
        "{\"c\\u006fntent\":\"Hello\"}",
        "{\"content\":7}",
        "{\"content\":true}",
        "{\"content\":[\"Hello\"]}",
        "{\"content\":{\"text\":\"Hello\"}}",
        "{\"content\":[{\"type\":\"text\",\"text\":\"Hello\"}]}",
        "{\"content\":\"<ok>\",\"tool_calls\":[{\"index\":0,\"function\":{\"name\":\"rm\"}}]}",
        "{\"function_call\":{\"name\":\"rm\"}}",
        "{\"refusal\":\"No\"}",
        "{\"annotations\":[{\"url\":\"x\"}]}",
        "{\"audio\":{\"data\":\"x\"}}",
        "{\"Content\":\"Hello\"}",
        "{\"text\":\"Hello\"}",
        "{\"thinking\":\"Hello\"}",
        "{\"reasoning_details\":[{\"text\":\"Hello\"}]}",
        "{\"role\":\"Hello\"}",
        "{\"role\":\"system\"}",
        "{\"role\":[\"assistant\"]}",
        "{\"x\":5}",
        "\"Hello\"",
        "[\"Hello\"]",
        "5",
    };
    char text[512];
    for (size_t i = 0; i < sizeof deltas / sizeof deltas[0]; i++) {
        snprintf(text, sizeof text, "{\"choices\":[{\"index\":0,\"delta\":%s}]}", deltas[i]);
        refused(text, ERR_PLAINTEXT);
        snprintf(text, sizeof text, "{\"choices\":[{\"delta\":{}},{\"message\":%s}]}", deltas[i]);
        refused(text, ERR_PLAINTEXT);
    }
    static const char *const choices[] = {
        "{\"text\":\"Hello\"}",
        "{\"Delta\":{\"content\":\"Hello\"}}",
        "{\"logprobs\":{\"content\":[{\"token\":\"Hello\"}]}}",
        "{\"finish_reason\":\"Hello you\"}",
        "{\"finish_reason\":\"abcdefghijklmnopqrstuvwxyz\"}",
        "{\"finish_reason\":5}",
        "{\"finish_reason\":{}}",
        "{\"stop_reason\":\"Hello you\"}",
        "{\"content_filter_results\":{\"x\":\"Hello\"}}",
        "\"Hello\"",
    };
    for (size_t i = 0; i < sizeof choices / sizeof choices[0]; i++) {
        snprintf(text, sizeof text, "{\"choices\":[%s]}", choices[i]);
        refused(text, ERR_PLAINTEXT);
    }
    refused("{\"choices\":\"Hello\"}", ERR_PLAINTEXT);
    refused("{\"choices\":{\"0\":{\"delta\":{\"content\":\"Hello\"}}}}", ERR_PLAINTEXT);
}

static void test_broken_events(void **state)
{
    static const char *const texts[] = {
        "Hello",
        "\"Hello\"",
        "[]",
        "[1]",
        "null",
        "{\"choices\":[{\"delta\":{}}]} x",
        "{\"choices\":[],\"choices\":[]}",
        "{\"choices\":[{\"delta\":{\"content\":null,\"cont\\u0065nt\":\"\"}}]}",
        "{\"id\":\"\xff\"}",
        "{\"choices\":[{\"index\":128}]}",
        "{\"choices\":[{\"index\":-1}]}",
        "{\"choices\":[{\"index\":\"0\"}]}",
        "{\"choices\":[{\"index\":1e0}]}"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        refused(texts[i], ERR_UPSTREAM);
        assert_int_equal(event->text.len, 0);
        assert_int_equal(event->field_count, 0);
    }
    struct buf many;
    buf_init(&many, 1 << 20);
    buf_append_str(&many, "{\"choices\":[{}");
    for (int i = 0; i < LIMIT_ANSWER_CHOICES; i++) {
        buf_append_str(&many, ",{}");
    }
    buf_append_str(&many, "]}");
    refused(buf_cstr(&many), ERR_UPSTREAM);
    buf_free(&many);
}

static void test_broken_fields(void **state)
{
    char text[1024];
    char hex[512];
    struct buf good;
    buf_init(&good, 4096);
    sealed_append(&good, "Hello", 5);
    const char *sealed = buf_cstr(&good);
    size_t len = good.len;
    /* Every cut: too short or odd is hex that begins like a point, or nothing of the kind. */
    for (size_t cut = 1; cut < len; cut++) {
        struct err err = {0};
        snprintf(hex, sizeof hex, "%.*s", (int)cut, sealed);
        snprintf(text, sizeof text, FRAME, hex);
        bool ok = sealed_event(&parser, event, text, &err);
        assert_false(ok);
        assert_true(err.kind == ERR_DECRYPT || (err.kind == ERR_PLAINTEXT && cut < POINT_HEX_CHARS));
    }
    /* One character wrong at each place. */
    for (size_t at = 0; at < len; at++) {
        struct err err = {0};
        snprintf(hex, sizeof hex, "%s", sealed);
        hex[at] = 'g';
        snprintf(text, sizeof text, FRAME, hex);
        refused(text, ERR_PLAINTEXT);
        hex[at] = sealed[at] == '1' ? '2' : '1';
        snprintf(text, sizeof text, FRAME, hex);
        assert_false(sealed_event(&parser, event, text, &err));
        assert_int_equal(err.kind, at < 2 ? ERR_PLAINTEXT : ERR_DECRYPT);
    }
    /* The same hex, one digit written as an escape; upper case is fine. */
    snprintf(text, sizeof text, "{\"choices\":[{\"delta\":{\"content\":\"\\u0030%s\"}}]}", sealed + 1);
    refused(text, ERR_PLAINTEXT);
    for (size_t i = 0; i <= len; i++) {
        hex[i] = (char)(sealed[i] >= 'a' && sealed[i] <= 'f' ? sealed[i] - 32 : sealed[i]);
    }
    snprintf(text, sizeof text, FRAME, hex);
    assert_string_equal(render(text), "{\"choices\":[{\"delta\":{\"content\":\"Hello\"}}]}");
    buf_free(&good);
    refused("{\"choices\":[{\"delta\":{\"content\":\"<\xc3>\"}}]}", ERR_DECRYPT);
    refused("{\"choices\":[{\"delta\":{\"content\":\"<\xed\xa0\x80>\"}}]}", ERR_DECRYPT);
}

static void test_errors(void **state)
{
    assert_int_equal(
        kind_of("{\"error\":{\"message\":\"busy\\nnow\",\"code\":\"model_overloaded\",\"retry_after\":1.2}}"),
        ANSWER_ERROR);
    assert_string_equal(event->error.message, "upstream: busy now");
    assert_string_equal(event->error.code, "model_overloaded");
    assert_int_equal(event->error.status, 429);
    assert_int_equal(event->error.retry_after_s, 2);
    /* Whatever else the event holds is not looked at and goes nowhere. */
    assert_int_equal(kind_of("{\"choices\":[{\"delta\":{\"content\":\"Hello\"}}],\"error\":\"x\"}"),
                     ANSWER_ERROR);
    assert_string_equal(event->error.message, "upstream: x");
    assert_int_equal(event->error.status, 502);
    assert_int_equal(kind_of("{\"object\":\"error\",\"message\":\"m\",\"code\":404}"), ANSWER_ERROR);
    assert_int_equal(event->error.status, 404);
    buf_reset(&out);
    assert_false(answer_render(event, &out, NULL));
    assert_int_equal(out.len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_left_out),      cmocka_unit_test(test_plaintext_refused),
        cmocka_unit_test(test_broken_events), cmocka_unit_test(test_broken_fields),
        cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests_name("answer_hostile", tests, set_up, tear_down);
}
