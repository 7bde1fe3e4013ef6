/* Stop sequences: every cut gives the same text, and as much of it as early as a look ahead would. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "fault.h"
#include "wire/stop.h"
#include "json/json.h"

static struct stop_set *set_of(const char *const *texts)
{
    size_t lens[LIMIT_STOP_SEQUENCES], n = 0;
    for (; texts[n] != NULL; n++) {
        lens[n] = strlen(texts[n]);
    }
    struct stop_set *set = stop_set_new(texts, lens, n, NULL);
    assert_non_null(set);
    return set;
}

static void expect(const char *const *stops, const char *text, const char *want, bool stopped)
{
    struct stop_set *set = set_of(stops);
    size_t len = strlen(text);
    for (size_t cut = 0; cut <= len + 1; cut++) {
        struct stop_state state = {0};
        struct buf out;
        buf_init(&out, 4096);
        if (cut <= len) {
            assert_true(stop_feed(set, &state, (const uint8_t *)text, cut, &out));
            assert_true(stop_feed(set, &state, (const uint8_t *)text + cut, len - cut, &out));
        } else {
            for (size_t i = 0; i < len; i++) {
                assert_true(stop_feed(set, &state, (const uint8_t *)text + i, 1, &out));
            }
        }
        assert_int_equal(state.stopped, stopped);
        assert_true(stop_flush(set, &state, &out));
        assert_int_equal(state.stopped, stopped);
        assert_string_equal(buf_cstr(&out), want);
        buf_free(&out);
    }
    stop_set_free(set);
}
#define STOPS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void test_matches(void **state)
{
    expect(STOPS("END"), "one END two", "one ", true);
    expect(STOPS("END"), "one EN", "one EN", false);
    expect(STOPS("END"), "END", "", true);
    expect(STOPS("END"), "", "", false);
    expect(STOPS("END"), "ENEND!", "EN", true);
    expect(STOPS("aab"), "aaaaab", "aaa", true);
    expect(STOPS("abab"), "abaabab", "aba", true);
    expect(STOPS("\n\n"), "a\nb\n\nc", "a\nb", true);
    expect(STOPS("a"), "bcda", "bcd", true);
    expect(STOPS("abcd", "bc"), "xabcd", "xa", true);
    expect(STOPS("abcd", "bc"), "xabd", "xabd", false);
    /* Both end at the same byte: the longer begins earlier. */
    expect(STOPS("c", "abc"), "xabc", "x", true);
    expect(STOPS("abc", "c"), "xabc", "x", true);
    expect(STOPS("abx", "bcy", "cz"), "abcabcz", "abcab", true);
    expect(STOPS("\xc3\xa4", "\xf0\x9f\x98\x80!"), "\xc3\xb6\xf0\x9f\x98\x80\xc3\xa4",
           "\xc3\xb6\xf0\x9f\x98\x80", true);
}

static void test_holds_only_what_it_must(void **state)
{
    struct stop_set *set = set_of(STOPS("END.", "ND?"));
    struct stop_state s = {0};
    struct buf out;
    buf_init(&out, 100);
    assert_true(stop_feed(set, &s, (const uint8_t *)"an E", 4, &out));
    assert_string_equal(buf_cstr(&out), "an ");
    assert_true(stop_feed(set, &s, (const uint8_t *)"ND", 2, &out));
    assert_string_equal(buf_cstr(&out), "an ");
    assert_int_equal(s.held, 3);
    /* END. is out, ND? still possible. */
    assert_true(stop_feed(set, &s, (const uint8_t *)"", 0, &out));
    assert_true(stop_feed(set, &s, (const uint8_t *)"?", 1, &out));
    assert_string_equal(buf_cstr(&out), "an E");
    assert_true(s.stopped);
    assert_true(stop_feed(set, &s, (const uint8_t *)"more", 4, &out));
    assert_string_equal(buf_cstr(&out), "an E");
    buf_free(&out);
    stop_set_free(set);
}

