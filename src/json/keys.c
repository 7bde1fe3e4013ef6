#include "json/internal.h"

#include <string.h>

#include "base/mem.h"

/* Up to this many members are compared pair by pair: what a streamed chunk has. */
#define PAIRWISE_MAX 16

/* A key's unescaped bytes, one after the other. */
struct cursor {
    const char *p, *end;
    uint8_t piece[4];
    size_t piece_len, piece_pos;
};

struct key_ref {
    uint32_t hash;
    uint32_t node;
};

static struct cursor cursor_at(const struct json_doc *doc, const struct json_node *node)
{
    return (struct cursor){.p = doc->text + node->key_start + 1, .end = doc->text + node->key_end - 1};
}

/* The next byte, or -1 at the end. */
static int cursor_next(struct cursor *c)
{
    if (c->piece_pos < c->piece_len) {
        return c->piece[c->piece_pos++];
    }
    if (c->p == c->end) {
        return -1;
    }
    if (*c->p != '\\') {
        return (uint8_t)*c->p++;
    }
    c->p = json_unescape_one(c->p, c->piece, &c->piece_len);
    c->piece_pos = 1;
    return c->piece[0];
}

static bool keys_equal(const struct json_doc *doc, const struct json_node *a, const struct json_node *b)
{
    if (!a->key_escaped && !b->key_escaped) {
        uint32_t n = a->key_end - a->key_start;
        return n == b->key_end - b->key_start &&
               memcmp(doc->text + a->key_start, doc->text + b->key_start, n) == 0;
    }
    struct cursor x = cursor_at(doc, a), y = cursor_at(doc, b);
    int byte;
    do {
        byte = cursor_next(&x);
        if (byte != cursor_next(&y)) {
            return false;
        }
    } while (byte >= 0);
    return true;
}

/* Order of the unescaped bytes. */
static int keys_compare(const struct json_doc *doc, uint32_t a, uint32_t b)
{
    struct cursor x = cursor_at(doc, &doc->nodes[a]), y = cursor_at(doc, &doc->nodes[b]);
    for (;;) {
        int m = cursor_next(&x), n = cursor_next(&y);
        if (m != n) {
            return m < n ? -1 : 1;
        }
        if (m < 0) {
            return 0;
        }
    }
}

/* FNV-1a: only makes most comparisons short. Keys made to collide cost comparisons of their bytes, no more. */
static uint32_t key_hash(const struct json_doc *doc, const struct json_node *node)
{
    struct cursor c = cursor_at(doc, node);
    uint32_t hash = 2166136261u;
    for (int byte; (byte = cursor_next(&c)) >= 0;) {
        hash = (hash ^ (uint32_t)byte) * 16777619u;
    }
    return hash;
}

static int refs_compare(const struct json_doc *doc, struct key_ref a, struct key_ref b)
{
    if (a.hash != b.hash) {
        return a.hash < b.hash ? -1 : 1;
    }
    return keys_compare(doc, a.node, b.node);
}

/* Merge sort from below, through the second half of refs. Not qsort, whose worst case the library leaves open: each of
 * the log n passes compares every key's bytes about once. Equal keys meet in some merge; *equal is then set. */
static void sort_refs(const struct json_doc *doc, struct key_ref *refs, size_t n, bool *equal)
{
    struct key_ref *from = refs, *to = refs + n;
    for (size_t width = 1; width < n && !*equal; width *= 2) {
        for (size_t left = 0; left < n; left += 2 * width) {
            size_t middle = left + width < n ? left + width : n;
            size_t right = left + 2 * width < n ? left + 2 * width : n;
            size_t a = left, b = middle, out = left;
            while (a < middle && b < right) {
                int order = refs_compare(doc, from[a], from[b]);
                *equal |= order == 0;
                to[out++] = order <= 0 ? from[a++] : from[b++];
            }
            memcpy(to + out, from + a, (middle - a) * sizeof *to);
            memcpy(to + out + (middle - a), from + b, (right - b) * sizeof *to);
        }
        struct key_ref *swap = from;
        from = to;
        to = swap;
    }
}

static bool duplicate(const struct json_doc *doc, const struct json_node *object, struct err *err)
{
    return err_set(err, ERR_INVALID, "not valid JSON: two members of one name in the object at byte %u",
                   (unsigned)object->start);
}

bool json_keys_unique(const struct json_doc *doc, uint32_t object, struct err *err)
{
    const struct json_node *nodes = doc->nodes, *parent = &nodes[object];
    size_t n = parent->count;
    if (n <= PAIRWISE_MAX) {
        for (uint32_t i = parent->first; i != 0; i = nodes[i].next) {
            for (uint32_t j = nodes[i].next; j != 0; j = nodes[j].next) {
                if (keys_equal(doc, &nodes[i], &nodes[j])) {
                    return duplicate(doc, parent, err);
                }
            }
        }
        return true;
    }
    struct key_ref *refs = mem_alloc(2 * n * sizeof *refs);
    if (refs == NULL) {
        return err_set(err, ERR_MEMORY, "no memory to compare the names of %zu JSON members", n);
    }
    size_t filled = 0;
    for (uint32_t i = parent->first; i != 0; i = nodes[i].next) {
        refs[filled++] = (struct key_ref){key_hash(doc, &nodes[i]), i};
    }
    bool equal = false;
    sort_refs(doc, refs, n, &equal);
    mem_free(refs);
    return !equal || duplicate(doc, parent, err);
}
