/* Whole answers: gathered into one completion, and stop sequences over their events in both forms. */
#include "answer_fixture.h"

#include "fault.h"
#include "wire/gather.h"
#include "wire/stop_filter.h"

#define HEAD "{\"id\":\"c-1\",\"object\":\"chat.completion.chunk\",\"created\":17,\"model\":\"m/1\","
#define ONE(rest) HEAD "\"choices\":[{\"index\":0," rest "}]}"
#define SYNTHETIC                                                                                            \
    "data: "                                                                                                 \
    "{\"id\":\"c-1\",\"created\":17,\"model\":\"m/"                                                          \
    "1\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":"

static struct stop_set *set_of(const char *stop)
{
    size_t len = strlen(stop);
    struct stop_set *set = stop_set_new(&stop, &len, 1, NULL);
    assert_non_null(set);
    return set;
}

/* Runs events (NULL-terminated) through stop (may be NULL) into out: as a stream or gathered. Returns how many choices
 * stopped. */
static size_t run(const char *const *events, const char *stop, bool stream)
{
    struct err err = {0};
    struct stop_set *set = stop != NULL ? set_of(stop) : NULL;
    struct stop_filter filter;
    struct gather *g = gather_new(&err);
    stop_filter_init(&filter, set);
    buf_reset(&out);
    assert_non_null(g);
    for (; *events != NULL; events++) {
        assert_true(sealed_event(&parser, event, *events, &err));
        if (set != NULL) {
            assert_true(stop_filter_apply(&filter, event, &err));
        }
        if (stream) {
            assert_true(answer_render(event, &out, &err));
        } else {
            assert_true(gather_add(g, event, &err));
        }
    }
    if (set != NULL) {
        assert_true(stop_filter_done(&filter, stream ? NULL : g, &out, &err));
    }
    if (!stream) {
        assert_true(gather_finish(g, &out, &err));
    }
    size_t stopped = filter.stopped;
    stop_filter_free(&filter);
    gather_free(g);
    stop_set_free(set);
    return stopped;
}
#define EVENTS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void test_gathered(void **state)
{
    run(EVENTS(ONE("\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null"),
               ONE("\"delta\":{\"reasoning_content\":\"<hm>\"}"), ONE("\"delta\":{\"content\":\"<Hel>\"}"),
               ONE("\"delta\":{\"content\":\"<lo \"\n>\"}"), ONE("\"delta\":{},\"finish_reason\":\"length\""),
               HEAD "\"system_fingerprint\":\"fp\",\"choices\":[],\"usage\":{\"total_tokens\": "
                    "9007199254740993},\"cost\":0.10}"),
        NULL, false);
    assert_string_equal(
        buf_cstr(&out),
        "{\"id\":\"c-1\",\"object\":\"chat.completion\",\"created\":17,\"model\":\"m/"
        "1\",\"system_fingerprint\":\"fp\","
        "\"usage\":{\"total_tokens\": 9007199254740993},\"cost\":0.10,\"choices\":[{\"index\":0,\"message\":{"
        "\"role\":\"assistant\",\"content\":\"Hello \\\"\\n\",\"reasoning_content\":\"hm\",\"refusal\":null},"
        "\"logprobs\":null,\"finish_reason\":\"length\"}]}");
}

static void test_gathered_choices(void **state)
{
    run(EVENTS(
            "{\"choices\":[{\"index\":2,\"delta\":{\"content\":\"<c>\"}},{\"index\":0,\"delta\":{"
            "\"reasoning\":\"<a>\"}}]}",
            "{\"choices\":[{\"index\":0,\"message\":{\"reasoning\":\"<b>\"},\"finish_reason\":\"stop\"}]}"),
        NULL, false);
    assert_string_equal(
        buf_cstr(&out),
        "{\"object\":\"chat.completion\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\","
        "\"content\":null,\"reasoning\":\"ab\",\"refusal\":null},\"logprobs\":null,\"finish_reason\":"
        "\"stop\"},"
        "{\"index\":2,\"message\":{\"role\":\"assistant\",\"content\":\"c\",\"refusal\":null},"
        "\"logprobs\":null,\"finish_reason\":null}]}");
}

