/* Events of an answer: what passes byte for byte, opened in place, edited by the caller. */
#include "answer_fixture.h"

#include <time.h>

#include "fault.h"

static void same(const char *text)
{
    assert_string_equal(render(text), text);
}

#define HEAD                                                                                                 \
    "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1760000000,\"model\":\"Qwen/"   \
    "Q3.5-A10B\","
#define CHUNK(delta) HEAD "\"choices\":[{\"index\":0,\"delta\":" delta ",\"finish_reason\":null}]}"

static void test_opened_in_place(void **state)
{
    assert_string_equal(render(CHUNK("{\"content\":\"<Hello>\"}")), CHUNK("{\"content\":\"Hello\"}"));
    assert_string_equal(render(CHUNK("{\"role\":\"assistant\",\"content\":\"<>\"}")),
                        CHUNK("{\"role\":\"assistant\",\"content\":\"\"}"));
    assert_string_equal(
        render(CHUNK("{\"reasoning_content\":\"<a>\",\"content\":\"<b>\",\"reasoning\":\"<c>\"}")),
        CHUNK("{\"reasoning_content\":\"a\",\"content\":\"b\",\"reasoning\":\"c\"}"));
    assert_string_equal(render(CHUNK("{\"content\":\"<q\"\\\n\t\x01\xc3\xa4\xf0\x9f\x98\x80/>\"}")),
                        CHUNK("{\"content\":\"q\\\"\\\\\\n\\t\\u0001\xc3\xa4\xf0\x9f\x98\x80/\"}"));
    /* The member's name written with escapes is the member. */
    assert_string_equal(render(CHUNK("{\"c\\u006fntent\":\"<x>\"}")), CHUNK("{\"c\\u006fntent\":\"x\"}"));
    assert_int_equal(event->field_count, 1);
    assert_int_equal(event->fields[0].member, ANSWER_CONTENT);
}

static void test_fields_in_order(void **state)
{
    struct err err = {0};
    assert_true(sealed_event(&parser, event,
                             HEAD "\"choices\":[{\"index\":3,\"delta\":{\"content\":\"<x>\"}},"
                                  "{\"index\":1,\"message\":{\"reasoning\":\"<yy>\",\"content\":\"<z>\"}}]}",
                             &err));
    assert_int_equal(event->field_count, 3);
    assert_int_equal(event->choice_count, 2);
    assert_int_equal(event->choices[0].index, 3);
    assert_int_equal(event->choices[1].index, 1);
    assert_int_equal(event->fields[1].member, ANSWER_REASONING);
    assert_int_equal(event->fields[1].choice, 1);
    assert_int_equal(event->fields[1].text_len, 2);
    assert_memory_equal(event->fields[1].text, "yy", 2);
    for (size_t i = 0; i < 3; i++) {
        assert_memory_equal(event->fields[i].point, sealed_point, POINT_BYTES);
        assert_memory_equal(event->fields[i].sealed + event->fields[i].text_len + AEAD_TAG_BYTES, "\0", 0);
    }
    assert_true(memcmp(event->fields[0].nonce, event->fields[1].nonce, AEAD_NONCE_BYTES) != 0);
}

static void test_pass_byte_for_byte(void **state)
{
    same(CHUNK("{\"role\":\"assistant\",\"content\":\"\"}"));
    same(CHUNK("{\"role\":null,\"content\":null,\"tool_calls\":[],\"refusal\":null,\"function_call\":null}"));
    same(CHUNK("{}"));
    same(CHUNK("null"));
    same("{ \"id\" : \"x\" ,\t\"choices\" : [ { \"index\" : 0 , \"delta\" : { } , \"finish_reason\" : "
         "\"stop\" } ] }");
    same(HEAD
         "\"system_fingerprint\":\"fp_1\",\"service_tier\":null,\"choices\":[{\"index\":0,\"delta\":{},"
         "\"logprobs\":null,\"finish_reason\":\"tool_calls\",\"stop_reason\":151645,\"matched_stop\":null}],"
         "\"usage\":null}");
    same("{\"choices\":[{}]}");
    same("{\"choices\":[{\"delta\":{}},{\"delta\":{}}],\"created\":1e9}");
}

