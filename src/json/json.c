#include "json/json.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "json/internal.h"

/* Numbers longer than this have no double: nobody's default is written so. */
#define DOUBLE_TEXT_MAX 400

void json_doc_init(struct json_doc *doc)
{
    *doc = (struct json_doc){NULL, 0, NULL, 0, 0};
}

void json_doc_free(struct json_doc *doc)
{
    mem_free(doc->nodes);
    json_doc_init(doc);
}

const struct json_node *json_root(const struct json_doc *doc)
{
    return doc->count > 0 ? &doc->nodes[0] : NULL;
}

const struct json_node *json_first(const struct json_doc *doc, const struct json_node *parent)
{
    return parent != NULL && parent->first != 0 ? &doc->nodes[parent->first] : NULL;
}

const struct json_node *json_next(const struct json_doc *doc, const struct json_node *node)
{
    return node != NULL && node->next != 0 ? &doc->nodes[node->next] : NULL;
}

static uint32_t hex4(const char *p)
{
    uint32_t value = 0;
    for (int i = 0; i < 4; i++) {
        char c = p[i];
        value = value * 16 + (uint32_t)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    return value;
}

static size_t utf8_encode(uint32_t code, uint8_t out[static 4])
{
    if (code < 0x80) {
        out[0] = (uint8_t)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (uint8_t)(0xc0 | code >> 6);
        out[1] = (uint8_t)(0x80 | (code & 0x3f));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (uint8_t)(0xe0 | code >> 12);
        out[1] = (uint8_t)(0x80 | (code >> 6 & 0x3f));
        out[2] = (uint8_t)(0x80 | (code & 0x3f));
        return 3;
    }
    out[0] = (uint8_t)(0xf0 | code >> 18);
    out[1] = (uint8_t)(0x80 | (code >> 12 & 0x3f));
    out[2] = (uint8_t)(0x80 | (code >> 6 & 0x3f));
    out[3] = (uint8_t)(0x80 | (code & 0x3f));
    return 4;
}

const char *json_unescape_one(const char *p, uint8_t out[static 4], size_t *out_len)
{
    static const char names[] = "bfnrt", values[] = "\b\f\n\r\t";
    char kind = p[1];
    if (kind != 'u') {
        const char *name = strchr(names, kind);
        out[0] = (uint8_t)(name != NULL ? values[name - names] : kind);
        *out_len = 1;
        return p + 2;
    }
    uint32_t code = hex4(p + 2);
    p += 6;
    if (code >= 0xd800 && code <= 0xdbff) {
        code = 0x10000 + ((code - 0xd800) << 10) + (hex4(p + 2) - 0xdc00);
        p += 6;
    }
    *out_len = utf8_encode(code, out);
    return p;
}

/* True when raw[0..len), a checked string without its quotes, unescapes to something that begins with text (with whole:
 * to text). */
static bool raw_matches(const char *raw, size_t len, const char *text, bool whole)
{
    const char *end = raw + len;
    while (raw < end && (whole || *text != '\0')) {
        uint8_t piece[4];
        size_t n = 1;
        if (*raw == '\\') {
            raw = json_unescape_one(raw, piece, &n);
        } else {
            piece[0] = (uint8_t)*raw++;
        }
        for (size_t i = 0; i < n; i++) {
            if (*text == '\0' || (uint8_t)*text++ != piece[i]) {
                return false;
            }
        }
    }
    return *text == '\0';
}

static bool raw_is(const char *raw, size_t len, bool escaped, const char *text)
{
    if (!escaped) {
        return strlen(text) == len && memcmp(raw, text, len) == 0;
    }
    return raw_matches(raw, len, text, true);
}

bool json_string_raw(const struct json_doc *doc, const struct json_node *node, const char **out, size_t *len)
{
    *out = NULL;
    *len = 0;
    if (node == NULL || node->type != JSON_STRING) {
        return false;
    }
    *out = doc->text + node->start + 1;
    *len = node->end - node->start - 2;
    return true;
}

bool json_string_is(const struct json_doc *doc, const struct json_node *node, const char *text)
{
    const char *raw;
    size_t len;
    return json_string_raw(doc, node, &raw, &len) && raw_is(raw, len, node->escaped, text);
}

bool json_string_starts(const struct json_doc *doc, const struct json_node *node, const char *text)
{
    const char *raw;
    size_t len;
    return json_string_raw(doc, node, &raw, &len) && raw_matches(raw, len, text, false);
}

bool json_key_is(const struct json_doc *doc, const struct json_node *node, const char *name)
{
    return node != NULL && node->key_end > 0 &&
           raw_is(doc->text + node->key_start + 1, node->key_end - node->key_start - 2, node->key_escaped,
                  name);
}

const struct json_node *json_member(const struct json_doc *doc, const struct json_node *object,
                                    const char *name)
{
    if (object == NULL || object->type != JSON_OBJECT) {
        return NULL;
    }
    const struct json_node *member = json_first(doc, object);
    while (member != NULL && !json_key_is(doc, member, name)) {
        member = json_next(doc, member);
    }
    return member;
}

const struct json_node *json_present(const struct json_doc *doc, const struct json_node *object,
                                     const char *name)
{
    const struct json_node *member = json_member(doc, object, name);
    return member != NULL && member->type != JSON_NULL ? member : NULL;
}

size_t json_unescape(uint8_t *out, const char *raw, size_t len)
{
    const char *end = raw + len;
    uint8_t *p = out;
    while (raw < end) {
        const char *escape = memchr(raw, '\\', (size_t)(end - raw));
        size_t plain = (size_t)((escape != NULL ? escape : end) - raw);
        memcpy(p, raw, plain);
        p += plain;
        raw += plain;
        if (escape != NULL) {
            uint8_t piece[4];
            size_t n;
            raw = json_unescape_one(raw, piece, &n);
            memcpy(p, piece, n);
            p += n;
        }
    }
    return (size_t)(p - out);
}

size_t json_compact(uint8_t *out, const char *text, size_t len)
{
    uint8_t *p = out;
    bool string = false;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (!string && (c == ' ' || c == '\t' || c == '\n' || c == '\r')) {
            continue;
        }
        *p++ = (uint8_t)c;
        if (c == '"') {
            string = !string;
        } else if (string && c == '\\') {
            *p++ = (uint8_t)text[++i];
        }
    }
    return (size_t)(p - out);
}

