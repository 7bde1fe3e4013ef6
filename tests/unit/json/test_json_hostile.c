/* What hostile texts cost the reader, counted in nodes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "base/mem.h"
#include "fault.h"
#include "json/json.h"

#define NODES LIMIT_JSON_NODES

/* From memory of exactly the text's size, so that a sanitizer sees the first byte read past it. */
static inline bool parses(const char *data, size_t len, struct err *err)
{
    char *copy = mem_alloc(len);
    assert_non_null(copy);
    memcpy(copy, data, len);
    struct json_doc doc;
    json_doc_init(&doc);
    bool ok = json_parse(&doc, copy, len, NODES, err);
    assert_true(ok == (doc.count > 0));
    assert_true(ok == (json_root(&doc) != NULL));
    json_doc_free(&doc);
    mem_free(copy);
    return ok;
}

/* Each byte value at each place of a string, in texts of each length: vectors of sixteen and the rest alike. */
static void test_each_byte_at_each_place(void **state)
{
    struct err err;
    char text[44];
    for (size_t len = 3; len <= sizeof text; len++) {
        for (size_t at = 1; at < len - 1; at++) {
            for (int c = 0; c < 256; c++) {
                memset(text, 'x', len);
                text[0] = text[len - 1] = '"';
                text[at] = (char)c;
                bool good = c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
                if (parses(text, len, &err) != good) {
                    fail_msg("byte %d at %zu of %zu", c, at, len);
                }
                assert_true(json_utf8_valid(text, len) == (c < 0x80));
            }
        }
    }
}

static void test_depth(void **state)
{
    char text[2 * LIMIT_JSON_DEPTH + 2];
    memset(text, '[', LIMIT_JSON_DEPTH);
    memset(text + LIMIT_JSON_DEPTH, ']', LIMIT_JSON_DEPTH);
    assert_true(parses(text, 2 * LIMIT_JSON_DEPTH, NULL));
    memset(text, '[', LIMIT_JSON_DEPTH + 1);
    memset(text + LIMIT_JSON_DEPTH + 1, ']', LIMIT_JSON_DEPTH + 1);
    assert_false(parses(text, 2 * LIMIT_JSON_DEPTH + 2, NULL));
}

/* Ten megabytes of opening brackets: refused at the 65th, after 65 nodes. */
static void test_hostile_nesting(void **state)
{
    static const char *const units[] = {"[", "{\"a\":", "[{\"a\":", "[[],"};
    for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
        size_t len = 10 << 20, unit = strlen(units[u]);
        char *text = mem_alloc(len);
        assert_non_null(text);
        for (size_t i = 0; i < len; i++) {
            text[i] = units[u][i % unit];
        }
        struct json_doc doc;
        struct err err;
        json_doc_init(&doc);
        assert_false(json_parse(&doc, text, len, NODES, &err));
        assert_int_equal(err.kind, ERR_INVALID);
        assert_true(doc.cap <= 256);
        json_doc_free(&doc);
        mem_free(text);
    }
}

static void test_node_limit(void **state)
{
    struct json_doc doc;
    struct err err;
    json_doc_init(&doc);
    assert_true(json_parse(&doc, "[1,2,3]", 7, 4, &err));
    assert_false(json_parse(&doc, "[1,2,3]", 7, 3, &err));
    assert_false(json_parse(&doc, "1", 1, 0, &err));
    assert_int_equal(doc.count, 0);
    size_t len = 2 * (size_t)NODES;
    char *text = mem_alloc(len + 2);
    assert_non_null(text);
    for (size_t i = 0; i < len; i += 2) {
        memcpy(text + i, i == 0 ? "[0" : ",0", 2);
    }
    memcpy(text + len - 2, "] ", 2);
    assert_true(json_parse(&doc, text, len, SIZE_MAX, &err));
    assert_int_equal(doc.count, NODES);
    memcpy(text + len - 2, ",0]", 3);
    assert_false(json_parse(&doc, text, len + 1, SIZE_MAX, &err));
    assert_true(doc.cap <= NODES);
    assert_non_null(strstr(err.message, "too many"));
    json_doc_free(&doc);
    mem_free(text);
}

/* An object of n members; name writes the key of each. */
static bool parse_object(size_t n, void (*name)(struct buf *, size_t), struct json_doc *doc, struct buf *text,
                         struct err *err)
{
    buf_init(text, 64 << 20);
    for (size_t i = 0; i < n; i++) {
        buf_append_str(text, i == 0 ? "{\"" : ",\"");
        name(text, i);
        buf_append_str(text, "\":0");
    }
    buf_append_str(text, "}");
    assert_false(text->failed);
    json_doc_init(doc);
    return json_parse(doc, (char *)text->data, text->len, NODES, err);
}

static void name_number(struct buf *b, size_t i)
{
    buf_appendf(b, "%zu", i);
}