static void test_usage(void **state)
{
    const char *usage =
        HEAD "\"choices\":[],\"usage\":{\"prompt_tokens\":9007199254740993,\"cost\":1.50,"
             "\"details\":{\"cached\":0,\"a\":[1,null,true]}},\"cost\":{\"usd\":0.000012,\"unit\":\"USD\"}}";
    assert_int_equal(kind_of(usage), ANSWER_USAGE);
    same(usage);
    assert_int_equal(kind_of("{\"usage\":{\"total_tokens\":1}}"), ANSWER_USAGE);
    assert_string_equal(render("{\"usage\":{\"total_tokens\":1}}"),
                        "{\"choices\":[],\"usage\":{\"total_tokens\":1}}");
    assert_int_equal(kind_of("{\"choices\":[],\"usage\":null}"), ANSWER_NOTHING);
    assert_int_equal(kind_of("{\"choices\":[],\"usage\":{\"say\":\"Hello you\"}}"), ANSWER_NOTHING);
    assert_int_equal(kind_of("{\"choices\":[],\"usage\":{\"a b\":1}}"), ANSWER_NOTHING);
    assert_int_equal(kind_of("{\"choices\":[],\"usage\":{\"a\":{\"a\":{\"a\":{\"a\":{}}}}}}"),
                     ANSWER_NOTHING);
    assert_int_equal(kind_of("{\"choices\":[],\"usage\":\"Hello\"}"), ANSWER_NOTHING);
}

static void test_other_kinds(void **state)
{
    assert_int_equal(kind_of("[DONE]"), ANSWER_DONE);
    assert_int_equal(kind_of(" [DONE] \n"), ANSWER_DONE);
    assert_int_equal(kind_of(""), ANSWER_NOTHING);
    assert_int_equal(kind_of(" \n"), ANSWER_NOTHING);
    assert_int_equal(kind_of("{}"), ANSWER_NOTHING);
    assert_int_equal(kind_of("{\"type\":\"ping\",\"message\":\"Hello\"}"), ANSWER_NOTHING);
    assert_int_equal(kind_of("{\"choices\":null,\"error\":null}"), ANSWER_NOTHING);
    assert_int_equal(kind_of(CHUNK("{}")), ANSWER_CHUNK);
    assert_false(answer_render(event, &out, NULL) && kind_of("[DONE]") == ANSWER_DONE &&
                 answer_render(event, &out, NULL));
}

static void test_line_ends_become_spaces(void **state)
{
    assert_string_equal(render("{\n\"choices\":\r\n[{}]\n,\"x\":1}"), "{ \"choices\":  [{}]}");
    assert_string_equal(render("{\"choices\":[{\"delta\":\n{\"content\":\"<a\nb>\"}}]}"),
                        "{\"choices\":[{\"delta\": {\"content\":\"a\\nb\"}}]}");
}

static void test_edited_by_caller(void **state)
{
    const char *two =
        HEAD "\"choices\":[{\"index\":0,\"delta\":{\"content\":\"<a>\"},\"finish_reason\":null} , "
             "{\"index\":1,\"delta\":{\"content\":\"<b>\"}}]}";
    struct err err = {0};
    assert_true(sealed_event(&parser, event, two, &err));
    event->choices[0].new_finish = event->choices[1].new_finish = "stop";
    event->fields[0].text = (const uint8_t *)"xyz";
    event->fields[0].text_len = 2;
    buf_reset(&out);
    assert_true(answer_render(event, &out, &err));
    assert_string_equal(
        buf_cstr(&out),
        "data: " HEAD
        "\"choices\":[{\"index\":0,\"delta\":{\"content\":\"xy\"},\"finish_reason\":\"stop\"} , "
        "{\"finish_reason\":\"stop\",\"index\":1,\"delta\":{\"content\":\"b\"}}]}\n\n");
    event->choices[0].dropped = true;
    event->choices[1].new_finish = NULL;
    buf_reset(&out);
    assert_true(answer_render(event, &out, &err));
    assert_string_equal(buf_cstr(&out),
                        "data: " HEAD "\"choices\":[{\"index\":1,\"delta\":{\"content\":\"b\"}}]}\n\n");
    event->choices[1].dropped = true;
    event->choices[1].tail = (const uint8_t *)"t\"";
    event->choices[1].tail_len = 2;
    buf_reset(&out);
    assert_true(answer_render(event, &out, &err));
    assert_string_equal(
        buf_cstr(&out),
        "data: {\"id\":\"chatcmpl-1\",\"created\":1760000000,\"model\":\"Qwen/Q3.5-A10B\","
        "\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":1,\"delta\":{\"content\":\"t\\\"\"},"
        "\"finish_reason\":null}]}\n\n");
    assert_true(sealed_event(&parser, event, "{\"choices\":[{\"x\":null}]}", &err));
    event->choices[0].new_finish = "stop";
    buf_reset(&out);
    assert_true(answer_render(event, &out, &err));
    assert_string_equal(buf_cstr(&out), "data: {\"choices\":[{\"finish_reason\":\"stop\"}]}\n\n");
}

