#include "server/head.h"

#include <stdbool.h>
#include <string.h>

enum state {
    START,    /* before the request line */
    START_CR, /* CR of an empty line before it */
    REQUEST,  /* in the request line */
    REQUEST_CR,
    LINE, /* first byte of a header line, or of the empty line */
    NAME,
    VALUE,
    VALUE_CR,
    END_CR,
    DONE,
    BAD,
};

#define MAX_BLANK_LINES 2

static bool is_token(uint8_t b)
{
    return (b >= '0' && b <= '9') || (b >= 'a' && b <= 'z') || (b >= 'A' && b <= 'Z') ||
           (b != 0 && strchr("!#$%&'*+-.^_`|~", b) != NULL);
}

static enum state in_line(uint8_t b)
{
    if (b == '\r') {
        return END_CR;
    }
    return is_token(b) ? NAME : BAD;
}

static enum state in_name(uint8_t b)
{
    if (b == ':') {
        return VALUE;
    }
    return is_token(b) ? NAME : BAD;
}

static enum state in_value(uint8_t b)
{
    if (b == '\r') {
        return VALUE_CR;
    }
    return b == '\t' || (b >= 0x20 && b != 0x7f) ? VALUE : BAD;
}

static enum state in_request(uint8_t b)
{
    if (b == '\r') {
        return REQUEST_CR;
    }
    return b >= 0x20 && b < 0x7f ? REQUEST : BAD;
}

static enum state next(enum state s, uint8_t b)
{
    switch (s) {
    case START:
        return b == '\r' ? START_CR : (b >= 'A' && b <= 'Z' ? REQUEST : BAD);
    case START_CR:
        return b == '\n' ? START : BAD;
    case REQUEST:
        return in_request(b);
    case REQUEST_CR:
    case VALUE_CR:
        return b == '\n' ? LINE : BAD;
    case LINE:
        return in_line(b);
    case NAME:
        return in_name(b);
    case VALUE:
        return in_value(b);
    case END_CR:
        return b == '\n' ? DONE : BAD;
    default:
        return BAD;
    }
}

enum head_result head_scan(struct head_scan *s, const uint8_t *data, size_t len, size_t *used, size_t *skip)
{
    size_t i = 0;
    *skip = 0;
    while (i < len && s->state != DONE && s->state != BAD) {
        enum state before = (enum state)s->state;
        s->state = (uint8_t)next(before, data[i++]);
        if (before == START_CR) {
            s->blank++;
        }
        if (s->state == START || s->state == START_CR) {
            *skip = i;
        }
        if (s->blank > MAX_BLANK_LINES) {
            s->state = BAD;
        }
    }
    *used = i;
    return s->state == DONE ? HEAD_DONE : (s->state == BAD ? HEAD_BAD : HEAD_MORE);
}
