/* The custody log's chain: every change of every byte, every line dropped, moved, repeated, and cuts, are found. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "keyipc/chain.h"

#define LINES 6

static struct buf text;
static size_t starts[LINES + 1];
static struct chain_head head;

static int begin(void **state)
{
    static const char *const events[LINES] = {"start",       "login",         "self_test",
                                              "key_created", "key_destroyed", "end"};
    struct err err = {0};
    buf_init(&text, 65536);
    head = (struct chain_head){0};
    for (size_t i = 0; i < LINES; i++) {
        starts[i] = text.len;
        assert_true(chain_append(&text, &head, "2026-11-24T14:00:00.000Z", events[i],
                                 i == 1 ? ",\"label\":\"e2ee\",\"slot\":3" : "", &err));
    }
    starts[LINES] = text.len;
    return 0;
}

static int end(void **state)
{
    buf_free(&text);
    return 0;
}

/* Findings in a text; *last where it ends. An unterminated rest counts as one. */
static uint64_t findings(const char *t, size_t len, struct chain_head *last)
{
    struct chain_check check = {0};
    struct chain_line line;
    struct err err = {0};
    while (len > 0) {
        const char *lf = memchr(t, '\n', len);
        size_t n = lf != NULL ? (size_t)(lf - t) : len;
        bool ok = chain_check_line(&check, &line, t, n, &err);
        assert_true(ok || err.kind == ERR_INVALID);
        check.findings += lf == NULL && ok;
        len -= lf != NULL ? n + 1 : n;
        t += lf != NULL ? n + 1 : n;
    }
    if (last != NULL) {
        *last = check.last;
    }
    return check.findings;
}

static void test_good(void **state)
{
    struct chain_head last;
    struct chain_line line;
    struct err err = {0};
    assert_int_equal(findings((const char *)text.data, text.len, &last), 0);
    assert_int_equal(last.seq, LINES);
    assert_memory_equal(last.hash, head.hash, sizeof head.hash);
    assert_true(chain_parse(&line, (const char *)text.data + starts[1], starts[2] - starts[1] - 1, &err));
    assert_string_equal(line.event, "login");
    assert_int_equal(line.seq, 2);
}

static void test_each_byte_changed(void **state)
{
    static const uint8_t changes[] = {1, 2, 0x20, 0x80, 0xff};
    for (size_t i = 0; i < text.len; i++) {
        for (size_t c = 0; c < sizeof changes; c++) {
            text.data[i] ^= changes[c];
            if (findings((const char *)text.data, text.len, NULL) == 0) {
                fail_msg("byte %zu xor %u is not found", i, changes[c]);
            }
            text.data[i] ^= changes[c];
        }
    }
}

/* A copy in another order of lines. */
static uint64_t findings_in_order(const size_t *order, size_t count, struct chain_head *last)
{
    struct buf copy;
    buf_init(&copy, 65536);
    for (size_t i = 0; i < count; i++) {
        buf_append(&copy, text.data + starts[order[i]], starts[order[i] + 1] - starts[order[i]]);
    }
    uint64_t found = findings((const char *)copy.data, copy.len, last);
    buf_free(&copy);
    return found;
}

static void test_lines_dropped_moved_repeated(void **state)
{
    for (size_t a = 0; a < LINES; a++) {
        size_t order[LINES + 1], n = 0;
        struct chain_head last;
        for (size_t i = 0; i < LINES; i++) {
            if (i != a) {
                order[n++] = i;
            }
        }
        /* The first ones may have been removed with an old file, the last ones be cut: only the head tells. */
        uint64_t found = findings_in_order(order, n, &last);
        if (a == 0) {
            assert_int_equal(found, 0);
        } else if (a == LINES - 1) {
            assert_int_equal(found, 0);
            assert_memory_not_equal(last.hash, head.hash, sizeof head.hash);
        } else {
            assert_true(found > 0);
        }
        for (size_t b = 0; b < LINES; b++) { /* a moved to b's place */
            n = 0;
            for (size_t i = 0; i < LINES; i++) {
                if (i == b && a > b) {
                    order[n++] = a;
                }
                if (i != a) {
                    order[n++] = i;
                }
                if (i == b && a < b) {
                    order[n++] = a;
                }
            }
            assert_true(a == b || findings_in_order(order, n, NULL) > 0);
        }
        n = 0;
        for (size_t i = 0; i < LINES; i++) {
            order[n++] = i;
            if (i == a) {
                order[n++] = i;
            }
        }
        assert_true(findings_in_order(order, n, NULL) > 0);
    }
}

static void test_cut_anywhere(void **state)
{
    for (size_t i = 1; i < text.len; i++) {
        bool between = false;
        for (size_t l = 0; l <= LINES; l++) {
            between = between || starts[l] == i;
        }
        struct chain_head last;
        uint64_t found = findings((const char *)text.data, i, &last);
        if (between) {
            assert_int_equal(found, 0); /* a cut tail cannot be seen without the head */
            assert_memory_not_equal(last.hash, head.hash, sizeof head.hash);
        } else {
            assert_true(found > 0);
        }
    }
}

static void test_malformed(void **state)
{
    static const char *const texts[] = {"", "{}", "x", "{\"seq\":0,\"time\":\"\",\"event\":\"a\"}"};
    struct chain_line line;
    char long_line[CHAIN_LINE_BYTES_MAX + 1];
    struct err err = {0};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        assert_false(chain_parse(&line, texts[i], strlen(texts[i]), &err));
        assert_int_equal(err.kind, ERR_INVALID);
        assert_int_equal(line.seq, 0);
    }
    memset(long_line, 'a', sizeof long_line);
    assert_false(chain_parse(&line, long_line, sizeof long_line, &err));
}

static void test_full_buffer(void **state)
{
    for (size_t max = 0; max < 256; max++) {
        struct buf small;
        struct chain_head h = {0};
        struct err err = {0};
        buf_init(&small, max);
        if (!chain_append(&small, &h, "2026-11-24T14:00:00.000Z", "start", "", &err)) {
            assert_int_equal(h.seq, 0);
            assert_int_equal(small.len, 0);
        } else {
            assert_int_equal(h.seq, 1);
        }
        buf_free(&small);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_good, begin, end),
        cmocka_unit_test_setup_teardown(test_each_byte_changed, begin, end),
        cmocka_unit_test_setup_teardown(test_lines_dropped_moved_repeated, begin, end),
        cmocka_unit_test_setup_teardown(test_cut_anywhere, begin, end),
        cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_full_buffer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