static void test_not_opened_is_not_rendered(void **state)
{
    struct err err = {0};
    struct buf json;
    buf_init(&json, 4096);
    sealed_json(&json, CHUNK("{\"content\":\"<Hello>\"}"));
    assert_true(answer_parse(&parser, event, (const char *)json.data, json.len, &err));
    buf_reset(&out);
    assert_false(answer_render(event, &out, &err));
    assert_int_equal(err.kind, ERR_INTERNAL);
    assert_int_equal(out.len, 0);
    buf_free(&json);
}

static void test_large_and_full(void **state)
{
    struct err err = {0};
    struct buf pattern, small;
    buf_init(&pattern, 4 << 20);
    buf_append_str(&pattern, "{\"choices\":[{\"delta\":{\"content\":\"<");
    for (size_t i = 0; i < 1 << 20; i++) {
        buf_append_byte(&pattern, 'a');
    }
    buf_append_str(&pattern, ">\"}}]}");
    assert_int_equal(strlen(render(buf_cstr(&pattern))),
                     (1 << 20) + sizeof "{\"choices\":[{\"delta\":{\"content\":\"\"}}]}" - 1);
    buf_init(&small, 1 << 19);
    assert_false(answer_render(event, &small, &err));
    assert_int_equal(err.kind, ERR_MEMORY);
    answer_event_reset(event);
    assert_int_equal(event->text.cap, 0);
    buf_free(&small);
    buf_free(&pattern);
    char *huge = malloc(LIMIT_SSE_EVENT_BYTES + 1);
    assert_non_null(huge);
    memset(huge, 'x', LIMIT_SSE_EVENT_BYTES + 1);
    assert_false(answer_parse(&parser, event, huge, LIMIT_SSE_EVENT_BYTES + 1, &err));
    assert_int_equal(err.kind, ERR_UPSTREAM);
    free(huge);
}

static void test_allocation_failure(void **state)
{
    struct buf json;
    size_t nth = 0, secrets = secret_live_count();
    buf_init(&json, 65536);
    sealed_json(&json, "{\"x\":1,\"choices\":[{\"delta\":{\"content\":\"<a>\"}},{},{},{},{},{\"y\":null}]}");
    for (bool done = false; !done;) {
        struct answer_parser fresh;
        struct err err = {0};
        struct answer_event *e = NULL;
        answer_parser_init(&fresh);
        fault_alloc_at(++nth);
        done = (e = answer_event_new(&err)) != NULL &&
               answer_parse(&fresh, e, (const char *)json.data, json.len, &err);
        assert_true(done != fault_alloc_hit());
        fault_alloc_at(0);
        assert_true(done || err.kind == ERR_MEMORY);
        assert_true(done || e == NULL || (e->text.len == 0 && e->field_count == 0 && e->choice_count == 0));
        answer_event_free(e);
        answer_parser_free(&fresh);
    }
    assert_true(nth > 5);
    assert_int_equal(secret_live_count(), secrets);
    buf_free(&json);
}

static void test_time_per_chunk(void **state)
{
    struct buf json;
    struct timespec a, b;
    enum { ROUNDS = 20000 };
    buf_init(&json, 65536);
    sealed_json(&json,
                CHUNK("{\"content\":\"<A few words of an answer, as a server packs them into one streamed "
                      "chunk of about seven hundred bytes.>\"}"));
    clock_gettime(CLOCK_MONOTONIC, &a);
    for (int i = 0; i < ROUNDS; i++) {
        assert_true(answer_parse(&parser, event, (const char *)json.data, json.len, NULL));
        assert_true(answer_open(event, 0, sealed_aead, NULL));
        buf_reset(&out);
        assert_true(answer_render(event, &out, NULL));
    }
    clock_gettime(CLOCK_MONOTONIC, &b);
    double us = ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec)) / 1e3 / ROUNDS;
    print_message("%zu bytes: %.2f us for parse, open and render\n", json.len, us);
    buf_free(&json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_opened_in_place),    cmocka_unit_test(test_fields_in_order),
        cmocka_unit_test(test_pass_byte_for_byte), cmocka_unit_test(test_usage),
        cmocka_unit_test(test_other_kinds),        cmocka_unit_test(test_line_ends_become_spaces),
        cmocka_unit_test(test_edited_by_caller),   cmocka_unit_test(test_not_opened_is_not_rendered),
        cmocka_unit_test(test_large_and_full),     cmocka_unit_test(test_allocation_failure),
        cmocka_unit_test(test_time_per_chunk),
    };
    return cmocka_run_group_tests_name("answer", tests, set_up, tear_down);
}
