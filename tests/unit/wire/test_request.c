/* What leaves for the enclave, byte for byte: <x> stands for x sealed. */
#include "sealing.h"

#include "fault.h"

#define MSG "\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"
#define SENT "\"model\":\"up/1\",\"messages\":[{\"role\":\"user\",\"content\":<hi>}]"

/* Seals text and compares; also under a second key. dropped NULL: not looked at. */
static void expect(const char *text, const char *sent, const char *dropped)
{
    struct chat_request *r;
    struct err err = {0};
    char param[REQUEST_PARAM_BYTES];
    if (!sealing_parse(&r, text, param, &err)) {
        fail_msg("%s: %s", text, err.message);
    }
    assert_string_equal(param, "");
    if (dropped != NULL) {
        assert_string_equal(request_info(r)->dropped, dropped);
    }
    for (uint8_t round = 0; round < 2; round++) {
        struct sealing s;
        struct buf out, plain;
        sealing_open(&s, (uint8_t)(0x11 + round), 0x22);
        buf_init(&out, request_info(r)->sealed_max);
        buf_init(&plain, 1 << 20);
        assert_true(request_seal(r, "up/1", s.client, s.point, &out, &err));
        assert_true(out.len <= request_info(r)->sealed_max);
        sealing_read(&s, &out, &plain);
        assert_string_equal(buf_cstr(&plain), sent);
        buf_free(&out);
        buf_free(&plain);
        sealing_close(&s);
    }
    request_free(r);
}

static void test_plain(void **state)
{
    expect("{" MSG "}", "{" SENT TAIL, "");
}

static void test_numbers_order_and_space_survive(void **state)
{
    expect(" {\n \"seed\" : 9007199254740993 ,\t\"temperature\":1e400, \"top_p\":1.0,\"top_k\":-0,\r\n" MSG
           " , \"max_tokens\":1E+2 } ",
           "{\n \"seed\" : 9007199254740993 ,\t\"temperature\":1e400, \"top_p\":1.0,\"top_k\":-0,\r\n" SENT
           " , \"max_tokens\":1E+2 " TAIL,
           "");
}

static void test_dropped_between(void **state)
{
    expect("{\"user\":\"u\", \"seed\":1 ,\"metadata\":{\"a\":[1]} , \"n\" : "
           "2,\"zz\":1,\"yy\":null,\"ww\":false,\"vv\":\"\"," MSG ",\"xx\":{\"a\":0}}",
           "{ \"seed\":1 , \"n\" : 2," SENT TAIL, "user, metadata, 2 unknown");
    expect("{" MSG ",\"user\":\"u\"}", "{" SENT TAIL, "user");
    expect("{ \"\\u0075ser\":\"u\", \"se\\u0065d\":1," MSG "}", "{ \"se\\u0065d\":1," SENT TAIL, "user");
}

static void test_ours_in_place(void **state)
{
    expect(
        "{\"venice_parameters\" : {\"enable_e2ee\":true,\"xyz\":\"free\"}, \"stream\" :false,"
        "\"stream_options\":{\"include_usage\":false,\"include_obfuscation\":true}," MSG "}",
        "{\"venice_parameters\" : {\"enable_e2ee\":true,\"include_venice_system_prompt\":false,"
        "\"enable_web_search\":\"off\"}, \"stream\" :true,\"stream_options\":{\"include_usage\":true}," SENT
        "}",
        "stream_options.include_obfuscation, 1 unknown");
    expect("{\"stream\":null,\"stream_options\":null,\"venice_parameters\":{}," MSG "}", "{" SENT TAIL, "");
}

static void test_absent_values(void **state)
{
    expect("{\"tools\":[],\"tool_choice\":\"auto\",\"function_call\":\"none\",\"functions\":null,"
           "\"response_format\":{\"type\":\"text\"},\"logprobs\":false,\"top_logprobs\":0.0,\"audio\":null,"
           "\"modalities\":[\"\\u0074ext\"],\"prediction\":{},\"store\":false,\"user\":\"\",\"temperature\":"
           "null,"
           "\"service_tier\":\"auto\",\"parallel_tool_calls\":true,\"logit_bias\":{},\"reasoning\":{},"
           "\"web_search_options\":null,\"reasoning_effort\":null,\"stop\":null,\"n\":null," MSG "}",
           "{" SENT TAIL, "");
}