/* All texts over two letters up to 10 long against the plain definition. */
static void test_against_definition(void **state)
{
    const char *const stops[] = {"aba", "bbab", "aabb", NULL};
    struct stop_set *set = set_of(stops);
    for (unsigned bits = 0; bits < 1u << 11; bits++) {
        char text[12], want[12];
        size_t len = 0, end = SIZE_MAX, start = 0;
        for (; len < 10; len++) {
            text[len] = bits >> len & 1 ? 'a' : 'b';
        }
        text[len] = '\0';
        for (size_t i = 0; stops[i] != NULL; i++) {
            const char *at = strstr(text, stops[i]);
            size_t n = strlen(stops[i]);
            if (at != NULL && (size_t)(at - text) + n <= end) {
                size_t from = (size_t)(at - text);
                start = from + n == end && start < from ? start : from;
                end = from + n;
            }
        }
        snprintf(want, sizeof want, "%.*s", (int)(end != SIZE_MAX ? start : len), text);
        struct stop_state s = {0};
        struct buf out;
        buf_init(&out, 100);
        assert_true(stop_feed(set, &s, (const uint8_t *)text, 1 + bits % 9, &out));
        assert_true(stop_feed(set, &s, (const uint8_t *)text + 1 + bits % 9, len - 1 - bits % 9, &out));
        assert_true(stop_flush(set, &s, &out));
        assert_string_equal(buf_cstr(&out), want);
        buf_free(&out);
    }
    stop_set_free(set);
}

static void test_set_limits(void **state)
{
    struct err err = {0};
    char longest[LIMIT_STOP_BYTES + 1];
    const char *texts[LIMIT_STOP_SEQUENCES + 1];
    size_t lens[LIMIT_STOP_SEQUENCES + 1];
    memset(longest, 'x', sizeof longest);
    for (size_t i = 0; i <= LIMIT_STOP_SEQUENCES; i++) {
        texts[i] = longest;
        lens[i] = LIMIT_STOP_BYTES;
    }
    assert_null(stop_set_new(texts, lens, LIMIT_STOP_SEQUENCES + 1, &err));
    assert_int_equal(err.kind, ERR_INVALID);
    struct stop_set *set = stop_set_new(texts, lens, LIMIT_STOP_SEQUENCES, &err);
    assert_non_null(set);
    struct stop_state s = {0};
    struct buf out;
    buf_init(&out, 4096);
    assert_true(stop_feed(set, &s, (const uint8_t *)longest, LIMIT_STOP_BYTES - 1, &out));
    assert_int_equal(out.len, 0);
    assert_true(stop_feed(set, &s, (const uint8_t *)"y", 1, &out));
    assert_int_equal(out.len, LIMIT_STOP_BYTES);
    buf_free(&out);
    stop_set_free(set);
    lens[3] = LIMIT_STOP_BYTES + 1;
    assert_null(stop_set_new(texts, lens, 4, &err));
    lens[3] = 0;
    assert_null(stop_set_new(texts, lens, 4, &err));
    /* None at all: everything passes. */
    set = stop_set_new(texts, lens, 0, &err);
    assert_non_null(set);
    memset(&s, 0, sizeof s);
    buf_init(&out, 4);
    assert_true(stop_feed(set, &s, (const uint8_t *)"abc", 3, &out));
    assert_true(stop_flush(set, &s, &out));
    assert_string_equal(buf_cstr(&out), "abc");
    assert_false(stop_feed(set, &s, (const uint8_t *)"abc", 3, &out));
    buf_free(&out);
    stop_set_free(set);
    stop_set_free(NULL);
}

static void test_allocation_failure(void **state)
{
    struct err err = {0};
    const char *text = "x";
    size_t len = 1;
    for (size_t nth = 1; nth <= 2; nth++) {
        fault_alloc_at(nth);
        assert_null(stop_set_new(&text, &len, 1, &err));
        assert_int_equal(err.kind, ERR_MEMORY);
    }
    fault_alloc_at(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_matches),
        cmocka_unit_test(test_holds_only_what_it_must),
        cmocka_unit_test(test_against_definition),
        cmocka_unit_test(test_set_limits),
        cmocka_unit_test(test_allocation_failure),
    };
    return cmocka_run_group_tests_name("stop", tests, NULL, NULL);
}
