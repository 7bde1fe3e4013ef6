#include "wire/sse.h"

#include <string.h>

#include "base/limits.h"

#define BOM "\xef\xbb\xbf"
#define BOM_BYTES 3
#define FIELD "data:"
#define FIELD_BYTES 5
#define KEEP_BYTES 65536 /* a buffer that grew past this is given back after its event */

/* One feed: the bytes, and the event's only data line so far when it lies whole within them. */
struct feed {
    struct sse *p;
    sse_event_cb *cb;
    void *arg;
    const char *view; /* NULL: the event's data, if any, is in p->data */
    size_t view_len;
};

void sse_init(struct sse *p)
{
    memset(p, 0, sizeof *p);
    p->max = LIMIT_SSE_EVENT_BYTES;
    buf_init(&p->line, LIMIT_SSE_EVENT_BYTES + FIELD_BYTES + 1);
    buf_init(&p->data, LIMIT_SSE_EVENT_BYTES);
}

void sse_free(struct sse *p)
{
    buf_free(&p->line);
    buf_free(&p->data);
}

bool sse_unfinished(const struct sse *p)
{
    return p->has_data || p->line.len > 0 || p->skipping;
}

static void forget(struct buf *b)
{
    if (b->cap > KEEP_BYTES) {
        buf_free(b);
    } else {
        buf_reset(b);
    }
}

/* Appends within the parser's limit, so that an event of the upstream's that is too large is not taken for a lack of
 * memory. */
static bool keep(struct sse *p, struct buf *b, const char *text, size_t len, struct err *err)
{
    if (b->len > b->max || len > b->max - b->len) {
        return err_set(err, ERR_UPSTREAM, "an event of the upstream's stream is larger than %zu bytes",
                       p->max);
    }
    return buf_append(b, text, len) ||
           err_set(err, ERR_MEMORY, "no memory for an event of %zu bytes", b->len + len);
}

static bool settle_view(struct feed *f, struct err *err)
{
    const char *view = f->view;
    f->view = NULL;
    return view == NULL || keep(f->p, &f->p->data, view, f->view_len, err);
}

/* The value of one data line; whole: it may be kept as a view until the feed returns. */
static bool data_line(struct feed *f, const char *value, size_t len, bool whole, struct err *err)
{
    struct sse *p = f->p;
    if (len > p->max) {
        return err_set(err, ERR_UPSTREAM, "an event of the upstream's stream is larger than %zu bytes",
                       p->max);
    }
    if (!p->has_data) {
        p->has_data = true;
        if (whole) {
            f->view = value;
            f->view_len = len;
            return true;
        }
        return keep(p, &p->data, value, len, err);
    }
    return settle_view(f, err) && keep(p, &p->data, "\n", 1, err) && keep(p, &p->data, value, len, err);
}

static bool dispatch(struct feed *f, struct err *err)
{
    struct sse *p = f->p;
    if (!p->has_data) {
        return true;
    }
    const char *data = f->view != NULL ? f->view : (const char *)p->data.data;
    size_t len = f->view != NULL ? f->view_len : p->data.len;
    p->has_data = false;
    f->view = NULL;
    bool ok = len == 0 || f->cb(f->arg, data, len, err);
    if (p->data.cap > 0) {
        forget(&p->data);
    }
    return ok;
}

static bool line_end(struct feed *f, const char *line, size_t len, bool whole, struct err *err)
{
    if (len == 0) {
        return dispatch(f, err);
    }
    if (len < FIELD_BYTES - 1 || memcmp(line, FIELD, FIELD_BYTES - 1) != 0 ||
        (len >= FIELD_BYTES && line[FIELD_BYTES - 1] != ':')) {
        return true;
    }
    size_t skip = len < FIELD_BYTES ? len : FIELD_BYTES;
    skip += skip < len && line[skip] == ' ';
    return data_line(f, line + skip, len - skip, whole, err);
}

/* len more bytes of a line that means nothing. One without an end would swallow the events behind it, unseen. */
static bool skip(struct sse *p, size_t len, struct err *err)
{
    if (len > p->max - p->skipped) {
        return err_set(err, ERR_UPSTREAM, "a line of the upstream's stream is longer than %zu bytes", p->max);
    }
    p->skipped += len;
    return true;
}

/* The rest of a feed, which ends within a line: kept only if the line can still be a data field. */
static bool keep_part(struct sse *p, const char *part, size_t len, struct err *err)
{
    if (p->skipping) {
        return skip(p, len, err);
    }
    if (len == 0) {
        return true;
    }
    size_t have = p->line.len < FIELD_BYTES ? FIELD_BYTES - p->line.len : 0;
    size_t n = len < have ? len : have;
    if (memcmp(part, &FIELD[FIELD_BYTES - have], n) != 0) {
        p->skipping = true;
        p->skipped = p->line.len;
        forget(&p->line);
        return skip(p, len, err);
    }
    return keep(p, &p->line, part, len, err);
}

/* Bytes that belong to the BOM, which may come in pieces. What only began like one is the first line's. */
static bool skip_bom(struct sse *p, const char **at, const char *end, struct err *err)
{
    while (p->bom < BOM_BYTES && *at < end) {
        if (**at != BOM[p->bom]) {
            uint8_t had = p->bom;
            p->bom = BOM_BYTES;
            return keep_part(p, BOM, had, err);
        }
        p->bom++;
        (*at)++;
    }
    return true;
}

/* A line's end at text[len], reached: the line is what earlier feeds brought and text. */
static bool finish_line(struct feed *f, const char *text, size_t len, struct err *err)
{
    struct sse *p = f->p;
    if (p->skipping) {
        p->skipping = false;
        return true;
    }
    if (p->line.len == 0) {
        return line_end(f, text, len, true, err);
    }
    bool ok = keep_part(p, text, len, err);
    if (ok && !p->skipping) {
        ok = line_end(f, (const char *)p->line.data, p->line.len, false, err);
    }
    p->skipping = false;
    forget(&p->line);
    return ok;
}

bool sse_feed(struct sse *p, const void *bytes, size_t len, sse_event_cb *cb, void *arg, struct err *err)
{
    struct feed f = {.p = p, .cb = cb, .arg = arg};
    const char *at = bytes, *end = at + len, *lf = NULL;
    if (len == 0) {
        return true;
    }
    if (!skip_bom(p, &at, end, err)) {
        return false;
    }
    while (at < end) {
        if (p->after_cr) {
            p->after_cr = false;
            if (*at == '\n') {
                at++;
                continue;
            }
        }
        /* The next LF is looked for once, not again for each CR before it: linear in the input. */
        if (lf == NULL || lf < at) {
            lf = memchr(at, '\n', (size_t)(end - at));
            lf = lf != NULL ? lf : end;
        }
        const char *cr = memchr(at, '\r', (size_t)(lf - at));
        const char *stop = cr != NULL ? cr : lf;
        if (stop == end) {
            if (!keep_part(p, at, (size_t)(end - at), err)) {
                return false;
            }
            break;
        }
        p->after_cr = cr != NULL;
        if (!finish_line(&f, at, (size_t)(stop - at), err)) {
            return false;
        }
        at = stop + 1;
    }
    return settle_view(&f, err);
}