static void test_roles_and_contents(void **state)
{
    expect(
        "{\"messages\": [ {\"role\":\"system\",\"content\":\"\"} ,{\"role\" : \"developer\", \"content\" : "
        "\"d\"},"
        "{\"content\":null,\"role\":\"assistant\"},{\"role\":\"assistant\"},"
        "{\"role\":\"tool\",\"tool_call_id\":\"call_1.a:b-C\",\"content\":\"t\",\"name\":\"N\"},"
        "{\"role\":\"user\",\"tool_call_id\":\"free text\",\"content\":[]} ] ,\"model\":\"m\"}",
        "{\"messages\": [ {\"role\":\"system\",\"content\":<>} ,{\"role\" : \"system\", \"content\" : <d>},"
        "{\"content\":null,\"role\":\"assistant\"},{\"role\":\"assistant\"},"
        "{\"role\":\"tool\",\"tool_call_id\":\"call_1.a:b-C\",\"content\":<t>},"
        "{\"role\":\"user\",\"content\":<>} ] ,\"model\":\"up/1\"" TAIL,
        "messages.tool_call_id, messages.name");
}

static void test_reasoning_history(void **state)
{
    expect("{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"reasoning_content\":\"[1]\","
           "\"reasoning\":\"r\","
           "\"content\":\"c\",\"refusal\":null,\"annotations\":[]},{\"role\":\"assistant\",\"reasoning_"
           "content\":\"\","
           "\"refusal\":\"no\",\"content\":null,\"reasoning_details\":[{\"text\":\"x\"}]},"
           "{\"role\":\"assistant\",\"content\":\"c\",\"refusal\":\"no\"}]}",
           "{\"model\":\"up/"
           "1\",\"messages\":[{\"role\":\"assistant\",\"reasoning_content\":<[1]>,\"reasoning\":<r>,"
           "\"content\":<c>},{\"role\":\"assistant\",\"content\":<no>},"
           "{\"role\":\"assistant\",\"content\":<c>}]" TAIL,
           "messages.refusal, messages.reasoning_details");
    expect("{" MSG ",\"reasoning\":{ \"effort\":\"low\",\"secret\":\"x\",\"enabled\":false }}",
           "{" SENT ",\"reasoning\":{ \"effort\":\"low\",\"enabled\":false }" TAIL, "1 unknown");
}

static void test_escapes_are_opened(void **state)
{
    expect("{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"a\\n\\\"\\u20ac\\ud83d\\ude00\\/"
           "\"}]}",
           "{\"model\":\"up/"
           "1\",\"messages\":[{\"role\":\"user\",\"content\":<a\n\"\xe2\x82\xac\xf0\x9f\x98\x80/>}]" TAIL,
           "");
}

static void one_content(const char *content, const char *plain)
{
    char text[1024], sent[1024];
    snprintf(text, sizeof text, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":%s}]}",
             content);
    snprintf(sent, sizeof sent,
             "{\"model\":\"up/1\",\"messages\":[{\"role\":\"user\",\"content\":<%s>}]" TAIL, plain);
    expect(text, sent, "");
}

static void test_parts(void **state)
{
    one_content("[ {\"type\" : \"text\",\n\"text\":\"a  b\\\" \\\\\"} , {\"type\":\"text\",\"text\":\"\"} ]",
                "[{\"type\":\"text\",\"text\":\"a  b\\\" \\\\\"},{\"type\":\"text\",\"text\":\"\"}]");
    one_content("[{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/"
                "png;base64,AA==\",\"detail\":\"low\"}}]",
                "[{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/"
                "png;base64,AA==\",\"detail\":\"low\"}}]");
    one_content("[{\"type\":\"image_url\",\"image_url\":{\"url\":\"https:\\/\\/x/y\"}}]",
                "[{\"type\":\"image_url\",\"image_url\":{\"url\":\"https:\\/\\/x/y\"}}]");
    one_content("[{\"type\":\"refusal\",\"refusal\":\"no\"}]", "[{\"type\":\"refusal\",\"refusal\":\"no\"}]");
}

static void test_text_that_is_an_array(void **state)
{
    one_content("\"[1,2]\"", "[{\"type\":\"text\",\"text\":\"[1,2]\"}]");
    one_content("\" \\n[\\\"a\\\"]\\t\"", "[{\"type\":\"text\",\"text\":\" \\n[\\\"a\\\"]\\t\"}]");
    one_content("\"\\u005b]\"", "[{\"type\":\"text\",\"text\":\"\\u005b]\"}]");
    one_content("\"[NaN]\"", "[{\"type\":\"text\",\"text\":\"[NaN]\"}]");
    one_content("\"[1] and more\"", "[1] and more");
    one_content("\"[\"", "[");
    one_content("\"{}\"", "{}");
}