bool json_string_get(const struct json_doc *doc, const struct json_node *node, struct buf *out)
{
    const char *raw;
    size_t len;
    if (!json_string_raw(doc, node, &raw, &len)) {
        return false;
    }
    if (!node->escaped) {
        return buf_append(out, raw, len);
    }
    if (!out->failed && len <= out->max - out->len) {
        /* Unescaping never makes a string longer. */
        if (!buf_reserve(out, len)) {
            return false;
        }
        out->len += json_unescape(out->data + out->len, raw, len);
        return true;
    }
    const char *end = raw + len;
    while (raw < end) {
        uint8_t piece[4];
        size_t n = 1;
        if (*raw == '\\') {
            raw = json_unescape_one(raw, piece, &n);
        } else {
            piece[0] = (uint8_t)*raw++;
        }
        if (!buf_append(out, piece, n)) {
            return false;
        }
    }
    return true;
}

bool json_string_copy(const struct json_doc *doc, const struct json_node *node, char *out, size_t cap)
{
    const char *raw;
    size_t len, used = 0;
    if (cap > 0) {
        out[0] = '\0';
    }
    if (cap == 0 || !json_string_raw(doc, node, &raw, &len)) {
        return false;
    }
    const char *end = raw + len;
    while (raw < end) {
        uint8_t piece[4];
        size_t n = 1;
        if (*raw == '\\') {
            raw = json_unescape_one(raw, piece, &n);
        } else {
            piece[0] = (uint8_t)*raw++;
        }
        if (piece[0] == 0 || n >= cap - used) {
            out[0] = '\0';
            return false;
        }
        memcpy(out + used, piece, n);
        used += n;
    }
    out[used] = '\0';
    return true;
}

bool json_u64(const struct json_doc *doc, const struct json_node *node, uint64_t *out)
{
    *out = 0;
    if (node == NULL || node->type != JSON_NUMBER) {
        return false;
    }
    uint64_t value = 0;
    for (uint32_t i = node->start; i < node->end; i++) {
        char c = doc->text[i];
        if (c < '0' || c > '9' || value > (UINT64_MAX - (uint64_t)(c - '0')) / 10) {
            return false;
        }
        value = value * 10 + (uint64_t)(c - '0');
    }
    *out = value;
    return true;
}

bool json_bool(const struct json_node *node, bool *out)
{
    *out = node != NULL && node->type == JSON_TRUE;
    return node != NULL && (node->type == JSON_TRUE || node->type == JSON_FALSE);
}

bool json_double(const struct json_doc *doc, const struct json_node *node, double *out)
{
    *out = 0;
    char text[DOUBLE_TEXT_MAX + 1];
    if (node == NULL || node->type != JSON_NUMBER || node->end - node->start > DOUBLE_TEXT_MAX) {
        return false;
    }
    memcpy(text, doc->text + node->start, node->end - node->start);
    text[node->end - node->start] = '\0';
    *out = strtod(text, NULL);
    return true;
}

bool json_append_escaped(struct buf *out, const char *text, size_t len)
{
    static const char names[] = "btn\0fr"; /* U+0008 to U+000D; U+000B has no short form */
    size_t from = 0;
    if (len == 0) {
        return !out->failed; /* text may be NULL */
    }
    for (size_t i = 0; i < len; i++) {
        uint8_t c = (uint8_t)text[i];
        if (c >= 0x20 && c != '"' && c != '\\') {
            size_t next = c < 0x80 ? json_skip_plain(text, i, len) : i;
            i = next > i ? next - 1 : i;
            continue;
        }
        char escape[8] = {'\\', (char)c, 0};
        size_t n = 2;
        if (c >= 8 && c <= 13 && names[c - 8] != 0) {
            escape[1] = names[c - 8];
        } else if (c < 0x20) {
            static const char hex[] = "0123456789abcdef";
            memcpy(escape, "\\u00", 4);
            escape[4] = hex[c >> 4];
            escape[5] = hex[c & 15];
            n = 6;
        }
        if (!buf_append(out, text + from, i - from) || !buf_append(out, escape, n)) {
            return false;
        }
        from = i + 1;
    }
    return buf_append(out, text + from, len - from);
}

bool json_append_string(struct buf *out, const char *text, size_t len)
{
    return buf_append_byte(out, '"') && json_append_escaped(out, text, len) && buf_append_byte(out, '"');
}
