/* RFC 8259 cases of our own: what a strict reader takes, what it refuses, and what hostile texts cost. */
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

struct text {
    const char *data;
    size_t len;
};
#define T(literal)                                                                                           \
    {                                                                                                        \
        literal, sizeof literal - 1                                                                          \
    }

static const struct text accepted[] = {
    T("null"),
    T(" true "),
    T("false\n"),
    T("\t[]\r\n"),
    T("{}"),
    T("[ ]"),
    T("{ }"),
    T("0"),
    T("-0"),
    T("-0.0"),
    T("1.0"),
    T("10"),
    T("1e400"),
    T("1E+2"),
    T("1e-2"),
    T("-1.5e0"),
    T("0e1"),
    T("9007199254740993"),
    T("123456789012345678901234567890"),
    T("\"\""),
    T("\"a\""),
    T("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""),
    T("\"\\u0000\""),
    T("\"\\u00e9\\u20AC\""),
    T("\"\\ud83d\\ude00\""),
    T("\"\\uDBFF\\uDFFF\""),
    T("\"\xc3\xa9\""),
    T("\"\xe2\x82\xac\""),
    T("\"\xf0\x9f\x98\x80\""),
    T("\"\xf4\x8f\xbf\xbf\""),
    T("\"\xef\xbb\xbf\""),
    T("\"\x7f\""),
    T("\"\xe2\x80\xa8\""),
    T("\"\xef\xbf\xbf\""),
    T("[1,2 , 3]"),
    T("[[],{},\"\"]"),
    T("{\"\":0}"),
    T("{\"a\":{\"a\":{\"a\":[]}}}"),
    T("{\"a\":1,\"A\":2}"),
    T("{\"a\":1,\"a \":2,\"\\u0061\\u0000\":3}"),
    T(" { \"a\" : [ true , false , null ] , \"b\" : -1 } "),
};

static const struct text refused[] = {
    T(""),
    T(" "),
    T("\xef\xbb\xbf{}"),
    T("nul"),
    T("nullx"),
    T("True"),
    T("NaN"),
    T("Infinity"),
    T("-"),
    T("+1"),
    T("01"),
    T("-01"),
    T("1."),
    T(".5"),
    T("1e"),
    T("1e+"),
    T("0x10"),
    T("1_0"),
    T("1 2"),
    T("\""),
    T("\"a"),
    T("\"\\"),
    T("\"\\\""),
    T("'a'"),
    T("\"\\x41\""),
    T("\"\\u12\""),
    T("\"\\u123g\""),
    T("\"\\U0041\""),
    T("\"\\\0\""),
    T("\"\t\""),
    T("\"\n\""),
    T("\"\0\""),
    T("\"\x1f\""),
    T("\"\\ud800\""),
    T("\"\\udc00\""),
    T("\"\\ud800\\u0041\""),
    T("\"\\ud800\\ud800\""),
    T("\"\\ud800abcdef\""),
    T("\"\\ude00\\ud83d\""),
    T("\"\\ud83d\\ude0\""),
    T("\"\xff\""),
    T("\"\x80\""),
    T("\"\xc0\x80\""),
    T("\"\xc1\xbf\""),
    T("\"\xc3\""),
    T("\"\xc3\x28\""),
    T("\"\xe0\x80\x80\""),
    T("\"\xed\xa0\x80\""),
    T("\"\xe2\x82\""),
    T("\"\xe2\x28\xac\""),
    T("\"\xf0\x80\x80\x80\""),
    T("\"\xf4\x90\x80\x80\""),
    T("\"\xf5\x80\x80\x80\""),
    T("\"\xf0\x9f\x98\""),
    T("["),
    T("]"),
    T("[1"),
    T("[1,"),
    T("[1,]"),
    T("[,1]"),
    T("[1,,2]"),
    T("[1 2]"),
    T("[1}"),
    T("[\"a\":1]"),
    T("{"),
    T("}"),
    T("{\"a\""),
    T("{\"a\":"),
    T("{\"a\":1"),
    T("{\"a\":1,"),
    T("{\"a\":1,}"),
    T("{\"a\" 1}"),
    T("{a:1}"),
    T("{1:1}"),
    T("{\"a\":1]"),
    T("{,}"),
    T("{\"a\":1,,\"b\":2}"),
    T("[]]"),
    T("{}{}"),
    T("[] x"),
    T("[]\0"),
    T("\0"),
    T("// a\n1"),
    T("/* a */ 1"),
    T("[1]/**/"),
    T("\x0c[]"),
    T("\xc2\xa0[]"),
    T("{\"a\":1,\"a\":1}"),
    T("{\"a\":1,\"\\u0061\":2}"),
    T("{\"\\u00e9\":1,\"\xc3\xa9\":2}"),
    T("{\"\\ud83d\\ude00\":1,\"\xf0\x9f\x98\x80\":2}"),
    T("{\"\":1,\"\":2}"),
    T("[{\"b\":{\"x\":1,\"y\":2,\"x\":3}}]"),
};

/* From memory of exactly the text's size, so that a sanitizer sees the first byte read past it. */
static bool parses(const char *data, size_t len, struct err *err)
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

static void test_accepted(void **state)
{
    for (size_t i = 0; i < sizeof accepted / sizeof *accepted; i++) {
        struct err err = {0};
        if (!parses(accepted[i].data, accepted[i].len, &err)) {
            fail_msg("case %zu: %s", i, err.message);
        }
    }
}

static void test_refused(void **state)
{
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        struct err err = {0};
        if (parses(refused[i].data, refused[i].len, &err)) {
            fail_msg("case %zu was taken", i);
        }
        assert_int_equal(err.kind, ERR_INVALID);
        assert_non_null(strstr(err.message, " at byte "));
    }
}

