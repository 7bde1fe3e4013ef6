/* Any text: what parses has ordered, disjoint spans inside their parents, and a copy whose strings and keys are all
 * unescaped and escaped anew parses to the same document. */
#include <stdlib.h>
#include <string.h>

#include "json/json.h"

#define MAX_NODES 20000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool ok)
{
    if (!ok) {
        abort();
    }
}

static void check_spans(const struct json_doc *doc, const struct json_node *parent)
{
    uint32_t from = parent->start + 1, count = 0;
    for (const struct json_node *n = json_first(doc, parent); n != NULL; n = json_next(doc, n)) {
        if (parent->type == JSON_OBJECT) {
            require(n->key_start >= from && n->key_end >= n->key_start + 2);
            require(doc->text[n->key_start] == '"' && doc->text[n->key_end - 1] == '"');
            from = n->key_end + 1;
        } else {
            require(n->key_start == 0 && n->key_end == 0);
        }
        require(n->start >= from && n->end > n->start && n->end < parent->end);
        from = n->end;
        count++;
        check_spans(doc, n);
    }
    require(count == parent->count);
}

/* The quoted text[start..end), unescaped. */
static void unescape(const struct json_doc *doc, uint32_t start, uint32_t end, bool escaped, struct buf *out)
{
    struct json_node node = {.start = start, .end = end, .type = JSON_STRING, .escaped = escaped};
    buf_init(out, doc->len + 1);
    require(json_string_get(doc, &node, out));
    require(json_utf8_valid((char *)out->data, out->len));
}

static void copy_span(const struct json_doc *doc, uint32_t start, uint32_t end, bool escaped,
                      struct buf *text)
{
    struct buf plain;
    unescape(doc, start, end, escaped, &plain);
    require(json_append_string(text, (char *)plain.data, plain.len));
    buf_free(&plain);
}

static void require_equal(const struct json_doc *a, const struct json_doc *b)
{
    require(a->count == b->count);
    for (size_t i = 0; i < a->count; i++) {
        const struct json_node *x = &a->nodes[i], *y = &b->nodes[i];
        require(x->type == y->type && x->next == y->next && x->first == y->first && x->count == y->count);
        struct buf p, q;
        if (x->key_end > 0) {
            unescape(a, x->key_start, x->key_end, x->key_escaped, &p);
            unescape(b, y->key_start, y->key_end, y->key_escaped, &q);
            require(p.len == q.len && (p.len == 0 || memcmp(p.data, q.data, p.len) == 0));
            buf_free(&p);
            buf_free(&q);
        }
        if (x->type == JSON_STRING) {
            unescape(a, x->start, x->end, x->escaped, &p);
            unescape(b, y->start, y->end, y->escaped, &q);
            require(p.len == q.len && (p.len == 0 || memcmp(p.data, q.data, p.len) == 0));
            buf_free(&p);
            buf_free(&q);
        } else if (x->type == JSON_NUMBER) {
            require(x->end - x->start == y->end - y->start);
            require(memcmp(a->text + x->start, b->text + y->start, x->end - x->start) == 0);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct json_doc doc, again;
    struct err err;
    json_doc_init(&doc);
    json_doc_init(&again);
    struct buf text;
    buf_init(&text, 8 * size + 64);
    if (!json_parse(&doc, (const char *)data, size, MAX_NODES, &err)) {
        require(doc.count == 0 && err.kind == ERR_INVALID);
        goto out;
    }
    check_spans(&doc, json_root(&doc));
    /* Nodes lie in the order of the text, so one pass splices them all. */
    uint32_t done = 0;
    for (size_t i = 0; i < doc.count; i++) {
        const struct json_node *n = &doc.nodes[i];
        if (n->key_end > 0) {
            require(n->key_start >= done);
            buf_append(&text, data + done, n->key_start - done);
            copy_span(&doc, n->key_start, n->key_end, n->key_escaped, &text);
            done = n->key_end;
        }
        if (n->type == JSON_STRING) {
            require(n->start >= done);
            buf_append(&text, data + done, n->start - done);
            copy_span(&doc, n->start, n->end, n->escaped, &text);
            done = n->end;
        }
    }
    buf_append(&text, data + done, size - done);
    require(!text.failed);
    require(json_parse(&again, (char *)text.data, text.len, MAX_NODES, &err));
    require_equal(&doc, &again);
out:
    buf_free(&text);
    json_doc_free(&doc);
    json_doc_free(&again);
    return 0;
}
