/* Server-sent events: the standard's own examples, every line end, and the same events at every cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/limits.h"
#include "base/mem.h"
#include "fault.h"
#include "wire/sse.h"

/* What the callback saw: each event in brackets. */
struct seen {
    struct buf text;
    const char *from, *to; /* when set, events must be views of these bytes */
    size_t views, events, fail_at;
};

static bool on_event(void *arg, const char *data, size_t len, struct err *err)
{
    struct seen *s = arg;
    assert_true(len > 0);
    s->events++;
    s->views += data >= s->from && data < s->to;
    if (s->events == s->fail_at) {
        return err_set(err, ERR_CANCELLED, "asked to");
    }
    return buf_append_byte(&s->text, '[') && buf_append(&s->text, data, len) &&
           buf_append_byte(&s->text, ']');
}

/* Feeds input in pieces of step bytes (0: cut once at cut), each from memory of exactly its size. */
static bool feed_pieces(struct sse *p, struct seen *s, const char *input, size_t len, size_t cut, size_t step,
                        struct err *err)
{
    size_t at = 0;
    while (at < len) {
        size_t n = step > 0 ? step : at < cut ? cut - at : len - at;
        n = n > len - at ? len - at : n;
        char *piece = malloc(n);
        assert_non_null(piece);
        memcpy(piece, input + at, n);
        bool ok = sse_feed(p, piece, n, on_event, s, err);
        free(piece);
        if (!ok) {
            return false;
        }
        at += n;
    }
    return true;
}

static void expect_events(const char *input, size_t len, const char *want)
{
    for (size_t cut = 0; cut <= len + 3; cut++) {
        struct sse p;
        struct seen s = {0};
        struct err err = {0};
        sse_init(&p);
        buf_init(&s.text, 1 << 20);
        /* Past the last cut: in pieces of 1, 2 and 3 bytes. */
        assert_true(feed_pieces(&p, &s, input, len, cut, cut > len ? cut - len : 0, &err));
        assert_string_equal(buf_cstr(&s.text), want);
        buf_free(&s.text);
        sse_free(&p);
    }
}

#define EVENTS(input, want) expect_events(input, sizeof(input) - 1, want)

static void test_standard(void **state)
{
    EVENTS("data: YHOO\ndata: +2\ndata: 10\n\n", "[YHOO\n+2\n10]");
    EVENTS(": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
           "[first event][second event][ third event]");
    /* By the standard the first and the last block fire with "" and "\n"; nobody here has a use for an empty one. */
    EVENTS("data\n\ndata\ndata\n\ndata:", "[\n]");
    EVENTS("data:test\n\ndata: test\n\n", "[test][test]");
}

static void test_line_ends(void **state)
{
    EVENTS("data: a\r\rdata: b\r\r", "[a][b]");
    EVENTS("data: a\r\n\r\ndata: b\r\n\r\n", "[a][b]");
    EVENTS("data: a\n\r\ndata: b\r\n\ndata: c\r\n\r", "[a][b][c]");
    EVENTS("data: a\r\ndata: b\n\r", "[a\nb]");
    EVENTS("\n\n\r\r\n\ndata: x\n\n\n\n\n", "[x]");
}

static void test_fields(void **state)
{
    EVENTS("event: message\ndata: a\nid: 7\nretry: 10\nunknown: z\n: comment\n\n", "[a]");
    EVENTS("dat: a\ndatas: b\ndata : c\n data: d\nDATA: e\n\n", "");
    EVENTS("data: {\"a\":1}\n\ndata: [DONE]\n\n", "[{\"a\":1}][[DONE]]");
    EVENTS("data:\xc3\xa4:x: y\n\n", "[\xc3\xa4:x: y]");
    EVENTS(":\n:\n\n:data: x\n\n", "");
    EVENTS("data: cut off\n", "");
    EVENTS("data: cut off", "");
}

static void test_bom(void **state)
{
    EVENTS("\xef\xbb\xbf"
           "data: a\n\n",
           "[a]");
    EVENTS("\xef\xbb\xbf\xef\xbb\xbf"
           "data: a\n\ndata: b\n\n",
           "[b]");
    EVENTS("\xef\xbb"
           "data: a\n\ndata: b\n\n",
           "[b]");
    EVENTS("\xef\n\ndata: b\n\n", "[b]");
    EVENTS("data: \xef\xbb\xbf\n\n", "[\xef\xbb\xbf]");
}

static void test_nul_bytes(void **state)
{
    struct sse p;
    struct seen s = {0};
    sse_init(&p);
    buf_init(&s.text, 100);
    assert_true(sse_feed(&p, "data: a\0b\n\n", 11, on_event, &s, NULL));
    assert_int_equal(s.text.len, 5);
    assert_memory_equal(s.text.data, "[a\0b]", 5);
    assert_true(sse_feed(&p, NULL, 0, on_event, &s, NULL));
    buf_free(&s.text);
    sse_free(&p);
}

static void test_views_not_copies(void **state)
{
    static const char input[] = "data: one\n\ndata: two\n\ndata: th";
    struct sse p;
    struct seen s = {.from = input, .to = input + sizeof input};
    sse_init(&p);
    buf_init(&s.text, 100);
    assert_true(sse_feed(&p, input, sizeof input - 1, on_event, &s, NULL));
    assert_int_equal(s.views, 2);
    assert_int_equal(p.data.cap, 0);
    assert_true(sse_unfinished(&p));
    assert_true(sse_feed(&p, "ree\n\n", 5, on_event, &s, NULL));
    assert_string_equal(buf_cstr(&s.text), "[one][two][three]");
    assert_int_equal(s.views, 2);
    assert_false(sse_unfinished(&p));
    buf_free(&s.text);
    sse_free(&p);
}