/* DV seals even an empty reasoning_content: docs/PROTOCOL.md section 3. */
static void test_gathered_empty_texts(void **state)
{
    run(EVENTS(ONE("\"delta\":{\"reasoning_content\":\"<>\",\"content\":\"<>\"}")), NULL, false);
    assert_non_null(strstr(buf_cstr(&out), "\"content\":\"\",\"reasoning_content\":\"\","));
}

static void test_gathered_limits(void **state)
{
    struct err err = {0};
    struct gather *g = gather_new(&err);
    assert_non_null(g);
    assert_false(gather_finish(g, &out, &err));
    assert_int_equal(err.kind, ERR_UPSTREAM);
    size_t step = 1 << 20, total = 0;
    uint8_t *block = calloc(1, step);
    assert_non_null(block);
    for (; total < LIMIT_GATHERED_ANSWER_BYTES; total += step) {
        assert_true(gather_add_text(g, total % 2 ? 1 : 0, ANSWER_CONTENT, block, step, &err));
    }
    assert_false(gather_add_text(g, 1, ANSWER_REASONING, block, 1, &err));
    assert_int_equal(err.kind, ERR_UPSTREAM);
    assert_false(gather_add_text(g, LIMIT_ANSWER_CHOICES, ANSWER_CONTENT, block, 1, &err));
    /* NUL bytes grow sixfold: more than the caller has room for. */
    struct buf small;
    buf_init(&small, LIMIT_GATHERED_ANSWER_BYTES);
    assert_false(gather_finish(g, &small, &err));
    assert_int_equal(err.kind, ERR_MEMORY);
    buf_free(&small);
    free(block);
    gather_free(g);
    gather_free(NULL);
}

static void test_stop_in_a_stream(void **state)
{
    const char *const *events =
        EVENTS(ONE("\"delta\":{\"content\":\"<one E>\"},\"finish_reason\":null"),
               ONE("\"delta\":{\"reasoning\":\"<END>\",\"content\":\"<ND two>\"},\"finish_reason\":null"),
               ONE("\"delta\":{\"content\":\"<three>\"},\"finish_reason\":null"));
    assert_int_equal(run(events, "END", true), 1);
    assert_string_equal(
        buf_cstr(&out),
        "data: " ONE(
            "\"delta\":{\"content\":\"one \"},\"finish_reason\":null") "\n\n"
                                                                       "data: " ONE(
                                                                           "\"delta\":{\"reasoning\":\"END\","
                                                                           "\"content\":\"\"},\"finish_"
                                                                           "reason\":\"stop\"") "\n\n");
    assert_int_equal(run(events, "END", false), 1);
    assert_non_null(strstr(buf_cstr(&out), "\"content\":\"one \",\"reasoning\":\"END\""));
    assert_non_null(strstr(buf_cstr(&out), "\"finish_reason\":\"stop\""));
}

static void test_held_text_comes_at_the_end(void **state)
{
    /* With the finish, in its own content or before it; without one, at [DONE]. */
    const char *first = ONE("\"delta\":{\"content\":\"<one EN>\"}");
    assert_int_equal(run(EVENTS(first, ONE("\"delta\":{\"content\":\"<x E>\"},\"finish_reason\":\"length\"")),
                         "END", true),
                     0);
    assert_string_equal(
        buf_cstr(&out),
        "data: " ONE("\"delta\":{\"content\":\"one \"}") "\n\n"
                                                         "data: " ONE(
                                                             "\"delta\":{\"content\":\"ENx "
                                                             "E\"},\"finish_reason\":\"length\"") "\n\n");
    run(EVENTS(first, ONE("\"delta\":{},\"finish_reason\":\"length\"")), "END", true);
    assert_string_equal(
        buf_cstr(&out),
        "data: " ONE(
            "\"delta\":{\"content\":\"one \"}") "\n\n" SYNTHETIC "0,\"delta\":{\"content\":\"EN\"},\"finish_"
                                                "reason\":null}]}\n\n"
                                                "data: " ONE(
                                                    "\"delta\":{},\"finish_reason\":\"length\"") "\n\n");
    run(EVENTS(first, ONE("\"delta\":{},\"finish_reason\":\"length\"")), "END", false);
    assert_non_null(strstr(buf_cstr(&out), "\"content\":\"one EN\""));
    run(EVENTS(first), "END", true);
    assert_string_equal(buf_cstr(&out),
                        "data: " ONE("\"delta\":{\"content\":\"one \"}") "\n\n" SYNTHETIC
                                                                         "0,\"delta\":{\"content\":\"EN\"},"
                                                                         "\"finish_reason\":null}]}\n\n");
    run(EVENTS(first), "END", false);
    assert_non_null(strstr(buf_cstr(&out), "\"content\":\"one EN\""));
}

