/* An event, its parser and what it renders to, for the tests of answers. */
#ifndef E2EE_TESTS_WIRE_ANSWER_FIXTURE_H
#define E2EE_TESTS_WIRE_ANSWER_FIXTURE_H

#include "sealed.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/limits.h"

static struct answer_parser parser;
static struct answer_event *event;
static struct buf out;

/* The rendered data of a pattern, without "data: " and the empty line. */
static inline const char *render(const char *pattern)
{
    struct err err = {0};
    if (!sealed_event(&parser, event, pattern, &err)) {
        fail_msg("%s: %s", pattern, err.message);
    }
    buf_reset(&out);
    assert_true(answer_render(event, &out, &err));
    assert_memory_equal(out.data, "data: ", 6);
    assert_memory_equal(out.data + out.len - 2, "\n\n", 2);
    out.len -= 2;
    assert_null(memchr(out.data, '\n', out.len));
    return buf_cstr(&out) + 6;
}

static inline enum answer_kind kind_of(const char *pattern)
{
    struct err err = {0};
    if (!sealed_event(&parser, event, pattern, &err)) {
        fail_msg("%s: %s", pattern, err.message);
    }
    return event->kind;
}

static inline int set_up(void **state)
{
    answer_parser_init(&parser);
    buf_init(&out, 64 << 20);
    event = answer_event_new(NULL);
    return event != NULL ? sealed_set_up(state) : -1;
}

static inline int tear_down(void **state)
{
    answer_event_free(event);
    answer_parser_free(&parser);
    buf_free(&out);
    return sealed_tear_down(state);
}

#endif