/* For each level two different words that lead the parser's hash (FNV-1a, 32 bits) from the state before to one same
 * state: 17 levels chained give 2^17 different keys of one hash. */
#define LEVELS 17
static char collisions[LEVELS][2][16];

static uint32_t fnv(uint32_t state, const char *word)
{
    while (*word != '\0') {
        state = (state ^ (uint8_t)*word++) * 16777619u;
    }
    return state;
}

static void find_collisions(void)
{
    enum { SLOTS = 1 << 20 };
    uint32_t state = 2166136261u, *table = mem_alloc(SLOTS * sizeof *table);
    assert_non_null(table);
    for (int level = 0; level < LEVELS; level++) {
        memset(table, 0, SLOTS * sizeof *table);
        bool found = false;
        for (uint32_t i = 1; i < SLOTS / 2 && !found; i++) {
            char *word = collisions[level][0], *other = collisions[level][1];
            snprintf(word, 16, "%08x", i * 2654435761u);
            uint32_t hash = fnv(state, word), slot = hash % SLOTS;
            for (; table[slot] != 0 && !found; slot = (slot + 1) % SLOTS) {
                snprintf(other, 16, "%08x", table[slot] * 2654435761u);
                found = fnv(state, other) == hash;
            }
            table[slot] = i;
        }
        assert_true(found);
        state = fnv(state, collisions[level][0]);
    }
    mem_free(table);
}

static void name_colliding(struct buf *b, size_t i)
{
    for (int level = 0; level < LEVELS; level++) {
        buf_append_str(b, collisions[level][i >> level & 1]);
    }
}

/* Long common beginnings: comparisons that see nothing new for 200 bytes. */
static void name_prefix(struct buf *b, size_t i)
{
    for (int k = 0; k < 10; k++) {
        buf_append_str(b, "aaaaaaaaaaaaaaaaaaaa");
    }
    buf_appendf(b, "%zu", i);
}

static void name_last_is_first(struct buf *b, size_t i)
{
    buf_appendf(b, "%zu", i == 9999 ? 0 : i);
}

static void name_escaped_duplicate(struct buf *b, size_t i)
{
    if (i == 777) {
        buf_append_str(b, "\\u0031\\u0032");
    } else {
        buf_appendf(b, "%zu", i);
    }
}

static void test_huge_objects(void **state)
{
    find_collisions();
    static const struct {
        size_t n;
        void (*name)(struct buf *, size_t);
        bool ok;
    } cases[] = {
        {17, name_number, true},
        {100000, name_number, true},
        {NODES - 1, name_number, true},
        {1000000, name_number, false}, /* past the node limit */
        {1 << 17, name_colliding, true},
        {100000, name_prefix, true},
        {10000, name_last_is_first, false},
        {1000, name_escaped_duplicate, false},
        {(1 << 17) + 1, name_colliding, false}, /* the last key is the first again */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct json_doc doc;
        struct buf text;
        struct err err = {0};
        if (parse_object(cases[i].n, cases[i].name, &doc, &text, &err) != cases[i].ok) {
            fail_msg("case %zu: %s", i, err.message);
        }
        assert_int_equal(doc.count, cases[i].ok ? cases[i].n + 1 : 0);
        assert_true(doc.cap <= NODES);
        json_doc_free(&doc);
        buf_free(&text);
    }
}

static void test_reuse(void **state)
{
    struct json_doc doc;
    struct err err;
    json_doc_init(&doc);
    for (int i = 0; i < 100; i++) {
        assert_true(json_parse(&doc, "{\"a\":[1,2,3]}", 13, NODES, &err));
        assert_false(json_parse(&doc, "{\"a\":[1,2,3]", 12, NODES, &err));
        assert_int_equal(doc.cap, 64);
    }
    json_doc_free(&doc);
}

static void test_allocation_faults(void **state)
{
    struct buf text;
    struct json_doc doc;
    struct err err;
    assert_true(parse_object(1000, name_number, &doc, &text, &err));
    json_doc_free(&doc);
    size_t nth = 0;
    for (bool ok = false; !ok;) {
        fault_alloc_at(++nth);
        json_doc_init(&doc);
        ok = json_parse(&doc, (char *)text.data, text.len, NODES, &err);
        assert_true(ok != fault_alloc_hit());
        fault_alloc_at(0);
        if (!ok) {
            assert_int_equal(err.kind, ERR_MEMORY);
            assert_int_equal(doc.count, 0);
        }
        json_doc_free(&doc);
    }
    assert_true(nth >= 3);
    buf_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_byte_at_each_place),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_hostile_nesting),
        cmocka_unit_test(test_node_limit),
        cmocka_unit_test(test_huge_objects),
        cmocka_unit_test(test_reuse),
        cmocka_unit_test(test_allocation_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
