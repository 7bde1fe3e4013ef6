#include "json/json.h"

#include <string.h>

#include "base/limits.h"
#include "base/mem.h"
#include "json/internal.h"

/* One open array or object. */
struct frame {
    uint32_t node;
    uint32_t last; /* its newest child, 0 when none */
};

struct parser {
    struct json_doc *doc;
    const char *text;
    uint32_t pos, len;
    uint32_t key_start, key_end; /* of the member whose value comes next */
    uint8_t key_escaped;
    uint32_t depth;
    size_t max_nodes;
    struct err *err;
    struct frame stack[LIMIT_JSON_DEPTH];
};

static bool refuse(struct parser *p, const char *rule)
{
    return err_set(p->err, ERR_INVALID, "not valid JSON at byte %u: %s", (unsigned)p->pos, rule);
}

static void skip_space(struct parser *p)
{
    while (p->pos < p->len) {
        char c = p->text[p->pos];
        if (c != ' ' && c != '\n' && c != '\r' && c != '\t') {
            return;
        }
        p->pos++;
    }
}

/* The four digits of \uXXXX whose first digit is at pos; -1 when they are not four hex digits. */
static int32_t hex4(const struct parser *p, uint32_t pos)
{
    if (p->len - pos < 4) {
        return -1;
    }
    int32_t value = 0;
    for (uint32_t i = 0; i < 4; i++) {
        char c = p->text[pos + i];
        int32_t digit = c >= '0' && c <= '9'   ? c - '0'
                        : c >= 'a' && c <= 'f' ? c - 'a' + 10
                        : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                               : -1;
        if (digit < 0) {
            return -1;
        }
        value = value * 16 + digit;
    }
    return value;
}

/* The escape at pos, a backslash. */
static bool parse_escape(struct parser *p)
{
    if (p->len - p->pos < 2) {
        return refuse(p, "the text ends within a string");
    }
    char kind = p->text[p->pos + 1];
    if (kind != 'u') {
        if (kind == '\0' || strchr("\"\\/bfnrt", kind) == NULL) {
            return refuse(p, "an unknown escape in a string");
        }
        p->pos += 2;
        return true;
    }
    int32_t unit = hex4(p, p->pos + 2);
    if (unit < 0) {
        return refuse(p, "\\u without four hex digits");
    }
    if (unit < 0xd800 || unit > 0xdfff) {
        p->pos += 6;
        return true;
    }
    int32_t second = -1;
    if (unit < 0xdc00 && p->len - p->pos >= 8 && memcmp(p->text + p->pos + 6, "\\u", 2) == 0) {
        second = hex4(p, p->pos + 8);
    }
    if (second < 0xdc00 || second > 0xdfff) {
        return refuse(p, "half of a surrogate pair");
    }
    p->pos += 12;
    return true;
}

/* The string at pos, a quote; ends behind its closing quote. */
static bool parse_string(struct parser *p, uint8_t *escaped)
{
    *escaped = 0;
    p->pos++;
    for (;;) {
        p->pos = (uint32_t)json_skip_plain(p->text, p->pos, p->len);
        if (p->pos >= p->len) {
            return refuse(p, "the text ends within a string");
        }
        uint8_t c = (uint8_t)p->text[p->pos];
        if (c == '"') {
            p->pos++;
            return true;
        }
        if (c == '\\') {
            *escaped = 1;
            if (!parse_escape(p)) {
                return false;
            }
        } else if (c < 0x20) {
            return refuse(p, "a control character in a string");
        } else if (c < 0x80) {
            p->pos++;
        } else {
            uint32_t n = json_utf8_sequence((const uint8_t *)p->text + p->pos, p->len - p->pos);
            if (n == 0) {
                return refuse(p, "a string is not UTF-8");
            }
            p->pos += n;
        }
    }
}

static bool digits(struct parser *p)
{
    uint32_t from = p->pos;
    while (p->pos < p->len && p->text[p->pos] >= '0' && p->text[p->pos] <= '9') {
        p->pos++;
    }
    return p->pos > from;
}

static bool at(const struct parser *p, char c)
{
    return p->pos < p->len && p->text[p->pos] == c;
}

static bool parse_number(struct parser *p)
{
    if (at(p, '-')) {
        p->pos++;
    }
    if (at(p, '0')) {
        p->pos++;
    } else if (!digits(p)) {
        return refuse(p, "a value was expected");
    }
    if (at(p, '.')) {
        p->pos++;
        if (!digits(p)) {
            return refuse(p, "a number without digits after the point");
        }
    }
    if (at(p, 'e') || at(p, 'E')) {
        p->pos++;
        if (at(p, '+') || at(p, '-')) {
            p->pos++;
        }
        if (!digits(p)) {
            return refuse(p, "a number without digits in its exponent");
        }
    }
    return true;
}

static bool parse_word(struct parser *p, const char *word, size_t n)
{
    if (p->len - p->pos < n || memcmp(p->text + p->pos, word, n) != 0) {
        return refuse(p, "a value was expected");
    }
    p->pos += (uint32_t)n;
    return true;
}

/* Name and colon of the next member. */
static bool parse_key(struct parser *p)
{
    skip_space(p);
    if (!at(p, '"')) {
        return refuse(p, "the name of a member was expected");
    }
    p->key_start = p->pos;
    if (!parse_string(p, &p->key_escaped)) {
        return false;
    }
    p->key_end = p->pos;
    skip_space(p);
    if (!at(p, ':')) {
        return refuse(p, "a colon was expected");
    }
    p->pos++;
    return true;
}

