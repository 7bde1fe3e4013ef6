/* RFC 8259 cases of our own: what a strict reader takes, what it refuses, and what it says of a text. */
#include "cases.h"

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
    assert_true(json_append_string(&text, NULL, 0));
    assert_memory_equal(text.data, "\"\"", 2);
    buf_free(&text);
    assert_true(json_utf8_valid("a\xc3\xa9", 3));
    assert_false(json_utf8_valid("a\xc3", 2));
    assert_false(json_utf8_valid("\xed\xa0\x80", 3));
}

/* What looks at eight bytes at once must see the same at every place. */
static void test_every_place(void **state)
{
    struct buf out;
    buf_init(&out, 256);
    for (size_t len = 1; len < 28; len++) {
        for (size_t at = 0; at < len; at++) {
            char raw[32], wanted[40];
            memset(raw, 'x', sizeof raw);
            memset(wanted, 'x', sizeof wanted);
            raw[at] = at % 2 ? '"' : '\\';
            wanted[at] = '\\';
            wanted[at + 1] = raw[at];
            buf_reset(&out);
            assert_true(json_append_escaped(&out, raw, len));
            assert_int_equal(out.len, len + 1);
            assert_memory_equal(out.data, wanted, len + 1);
            raw[at] = '\x1f';
            buf_reset(&out);
            assert_true(json_append_escaped(&out, raw, len));
            assert_int_equal(out.len, len + 5);
            assert_memory_equal(out.data + at, "\\u001f", 6);
            raw[at] = '\xff';
            assert_false(json_utf8_valid(raw, len));
            raw[at] = '\xc3';
            assert_false(json_utf8_valid(raw, len));
            raw[at + 1] = '\xa9';
            assert_int_equal(json_utf8_valid(raw, len), at + 1 < len);
            buf_reset(&out);
            assert_true(json_append_escaped(&out, raw, len));
            assert_int_equal(out.len, len);
            assert_memory_equal(out.data, raw, len);
        }
    }
    buf_free(&out);
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
        cmocka_unit_test(test_every_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