static void test_stop_of_one_choice(void **state)
{
    const char *const *events = EVENTS("{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"<aE>\"}},{"
                                       "\"index\":1,\"delta\":{\"content\":\"<b>\"}}]}",
                                       "{\"choices\":[{\"index\":1,\"delta\":{\"content\":\"<cE>\"}},{"
                                       "\"index\":0,\"delta\":{\"content\":\"<ND>\"}}]}",
                                       "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"<no>\"}},{"
                                       "\"index\":1,\"delta\":{},\"finish_reason\":\"stop\"}]}",
                                       "{\"choices\":[],\"usage\":{}}");
    assert_int_equal(run(events, "END", true), 1);
    assert_string_equal(
        buf_cstr(&out),
        "data: "
        "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}},{\"index\":1,\"delta\":{\"content\":\"b\"}"
        "}]}\n\n"
        "data: {\"choices\":[{\"index\":1,\"delta\":{\"content\":\"c\"}},"
        "{\"finish_reason\":\"stop\",\"index\":0,\"delta\":{\"content\":\"\"}}]}\n\n"
        "data: {\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":1,\"delta\":{\"content\":\"E\"},"
        "\"finish_reason\":null}]}\n\n"
        "data: {\"choices\":[{\"index\":1,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
        "data: {\"choices\":[],\"usage\":{}}\n\n");
    run(events, "END", false);
    assert_non_null(
        strstr(buf_cstr(&out), "\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"a\""));
    assert_non_null(
        strstr(buf_cstr(&out), "\"index\":1,\"message\":{\"role\":\"assistant\",\"content\":\"bcE\""));
}

static void test_allocation_failure(void **state)
{
    struct stop_set *set = set_of("END");
    size_t nth = 0;
    for (bool done = false; !done;) {
        struct err err = {0};
        struct stop_filter filter;
        stop_filter_init(&filter, set);
        assert_true(sealed_event(&parser, event,
                                 ONE("\"delta\":{\"content\":\"<one>\"},\"finish_reason\":\"stop\""), &err));
        fault_alloc_at(++nth);
        struct gather *g = gather_new(&err);
        struct buf json;
        buf_init(&json, 4096);
        done = g != NULL && stop_filter_apply(&filter, event, &err) && gather_add(g, event, &err) &&
               gather_finish(g, &json, &err);
        assert_true(done != fault_alloc_hit());
        fault_alloc_at(0);
        assert_true(done || err.kind == ERR_MEMORY);
        assert_true(done || json.len == 0);
        buf_free(&json);
        gather_free(g);
        stop_filter_free(&filter);
    }
    assert_true(nth > 6);
    stop_set_free(set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gathered),
        cmocka_unit_test(test_gathered_choices),
        cmocka_unit_test(test_gathered_empty_texts),
        cmocka_unit_test(test_gathered_limits),
        cmocka_unit_test(test_stop_in_a_stream),
        cmocka_unit_test(test_held_text_comes_at_the_end),
        cmocka_unit_test(test_stop_of_one_choice),
        cmocka_unit_test(test_allocation_failure),
    };
    return cmocka_run_group_tests_name("gather", tests, set_up, tear_down);
}
