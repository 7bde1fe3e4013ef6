#include "client_answer.h"

#include <stdlib.h>
#include <string.h>

void answer_begin(struct answer *a)
{
    memset(a, 0, sizeof *a);
}

static void line_ended(struct answer *a)
{
    if (a->line_len >= 5 && memcmp(a->line, "data:", 5) == 0) {
        a->events++;
        a->done = a->line_len >= 12 && memcmp(a->line, "data: [DONE]", 12) == 0;
        a->error = a->error || (a->line_len >= 14 && memcmp(a->line, "data: {\"error\"", 14) == 0);
    }
    a->line_len = 0;
}

static void take_body(struct answer *a, const char *data, size_t len)
{
    a->bytes += len;
    while (len > 0) {
        const char *end = memchr(data, '\n', len);
        size_t n = end != NULL ? (size_t)(end - data) : len;
        if (a->line_len < sizeof a->line) {
            size_t room = sizeof a->line - a->line_len;
            memcpy(a->line + a->line_len, data, n < room ? n : room);
            a->line_len += n < room ? n : room;
        }
        if (end == NULL) {
            return;
        }
        line_ended(a);
        data += n + 1;
        len -= n + 1;
    }
}

/* One byte of a line that ends in LF; true at its end, and head then holds it. */
static bool take_line(struct answer *a, char byte)
{
    if (a->head_len + 1 == sizeof a->head) {
        a->state = ANSWER_BROKEN;
        return false;
    }
    a->head[a->head_len++] = byte;
    a->head[a->head_len] = '\0';
    return byte == '\n';
}

static void take_head(struct answer *a, char byte)
{
    if (!take_line(a, byte) || a->head_len < 4 || memcmp(a->head + a->head_len - 4, "\r\n\r\n", 4) != 0) {
        return;
    }
    bool fine = strncmp(a->head, "HTTP/1.1 200", 12) == 0 &&
                strcasestr(a->head, "\r\ntransfer-encoding: chunked") != NULL;
    a->state = fine ? ANSWER_SIZE : ANSWER_BROKEN;
    a->head_len = 0;
}

static void take_size(struct answer *a, char byte)
{
    if (!take_line(a, byte)) {
        return;
    }
    char *end;
    a->left = strtoull(a->head, &end, 16);
    a->state = end == a->head ? ANSWER_BROKEN : a->left > 0 ? ANSWER_DATA : ANSWER_TRAILER;
    a->head_len = 0;
}

size_t answer_take(struct answer *a, const char *data, size_t len)
{
    size_t at = 0;
    while (at < len && a->state != ANSWER_END && a->state != ANSWER_BROKEN) {
        size_t n = 1;
        switch (a->state) {
        case ANSWER_HEAD:
            take_head(a, data[at]);
            break;
        case ANSWER_SIZE:
            take_size(a, data[at]);
            break;
        case ANSWER_DATA:
            n = len - at < a->left ? len - at : (size_t)a->left;
            take_body(a, data + at, n);
            a->left -= n;
            a->state = a->left == 0 ? ANSWER_DATA_END : ANSWER_DATA;
            break;
        case ANSWER_DATA_END:
            a->state = data[at] == '\n' ? ANSWER_SIZE : ANSWER_DATA_END;
            break;
        case ANSWER_TRAILER:
            if (take_line(a, data[at])) {
                a->state = a->head_len <= 2 ? ANSWER_END : ANSWER_TRAILER;
                a->head_len = 0;
            }
            break;
        case ANSWER_END:
        case ANSWER_BROKEN:
            break;
        }
        at += n;
    }
    return at;
}