/* Every rule of strings holds wherever the string lies against the eight-byte steps. */
static void test_strings_at_every_alignment(void **state)
{
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        for (size_t pad = 0; pad < 20 && refused[i].len > 2 && refused[i].data[0] == '"'; pad++) {
            char text[128] = "\"";
            memset(text + 1, 'x', pad);
            memcpy(text + 1 + pad, refused[i].data + 1, refused[i].len - 1);
            assert_false(parses(text, refused[i].len + pad, NULL));
        }
    }
    for (size_t i = 0; i < sizeof accepted / sizeof *accepted; i++) {
        for (size_t pad = 0; pad < 20 && accepted[i].data[0] == '"'; pad++) {
            char text[128] = "\"";
            memset(text + 1, 'x', pad);
            memcpy(text + 1 + pad, accepted[i].data + 1, accepted[i].len - 1);
            assert_true(parses(text, accepted[i].len + pad, NULL));
        }
    }
}

static void test_every_cut_is_refused(void **state)
{
    static const char text[] = "{\"a\":[1,\"\\ud83d\\ude00\xe2\x82\xac\",{\"b\":true}],\"c\":null}";
    for (size_t len = 0; len < sizeof text - 1; len++) {
        assert_false(parses(text, len, NULL));
    }
    assert_true(parses(text, sizeof text - 1, NULL));
}

static void test_spans_and_links(void **state)
{
    static const char text[] = " {\"a\" : [1, \"x\\n\"], \"\\u0062\":{}, \"c\":-1.50} ";
    struct json_doc doc;
    struct err err;
    json_doc_init(&doc);
    assert_true(json_parse(&doc, text, sizeof text - 1, NODES, &err));
    assert_int_equal(doc.count, 6);
    const struct json_node *root = json_root(&doc);
    assert_int_equal(root->type, JSON_OBJECT);
    assert_int_equal(root->count, 3);
    assert_int_equal(root->start, 1);
    assert_int_equal(root->end, sizeof text - 2);
    const struct json_node *a = json_first(&doc, root);
    assert_true(json_key_is(&doc, a, "a"));
    assert_memory_equal(text + a->start, "[1, \"x\\n\"]", a->end - a->start);
    const struct json_node *one = json_first(&doc, a), *x = json_next(&doc, one);
    assert_int_equal(one->key_end, 0);
    assert_int_equal(x->escaped, 1);
    assert_true(json_string_is(&doc, x, "x\n"));
    assert_false(json_string_is(&doc, x, "x"));
    assert_false(json_string_is(&doc, x, "x\nn"));
    assert_null(json_next(&doc, x));
    const struct json_node *b = json_member(&doc, root, "b");
    assert_non_null(b);
    assert_int_equal(b->key_escaped, 1);
    assert_null(json_first(&doc, b));
    const struct json_node *c = json_member(&doc, root, "c");
    assert_memory_equal(text + c->start, "-1.50", 5);
    assert_null(json_member(&doc, root, "d"));
    assert_null(json_member(&doc, a, "a"));
    assert_null(json_member(&doc, NULL, "a"));
    json_doc_free(&doc);
}

