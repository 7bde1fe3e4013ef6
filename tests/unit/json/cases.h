/* What a strict JSON reader takes and refuses (RFC 8259), and how the tests ask ours. */
#ifndef E2EE_TESTS_JSON_CASES_H
#define E2EE_TESTS_JSON_CASES_H

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

#endif
