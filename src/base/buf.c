#include "base/buf.h"

#include <stdio.h>
#include <string.h>

#include "base/hex.h"
#include "base/mem.h"
#include "base/secret.h"

void buf_init(struct buf *b, size_t max)
{
    *b = (struct buf){NULL, 0, 0, max, false};
}

static bool fail(struct buf *b)
{
    buf_free(b);
    b->failed = true;
    return false;
}

void buf_free(struct buf *b)
{
    if (b->data != NULL) {
        secret_wipe(b->data, b->len);
        mem_free(b->data);
    }
    b->data = NULL;
    b->len = b->cap = 0;
    b->failed = false;
}

void buf_reset(struct buf *b)
{
    if (b->data != NULL) {
        secret_wipe(b->data, b->len);
    }
    b->len = 0;
    b->failed = false;
}

static bool grow(struct buf *b, size_t need)
{
    /* Twice what was, so that appending costs no more than copying each byte once or so; but neither more than max,
     * nor more than a large need from nothing: --max-inflight-bytes counts what was asked for, not what was taken.
     * need passes max by buf_appendf's terminator only. */
    size_t cap = b->cap > SIZE_MAX / 2 ? SIZE_MAX : b->cap * 2;
    cap = cap > 256 ? cap : 256;
    cap = cap < b->max ? cap : b->max;
    cap = cap > need ? cap : need;
    /* Not realloc: it would strand a copy of the plaintext. */
    uint8_t *data = mem_alloc(cap);
    if (data == NULL) {
        return fail(b);
    }
    if (b->data != NULL) {
        memcpy(data, b->data, b->len);
        secret_wipe(b->data, b->len);
        mem_free(b->data);
    }
    b->data = data;
    b->cap = cap;
    return true;
}

bool buf_reserve(struct buf *b, size_t extra)
{
    if (b->failed) {
        return false;
    }
    if (extra > b->max - b->len) {
        return fail(b);
    }
    return b->len + extra <= b->cap || grow(b, b->len + extra);
}

bool buf_append(struct buf *b, const void *data, size_t len)
{
    if (!buf_reserve(b, len)) {
        return false;
    }
    if (len > 0) {
        memcpy(b->data + b->len, data, len);
        b->len += len;
    }
    return true;
}

bool buf_append_str(struct buf *b, const char *text)
{
    return buf_append(b, text, strlen(text));
}

bool buf_append_byte(struct buf *b, uint8_t byte)
{
    return buf_append(b, &byte, 1);
}

bool buf_appendf(struct buf *b, const char *fmt, ...)
{
    char small[512];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(small, sizeof small, fmt, args);
    va_end(args);
    if (n < 0) {
        return fail(b);
    }
    if ((size_t)n < sizeof small) {
        bool ok = buf_append(b, small, (size_t)n);
        secret_wipe(small, (size_t)n);
        return ok;
    }
    secret_wipe(small, sizeof small);
    if ((size_t)n > b->max - (b->failed ? b->max : b->len)) {
        return fail(b);
    }
    /* One more than the text for vsnprintf's terminator, which may lie past max. */
    if (b->len + (size_t)n + 1 > b->cap && !grow(b, b->len + (size_t)n + 1)) {
        return false;
    }
    va_start(args, fmt);
    vsnprintf((char *)b->data + b->len, (size_t)n + 1, fmt, args);
    va_end(args);
    b->len += (size_t)n;
    return true;
}

bool buf_append_hex(struct buf *b, const uint8_t *data, size_t len)
{
    if (len > SIZE_MAX / 2 || !buf_reserve(b, 2 * len)) {
        return b->failed ? false : fail(b);
    }
    hex_encode((char *)b->data + b->len, data, len);
    b->len += 2 * len;
    return true;
}

void buf_consume(struct buf *b, size_t n)
{
    size_t rest = b->len - n;
    if (n > 0 && rest > 0) {
        memmove(b->data, b->data + n, rest);
    }
    if (n > 0) {
        secret_wipe(b->data + rest, n);
    }
    b->len = rest;
}

const char *buf_cstr(struct buf *b)
{
    if (b->failed || (b->len + 1 > b->cap && !grow(b, b->len + 1))) {
        return NULL;
    }
    b->data[b->len] = '\0';
    return (const char *)b->data;
}

bool buf_check(const struct buf *b, const char *what, struct err *err)
{
    if (b->failed) {
        return err_set(err, ERR_TOO_LARGE, "%s does not fit %zu bytes, or memory ran out", what, b->max);
    }
    return true;
}

void buf_move(struct buf *dst, struct buf *src)
{
    buf_free(dst);
    *dst = *src;
    buf_init(src, src->max);
}