static void test_values(void **state)
{
    static const char text[] =
        "[18446744073709551615,18446744073709551616,-1,1.0,1e2,0,-0,1e400,true,false,null,"
        "\"a\\u0000b\",\"\\u20ac\\ud83d\\ude00\\\\\\/\"]";
    struct json_doc doc;
    struct err err;
    uint64_t u;
    double d;
    bool flag;
    char small[4], room[32];
    json_doc_init(&doc);
    assert_true(json_parse(&doc, text, sizeof text - 1, NODES, &err));
    const struct json_node *n = json_first(&doc, json_root(&doc));
    assert_true(json_u64(&doc, n, &u) && u == UINT64_MAX);
    for (int i = 0; i < 4; i++) {
        n = json_next(&doc, n);
        assert_false(json_u64(&doc, n, &u));
        assert_true(json_double(&doc, n, &d));
    }
    assert_true(d == 100);
    n = json_next(&doc, n);
    assert_true(json_u64(&doc, n, &u) && u == 0);
    n = json_next(&doc, n);
    assert_true(json_double(&doc, n, &d) && d == 0);
    n = json_next(&doc, n);
    assert_true(json_double(&doc, n, &d) && isinf(d));
    assert_false(json_bool(n, &flag));
    n = json_next(&doc, n);
    assert_true(json_bool(n, &flag) && flag);
    n = json_next(&doc, n);
    assert_true(json_bool(n, &flag) && !flag);
    n = json_next(&doc, n);
    assert_false(json_bool(n, &flag) || json_double(&doc, n, &d) || json_u64(&doc, n, &u));
    n = json_next(&doc, n);
    assert_false(json_string_copy(&doc, n, room, sizeof room));
    n = json_next(&doc, n);
    assert_true(json_string_copy(&doc, n, room, sizeof room));
    assert_string_equal(room, "\xe2\x82\xac\xf0\x9f\x98\x80\\/");
    assert_false(json_string_copy(&doc, n, small, sizeof small));
    assert_string_equal(small, "");
    struct buf out;
    buf_init(&out, 9);
    assert_true(json_string_get(&doc, n, &out));
    assert_int_equal(out.len, 9);
    buf_free(&out);
    buf_init(&out, 8);
    assert_false(json_string_get(&doc, n, &out));
    assert_int_equal(out.len, 0);
    json_doc_free(&doc);
}

static void test_present(void **state)
{
    static const char text[] = "{\"a\":null,\"b\":false}";
    struct json_doc doc;
    struct err err;
    json_doc_init(&doc);
    assert_true(json_parse(&doc, text, sizeof text - 1, NODES, &err));
    assert_non_null(json_member(&doc, json_root(&doc), "a"));
    assert_null(json_present(&doc, json_root(&doc), "a"));
    assert_non_null(json_present(&doc, json_root(&doc), "b"));
    json_doc_free(&doc);
}

static void test_escaping(void **state)
{
    char raw[256 + 8];
    for (int i = 0; i < 128; i++) {
        raw[i] = (char)i;
    }
    memcpy(raw + 128, "\xc3\xa9\xf0\x9f\x98\x80", 6);
    struct buf text, back;
    buf_init(&text, 4096);
    buf_init(&back, 4096);
    assert_true(json_append_string(&text, raw, 134));
    struct json_doc doc;
    struct err err;
    json_doc_init(&doc);
    assert_true(json_parse(&doc, (char *)text.data, text.len, NODES, &err));
    assert_true(json_string_get(&doc, json_root(&doc), &back));
    assert_int_equal(back.len, 134);
    assert_memory_equal(back.data, raw, 134);
    json_doc_free(&doc);
    buf_reset(&text);
    assert_true(json_append_escaped(&text, "\x0b\n\x1f", 3));
    assert_int_equal(text.len, 14);
    assert_memory_equal(text.data, "\\u000b\\n\\u001f", 14);
    buf_free(&text);
    buf_free(&back);
    assert_true(json_utf8_valid("a\xc3\xa9", 3));
    assert_false(json_utf8_valid("a\xc3", 2));
    assert_false(json_utf8_valid("\xed\xa0\x80", 3));
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
        cmocka_unit_test(test_accepted),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_strings_at_every_alignment),
        cmocka_unit_test(test_every_cut_is_refused),
        cmocka_unit_test(test_spans_and_links),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_present),
        cmocka_unit_test(test_escaping),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_hostile_nesting),
        cmocka_unit_test(test_node_limit),
        cmocka_unit_test(test_huge_objects),
        cmocka_unit_test(test_reuse),
        cmocka_unit_test(test_allocation_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