static void test_info(void **state)
{
    struct chat_request *r;
    struct err err;
    char param[REQUEST_PARAM_BYTES];
    assert_true(sealing_parse(&r,
                              "{" MSG ",\"stream\":true,\"n\":3,\"stream_options\":{\"include_usage\":true},"
                              "\"stop\":[\"a\\nb\",\"\",\"\\u20ac\",\"x\\u0000y\"]}",
                              param, &err));
    const struct request_info *i = request_info(r);
    assert_string_equal(i->model, "m");
    assert_true(i->stream && i->include_usage);
    assert_int_equal(i->choices, 3);
    assert_int_equal(i->stop_count, 3);
    assert_string_equal(i->stops[0], "a\nb");
    assert_string_equal(i->stops[1], "\xe2\x82\xac");
    assert_int_equal(i->stop_lens[2], 3);
    assert_memory_equal(i->stops[2], "x\0y", 4);
    request_free(r);
    assert_true(sealing_parse(&r, "{" MSG ",\"stop\":\"END\",\"stream_options\":{\"include_usage\":true}}",
                              param, &err));
    i = request_info(r);
    assert_false(i->stream || i->include_usage);
    assert_int_equal(i->choices, 1);
    assert_int_equal(i->stop_count, 1);
    assert_string_equal(i->stops[0], "END");
    request_free(r);
    request_free(NULL);
}

/* 10 MB of openings end at the depth limit; a text that long in one message is sealed. */
static void test_large(void **state)
{
    static const char before[] = "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"";
    static const char after[] = "\"}]}";
    size_t len = 10 << 20;
    struct buf body, out;
    struct chat_request *r;
    struct err err;
    struct sealing s;
    char param[REQUEST_PARAM_BYTES];
    buf_init(&body, 2 * len);
    assert_true(buf_reserve(&body, len));
    memset(body.data, '[', len);
    body.len = len;
    assert_false(request_parse(&r, &body, param, &err));
    assert_int_equal(err.kind, ERR_INVALID);
    assert_int_equal(body.len, 0);

    buf_append_str(&body, before);
    size_t head = body.len;
    assert_true(buf_reserve(&body, len));
    memset(body.data + head, 'x', len);
    body.len += len;
    buf_append_str(&body, after);
    assert_true(request_parse(&r, &body, param, &err));
    sealing_open(&s, 0x11, 0x22);
    buf_init(&out, 1 << 20);
    assert_false(request_seal(r, "up/1", s.client, s.point, &out, &err));
    assert_int_equal(err.kind, ERR_TOO_LARGE);
    assert_int_equal(out.len, 0);
    buf_free(&out);
    buf_init(&out, request_info(r)->sealed_max);
    assert_true(request_seal(r, "up/1", s.client, s.point, &out, &err));
    assert_true(out.len > 2 * len && out.len < 2 * len + 2000);
    buf_free(&out);
    buf_free(&body);
    request_free(r);
    sealing_close(&s);
}

static void test_allocation_faults(void **state)
{
    static const char text[] =
        "{" MSG ",\"user\":\"u\",\"stop\":[\"a\",\"b\"],\"service_tier\":\"auto\",\"messages2\":1}";
    struct sealing s;
    sealing_open(&s, 0x11, 0x22);
    size_t live = secret_live_count(), nth = 0;
    for (bool ok = false; !ok;) {
        struct chat_request *r = NULL;
        struct err err = {0};
        struct buf body, out;
        char param[REQUEST_PARAM_BYTES];
        buf_init(&body, 4096);
        buf_init(&out, 1 << 20);
        assert_true(buf_append_str(&body, text));
        fault_alloc_at(++nth);
        ok = request_parse(&r, &body, param, &err);
        assert_true(ok == (r != NULL));
        ok = ok && request_seal(r, "up/1", s.client, s.point, &out, &err);
        assert_true(ok != fault_alloc_hit());
        fault_alloc_at(0);
        if (!ok) {
            assert_int_equal(err.kind, ERR_MEMORY);
            assert_int_equal(out.len, 0);
        }
        assert_int_equal(body.len, 0);
        request_free(r);
        buf_free(&body);
        buf_free(&out);
    }
    assert_true(nth >= 6);
    assert_int_equal(secret_live_count(), live);
    sealing_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_numbers_order_and_space_survive),
        cmocka_unit_test(test_dropped_between),
        cmocka_unit_test(test_ours_in_place),
        cmocka_unit_test(test_absent_values),
        cmocka_unit_test(test_roles_and_contents),
        cmocka_unit_test(test_reasoning_history),
        cmocka_unit_test(test_escapes_are_opened),
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_text_that_is_an_array),
        cmocka_unit_test(test_info),
        cmocka_unit_test(test_large),
        cmocka_unit_test(test_allocation_faults),
    };
    struct err err;
    if (!secret_heap_init(&err)) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