static bool grow(struct parser *p)
{
    struct json_doc *doc = p->doc;
    size_t cap = doc->cap > 0 ? doc->cap * 2 : 64;
    if (cap > p->max_nodes) {
        cap = p->max_nodes;
    }
    struct json_node *nodes = mem_alloc(cap * sizeof *nodes);
    if (nodes == NULL) {
        return err_set(p->err, ERR_MEMORY, "no memory for a JSON document");
    }
    if (doc->count > 0) {
        memcpy(nodes, doc->nodes, doc->count * sizeof *nodes);
    }
    mem_free(doc->nodes);
    doc->nodes = nodes;
    doc->cap = cap;
    return true;
}

/* Appends a node that starts at pos and links it to its parent. */
static bool add_node(struct parser *p, uint32_t *index)
{
    struct json_doc *doc = p->doc;
    if (doc->count >= p->max_nodes) {
        return refuse(p, "too many values");
    }
    if (doc->count == doc->cap && !grow(p)) {
        return false;
    }
    *index = (uint32_t)doc->count++;
    doc->nodes[*index] = (struct json_node){.start = p->pos};
    if (p->depth == 0) {
        return true;
    }
    struct frame *parent = &p->stack[p->depth - 1];
    struct json_node *container = &doc->nodes[parent->node];
    if (container->type == JSON_OBJECT) {
        doc->nodes[*index].key_start = p->key_start;
        doc->nodes[*index].key_end = p->key_end;
        doc->nodes[*index].key_escaped = p->key_escaped;
    }
    if (parent->last == 0) {
        container->first = *index;
    } else {
        doc->nodes[parent->last].next = *index;
    }
    parent->last = *index;
    container->count++;
    return true;
}

/* The bracket that closes the innermost container is at pos. */
static bool close_container(struct parser *p)
{
    struct frame *frame = &p->stack[--p->depth];
    struct json_node *node = &p->doc->nodes[frame->node];
    p->pos++;
    node->end = p->pos;
    return node->type != JSON_OBJECT || json_keys_unique(p->doc, frame->node, p->err);
}

/* The container whose bracket is at pos. *open: it has members, and pos is before the first one's value. */
static bool open_container(struct parser *p, uint32_t index, enum json_type type, bool *open)
{
    if (p->depth == LIMIT_JSON_DEPTH) {
        return refuse(p, "nested too deeply");
    }
    p->doc->nodes[index].type = (uint8_t)type;
    p->stack[p->depth++] = (struct frame){index, 0};
    p->pos++;
    skip_space(p);
    if (at(p, type == JSON_OBJECT ? '}' : ']')) {
        return close_container(p);
    }
    *open = true;
    return type != JSON_OBJECT || parse_key(p);
}

static bool parse_scalar(struct parser *p, uint32_t index)
{
    enum json_type type = JSON_NUMBER;
    uint8_t escaped = 0;
    bool ok;
    switch (p->text[p->pos]) {
    case '"':
        type = JSON_STRING;
        ok = parse_string(p, &escaped);
        break;
    case 't':
        type = JSON_TRUE;
        ok = parse_word(p, "true", 4);
        break;
    case 'f':
        type = JSON_FALSE;
        ok = parse_word(p, "false", 5);
        break;
    case 'n':
        type = JSON_NULL;
        ok = parse_word(p, "null", 4);
        break;
    default:
        ok = parse_number(p);
        break;
    }
    struct json_node *node = &p->doc->nodes[index];
    node->type = (uint8_t)type;
    node->escaped = escaped;
    node->end = p->pos;
    return ok;
}

static bool parse_value(struct parser *p, bool *open)
{
    *open = false;
    skip_space(p);
    if (p->pos >= p->len) {
        return refuse(p, "the text ends where a value was expected");
    }
    uint32_t index = 0;
    if (!add_node(p, &index)) {
        return false;
    }
    char c = p->text[p->pos];
    if (c == '{' || c == '[') {
        return open_container(p, index, c == '{' ? JSON_OBJECT : JSON_ARRAY, open);
    }
    return parse_scalar(p, index);
}

/* What may follow a value: a comma, closing brackets, the end. */
static bool parse_after(struct parser *p, bool *done)
{
    *done = false;
    while (p->depth > 0) {
        bool object = p->doc->nodes[p->stack[p->depth - 1].node].type == JSON_OBJECT;
        skip_space(p);
        if (at(p, ',')) {
            p->pos++;
            return !object || parse_key(p);
        }
        if (!at(p, object ? '}' : ']')) {
            return refuse(p, "a comma or a closing bracket was expected");
        }
        if (!close_container(p)) {
            return false;
        }
    }
    skip_space(p);
    *done = true;
    return p->pos == p->len || refuse(p, "text after the value");
}

static bool parse_text(struct parser *p)
{
    bool open, done = false;
    while (!done) {
        if (!parse_value(p, &open) || (!open && !parse_after(p, &done))) {
            return false;
        }
    }
    return true;
}

bool json_parse(struct json_doc *doc, const char *text, size_t len, size_t max_nodes, struct err *err)
{
    doc->text = text;
    doc->len = len;
    doc->count = 0;
    if (len >= UINT32_MAX) {
        doc->len = 0;
        return err_set(err, ERR_INVALID, "a JSON text of %zu bytes is too long", len);
    }
    struct parser p;
    p.doc = doc;
    p.text = text;
    p.pos = p.key_start = p.key_end = p.depth = 0;
    p.key_escaped = 0;
    p.len = (uint32_t)len;
    p.max_nodes = max_nodes < LIMIT_JSON_NODES ? max_nodes : LIMIT_JSON_NODES;
    p.err = err;
    if (!parse_text(&p)) {
        doc->text = NULL;
        doc->len = doc->count = 0;
        return false;
    }
    return true;
}