static void test_callback_stops(void **state)
{
    struct sse p;
    struct seen s = {.fail_at = 2};
    struct err err = {0};
    sse_init(&p);
    buf_init(&s.text, 100);
    assert_false(sse_feed(&p, "data: 1\n\ndata: 2\n\ndata: 3\n\n", 27, on_event, &s, &err));
    assert_int_equal(err.kind, ERR_CANCELLED);
    assert_int_equal(s.events, 2);
    buf_free(&s.text);
    sse_free(&p);
}

static bool feed_many(struct sse *p, struct seen *s, char fill, size_t total, struct err *err)
{
    char block[65536];
    memset(block, fill, sizeof block);
    for (size_t at = 0; at < total; at += sizeof block) {
        if (!sse_feed(p, block, sizeof block, on_event, s, err)) {
            return false;
        }
    }
    return true;
}

static void test_limits(void **state)
{
    struct sse p;
    struct seen s = {0};
    struct err err = {0};
    sse_init(&p);
    buf_init(&s.text, 16);
    /* One line past the limit. */
    assert_true(sse_feed(&p, "data: ", 6, on_event, &s, &err));
    assert_false(feed_many(&p, &s, 'x', LIMIT_SSE_EVENT_BYTES + 65536, &err));
    assert_int_equal(err.kind, ERR_UPSTREAM);
    sse_free(&p);
    /* Many lines past the limit. */
    sse_init(&p);
    err_clear(&err);
    char line[4096] = "data: ";
    memset(line + 6, 'y', sizeof line - 7);
    line[sizeof line - 1] = '\n';
    size_t lines = 0;
    while (sse_feed(&p, line, sizeof line, on_event, &s, &err)) {
        assert_true(++lines < LIMIT_SSE_EVENT_BYTES / 4000);
    }
    assert_int_equal(err.kind, ERR_UPSTREAM);
    sse_free(&p);
    /* A comment or an ignored field is not kept at all; one without an end would swallow what follows it. */
    for (int times = 1; times <= 2; times++) {
        sse_init(&p);
        err_clear(&err);
        assert_true(sse_feed(&p, ": ", 2, on_event, &s, &err));
        assert_true(feed_many(&p, &s, 'c', LIMIT_SSE_EVENT_BYTES - 65536, &err));
        assert_int_equal(p.line.cap, 0);
        if (times == 1) {
            assert_true(sse_feed(&p, "\ndata: z\n\n", 10, on_event, &s, &err));
            assert_string_equal(buf_cstr(&s.text), "[z]");
        } else {
            assert_false(feed_many(&p, &s, 'c', 2 * 65536, &err));
            assert_int_equal(err.kind, ERR_UPSTREAM);
        }
        sse_free(&p);
    }
    buf_free(&s.text);
}

static void test_large_event_gives_memory_back(void **state)
{
    struct sse p;
    struct seen s = {0};
    sse_init(&p);
    buf_init(&s.text, 1 << 21);
    assert_true(sse_feed(&p, "data: ", 6, on_event, &s, NULL));
    assert_true(feed_many(&p, &s, 'x', 1 << 20, NULL));
    assert_true(p.line.cap >= 1 << 20);
    assert_true(sse_feed(&p, "\n\n", 2, on_event, &s, NULL));
    assert_int_equal(s.text.len, (1 << 20) + 2);
    assert_int_equal(p.line.cap, 0);
    assert_int_equal(p.data.cap, 0);
    buf_free(&s.text);
    sse_free(&p);
}

static void test_carriage_returns_cost_linear_time(void **state)
{
    /* A quadratic parser would look at 2^43 bytes here. */
    size_t len = 1 << 22;
    char *input = malloc(len);
    struct sse p;
    struct seen s = {0};
    assert_non_null(input);
    memset(input, '\r', len);
    sse_init(&p);
    assert_true(sse_feed(&p, input, len, on_event, &s, NULL));
    sse_free(&p);
    free(input);
}

static void test_allocation_failure(void **state)
{
    size_t nth = 0;
    for (bool done = false; !done;) {
        struct sse p;
        struct seen s = {0};
        struct err err = {0};
        sse_init(&p);
        buf_init(&s.text, 100);
        assert_true(buf_reserve(&s.text, 100));
        fault_alloc_at(++nth);
        done = sse_feed(&p, "data: a\nda", 10, on_event, &s, &err) &&
               sse_feed(&p, "ta: b\n\n", 7, on_event, &s, &err);
        assert_true(done != fault_alloc_hit());
        fault_alloc_at(0);
        assert_true(done || err.kind == ERR_MEMORY);
        buf_free(&s.text);
        sse_free(&p);
    }
    assert_true(nth > 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_standard),
        cmocka_unit_test(test_line_ends),
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_bom),
        cmocka_unit_test(test_nul_bytes),
        cmocka_unit_test(test_views_not_copies),
        cmocka_unit_test(test_callback_stops),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_large_event_gives_memory_back),
        cmocka_unit_test(test_carriage_returns_cost_linear_time),
        cmocka_unit_test(test_allocation_failure),
    };
    return cmocka_run_group_tests_name("sse", tests, NULL, NULL);
}
