#include "util.h"

#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void *or_die(void *p)
{
    if (!p) {
        fprintf(stderr, "e2ee-sim: out of memory\n");
        abort();
    }
    return p;
}

void *sim_alloc(size_t size)
{
    return or_die(calloc(1, size ? size : 1));
}

void *sim_resize(void *p, size_t size)
{
    return or_die(realloc(p, size ? size : 1));
}

char *sim_strndup(const char *s, size_t len)
{
    char *copy = sim_alloc(len + 1);
    memcpy(copy, s, len);
    return copy;
}

char *sim_strdup(const char *s)
{
    return sim_strndup(s, strlen(s));
}

static uint8_t *bytes_room(struct bytes *b, size_t len)
{
    if (b->cap - b->len <= len) {
        size_t cap = b->cap ? b->cap : 64;
        while (cap - b->len <= len)
            cap *= 2;
        b->p = sim_resize(b->p, cap);
        b->cap = cap;
    }
    b->p[b->len + len] = 0;
    return b->p + b->len;
}

void bytes_add(struct bytes *b, const void *data, size_t len)
{
    uint8_t *to = bytes_room(b, len);
    if (len)
        memcpy(to, data, len);
    b->len += len;
}

void bytes_str(struct bytes *b, const char *s)
{
    bytes_add(b, s, strlen(s));
}

void bytes_fmt(struct bytes *b, const char *fmt, ...)
{
    va_list ap;
    size_t room = 256;
    for (int i = 0; i < 2; i++) { /* once more when the first guess was too small */
        char *to = (char *)bytes_room(b, room);
        va_start(ap, fmt);
        size_t need = (size_t)vsnprintf(to, room, fmt, ap);
        va_end(ap);
        if (need < room) {
            b->len += need;
            return;
        }
        room = need + 1;
    }
}

void bytes_hex(struct bytes *b, const void *data, size_t len)
{
    hex_encode(data, len, (char *)bytes_room(b, 2 * len + 1));
    b->len += 2 * len;
}

void bytes_json(struct bytes *b, const char *s, size_t len)
{
    bytes_add(b, "\"", 1);
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c == '"' || c == '\\')
            bytes_fmt(b, "\\%c", c);
        else if (c == '\n')
            bytes_str(b, "\\n");
        else if (c < 0x20)
            bytes_fmt(b, "\\u%04x", c);
        else
            bytes_add(b, &c, 1);
    }
    bytes_add(b, "\"", 1);
}

void bytes_number(struct bytes *b, long n)
{
    char digits[24], *p = digits + sizeof digits;
    unsigned long v = n < 0 ? 0ul - (unsigned long)n : (unsigned long)n;
    do
        *--p = (char)('0' + v % 10);
    while (v /= 10);
    if (n < 0)
        *--p = '-';
    bytes_add(b, p, (size_t)(digits + sizeof digits - p));
}

void bytes_clear(struct bytes *b)
{
    b->len = 0;
    if (b->p)
        b->p[0] = 0;
}

void bytes_free(struct bytes *b)
{
    free(b->p);
    memset(b, 0, sizeof *b);
}

const char *bytes_text(const struct bytes *b)
{
    return b->p ? (const char *)b->p : "";
}

void hex_encode(const void *data, size_t len, char *out)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *p = data;
    for (size_t i = 0; i < len; i++) {
        out[2 * i] = digits[p[i] >> 4];
        out[2 * i + 1] = digits[p[i] & 15];
    }
    out[2 * len] = 0;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool hex_decode(const char *hex, size_t hex_len, uint8_t *out, size_t len)
{
    if (hex_len != 2 * len)
        return false;
    for (size_t i = 0; i < len; i++) {
        int hi = hex_digit(hex[2 * i]), lo = hex_digit(hex[2 * i + 1]);
        if (hi < 0 || lo < 0)
            return false;
        out[i] = (uint8_t)(hi << 4 | lo);
    }
    return true;
}

bool hex_only(const char *s, size_t len, bool lower_only)
{
    for (size_t i = 0; i < len; i++)
        if (hex_digit(s[i]) < 0 || (lower_only && s[i] >= 'A' && s[i] <= 'F'))
            return false;
    return true;
}

char *base64_encode(const void *data, size_t len)
{
    char *out = sim_alloc((len + 2) / 3 * 4 + 1);
    EVP_EncodeBlock((unsigned char *)out, data, (int)len);
    return out;
}

/* One code point at p: its length, 0 when it is not valid UTF-8 (overlong, surrogate, beyond U+10FFFF). */
static size_t utf8_one(const uint8_t *p, size_t len)
{
    if (p[0] < 0x80)
        return 1;
    size_t n = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (p[0] < 0xc2 || p[0] > 0xf4 || len < n)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf0 && p[1] < 0x90) ||
        (p[0] == 0xf4 && p[1] > 0x8f))
        return 0;
    return n;
}

bool utf8_valid(const uint8_t *p, size_t len)
{
    for (size_t i = 0; i < len;) {
        size_t n = utf8_one(p + i, len - i);
        if (!n)
            return false;
        i += n;
    }
    return true;
}

size_t utf8_prefix(const char *p, size_t len, size_t n)
{
    size_t at = 0;
    while (at < len && n--) {
        size_t one = utf8_one((const uint8_t *)p + at, len - at);
        at += one ? one : 1;
    }
    return at;
}

void random_bytes(void *out, size_t len)
{
    if (RAND_bytes(out, (int)len) != 1)
        abort();
}

int64_t now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int64_t now_unix(void)
{
    return (int64_t)time(NULL);
}

char *url_decode(const char *s, size_t len)
{
    char *out = sim_alloc(len + 1);
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        uint8_t byte = (uint8_t)s[i];
        if (s[i] == '%') {
            if (len - i < 3 || !hex_decode(s + i + 1, 2, &byte, 1) || byte == 0) {
                free(out);
                return NULL;
            }
            i += 2;
        }
        out[n++] = (char)byte;
    }
    out[n] = 0;
    return out;
}

char *query_get(const char *query, const char *name, int *count)
{
    char *found = NULL;
    size_t name_len = strlen(name);
    if (count)
        *count = 0;
    for (const char *p = query; p && *p;) {
        const char *end = p + strcspn(p, "&");
        if ((size_t)(end - p) > name_len && !strncmp(p, name, name_len) && p[name_len] == '=') {
            if (!found)
                found = url_decode(p + name_len + 1, (size_t)(end - p) - name_len - 1);
            if (count)
                ++*count;
        }
        p = *end ? end + 1 : end;
    }
    return found;
}
