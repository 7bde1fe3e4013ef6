/* What is judged before a body is read, asked of a real worker. */
#include "server/fixture.h"

struct rule {
    const char *request;
    int status;
    const char *code; /* NULL: none expected */
};

static void check_rules(const struct rule *rules, size_t count)
{
    struct fixture *f = fixture_run();
    struct heard *h = malloc(sizeof *h);
    assert_non_null(h);
    for (size_t i = 0; i < count; i++) {
        ask(f, rules[i].request, h);
        /* Which of the two an unknown coding gets depends on llhttp's version. */
        if (rules[i].status == 501 && h->status == 400) {
            continue;
        }
        if (h->status != rules[i].status) {
            print_message("rule %zu: %.80s\n-> %.300s\n", i, rules[i].request, h->text);
        }
        assert_int_equal(h->status, rules[i].status);
        /* Never a second answer: what follows a refused request is no request. */
        const char *date = strstr(h->text, "\r\nDate: ");
        assert_true(date == NULL || strstr(date + 1, "\r\nDate: ") == NULL);
        if (rules[i].code != NULL) {
            char want[64];
            snprintf(want, sizeof want, "\"code\":\"%s\"}}", rules[i].code);
            assert_non_null(strstr(h->text, want));
            assert_non_null(strstr(h->text, "Content-Type: application/json\r\n"));
        }
    }
    free(h);
    fixture_end(f);
}

#define RULES(r) check_rules(r, sizeof r / sizeof r[0])

static void test_host(void **state)
{
    static const struct rule rules[] = {
        {"GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n", 200, NULL},
        {"GET /hello HTTP/1.1\r\nHost: LOCALHOST:5111\r\n\r\n", 200, NULL},
        {"GET /hello HTTP/1.1\r\nhost:127.0.0.1:1\r\n\r\n", 200, NULL},
        {"GET /hello HTTP/1.1\r\nHost: [::1]:5111\r\n\r\n", 200, NULL},
        {"GET /hello HTTP/1.1\r\nHost: host.docker.internal:5111\r\n\r\n", 200, NULL},
        {"GET /hello HTTP/1.1\r\nHost: proxy.test:8080\r\n\r\n", 200, NULL},
        {"GET /hello HTTP/1.1\r\nHost: proxy.test:8081\r\n\r\n", 403, "forbidden_origin"},
        {"GET /hello HTTP/1.1\r\nHost: evil.example\r\n\r\n", 403, "forbidden_origin"},
        {"GET /hello HTTP/1.1\r\nHost: localhost.evil.example\r\n\r\n", 403, "forbidden_origin"},
        {"GET /hello HTTP/1.1\r\n\r\n", 400, "invalid_request"},
        {"GET /hello HTTP/1.0\r\n\r\n", 400, "invalid_request"},
        {"GET /hello HTTP/1.1\r\nHost:\r\n\r\n", 400, "invalid_request"},
        {"GET /hello HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 400, "invalid_request"},
        {"GET /hello HTTP/1.1\r\nHost: localhost\r\nHOST: evil\r\n\r\n", 400, "invalid_request"},
        {"GET /hello HTTP/1.1\r\nHost: user@localhost\r\n\r\n", 400, "invalid_request"},
        {"GET /hello HTTP/1.1\r\nHost: localhost, localhost\r\n\r\n", 400, "invalid_request"},
        {"GET /hello HTTP/1.1\r\nHost: localhost:99999\r\n\r\n", 400, "invalid_request"},
        {"GET /hello HTTP/1.1\r\nHost: localhost:\r\n\r\n", 400, "invalid_request"},
        {"GET /hello HTTP/1.1\r\nHost: [::1\r\n\r\n", 400, "invalid_request"},
    };
    RULES(rules);
}

#define GET_WITH(fields) "GET /hello HTTP/1.1\r\n" SAY_HOST fields "\r\n"
#define POST_WITH(fields) "POST /echo HTTP/1.1\r\n" SAY_HOST "Content-Length: 2\r\n" fields "\r\n{}"

static void test_origin(void **state)
{
    static const struct rule rules[] = {
        {GET_WITH("Origin: http://localhost:3000\r\n"), 200, NULL},
        {GET_WITH("Origin: https://127.0.0.1\r\n"), 200, NULL},
        {GET_WITH("Origin: http://[::1]:8080\r\nSec-Fetch-Site: cross-site\r\n"), 200, NULL},
        {GET_WITH("Origin: https://chat.example.com\r\nSec-Fetch-Site: cross-site\r\n"), 200, NULL},
        {GET_WITH("Origin: vscode-webview://1a2b3c\r\n"), 200, NULL},
        {GET_WITH("Origin: null\r\n"), 403, "forbidden_origin"},
        {GET_WITH("Origin:\r\n"), 403, "forbidden_origin"},
        {GET_WITH("Origin: https://evil.example\r\n"), 403, "forbidden_origin"},
        {GET_WITH("Origin: https://chat.example.com.evil\r\n"), 403, "forbidden_origin"},
        {GET_WITH("Origin: http://localhost.evil.example\r\n"), 403, "forbidden_origin"},
        {GET_WITH("Origin: http://localhost:3000/x\r\n"), 403, "forbidden_origin"},
        {GET_WITH("Origin: http://localhost\r\nOrigin: https://evil.example\r\n"), 403, "forbidden_origin"},
        {GET_WITH("Sec-Fetch-Site: cross-site\r\n"), 403, "forbidden_origin"},
        {GET_WITH("Sec-Fetch-Site: none\r\nSec-Fetch-Site: cross-site\r\n"), 403, "forbidden_origin"},
        {GET_WITH("Sec-Fetch-Site: cross-site\r\nSec-Fetch-Site: none\r\n"), 403, "forbidden_origin"},
        {GET_WITH("Sec-Fetch-Site: same-origin\r\n"), 200, NULL},
        {POST_WITH("Content-Type: application/json\r\n"), 200, NULL},
        {POST_WITH("Content-Type: Application/JSON; charset=utf-8\r\n"), 200, NULL},
        {POST_WITH("Content-Type: text/plain\r\n"), 415, "unsupported_media_type"},
        {POST_WITH("Content-Type: application/jsonx\r\n"), 415, "unsupported_media_type"},
        {POST_WITH("Content-Type: application/x-www-form-urlencoded\r\n"), 415, "unsupported_media_type"},
        {POST_WITH("Content-Type: text/plain\r\nContent-Type: application/json\r\n"), 415, NULL},
        {POST_WITH(""), 415, "unsupported_media_type"},
    };
    RULES(rules);
}

#define POST_HEAD(fields) "POST /echo HTTP/1.1\r\n" SAY_HOST SAY_JSON fields "\r\n"
#define CHUNKED POST_HEAD("Transfer-Encoding: chunked\r\n")

static void test_smuggling(void **state)
{
    static const struct rule rules[] = {
        {POST_HEAD("Content-Length: 2\r\n") "{}", 200, NULL},
        {POST_HEAD("Content-Length:  2 \r\n") "{}", 200, NULL},
        {POST_HEAD("Content-Length: 2\r\nTransfer-Encoding: chunked\r\n") "0\r\n\r\n", 400, NULL},
        {POST_HEAD("Transfer-Encoding: chunked\r\nContent-Length: 2\r\n") "0\r\n\r\n", 400, NULL},
        {POST_HEAD("Content-Length: 2\r\nContent-Length: 2\r\n") "{}", 400, NULL},
        {POST_HEAD("Content-Length: 2\r\nContent-Length: 3\r\n") "{}", 400, NULL},
        {POST_HEAD("Content-Length: 2, 2\r\n") "{}", 400, NULL},
        {POST_HEAD("Content-Length: +2\r\n") "{}", 400, NULL},
        {POST_HEAD("Content-Length: -2\r\n") "{}", 400, NULL},
        {POST_HEAD("Content-Length: 0x2\r\n") "{}", 400, NULL},
        {POST_HEAD("Content-Length: 1 2\r\n") "{}", 400, NULL},
        {POST_HEAD("Content-Length:\r\n") "{}", 400, NULL},
        {POST_HEAD("Content-Length : 2\r\n") "{}", 400, NULL},
        {POST_HEAD("Content-Length: 99999999999999999999999\r\n") "{}", 400, NULL},
        {POST_HEAD("Content-Length: 18446744073709551615\r\n") "{}", 413, "request_too_large"},
        {POST_HEAD("Content-Length: 10485761\r\n") "{}", 413, "request_too_large"},
        {POST_HEAD("Transfer-Encoding: gzip\r\n") "{}", 501, NULL},
        {POST_HEAD("Transfer-Encoding: identity\r\n") "{}", 501, NULL},
        {POST_HEAD("Transfer-Encoding: gzip, chunked\r\n") "0\r\n\r\n", 501, NULL},
        {POST_HEAD("Transfer-Encoding: chunked, chunked\r\n") "0\r\n\r\n", 501, NULL},
        {POST_HEAD("Transfer-Encoding: xchunked\r\n") "0\r\n\r\n", 501, NULL},
        {POST_HEAD("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n") "0\r\n\r\n", 400, NULL},
        {POST_HEAD("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n") "0\r\n\r\n", 400, NULL},
        {POST_HEAD("Transfer-Encoding : chunked\r\n") "0\r\n\r\n", 400, NULL},
        {"POST /echo HTTP/1.0\r\n" SAY_HOST SAY_JSON "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400,
         NULL},
        {POST_HEAD("X: a\r\n folded\r\n") "", 400, NULL},
        {POST_HEAD("X: a\r\n\tTransfer-Encoding: chunked\r\n") "", 400, NULL},
        {POST_HEAD("X: a\rTransfer-Encoding: chunked\r\n") "", 400, NULL},
        {POST_HEAD("X: a\nTransfer-Encoding: chunked\r\n") "", 400, NULL},
        {POST_HEAD("Expect: a-miracle\r\n") "", 417, NULL},
        {"GET http://localhost/hello HTTP/1.1\r\n" SAY_HOST "\r\n", 400, NULL},
        {"GET http://evil/hello HTTP/1.1\r\n" SAY_HOST "\r\n", 400, NULL},
        {"CONNECT localhost:443 HTTP/1.1\r\n" SAY_HOST "\r\n", 405, NULL},
        {"GET hello HTTP/1.1\r\n" SAY_HOST "\r\n", 400, NULL},
        {"GET * HTTP/1.1\r\n" SAY_HOST "\r\n", 400, NULL},
        {"GET /hello#x HTTP/1.1\r\n" SAY_HOST "\r\n", 400, NULL},
        {"GET /hello?a#x HTTP/1.1\r\n" SAY_HOST "\r\n", 400, NULL},
        {"GET /hel\tlo HTTP/1.1\r\n" SAY_HOST "\r\n", 400, NULL},
        {"GET /hello HTTP/2.0\r\n" SAY_HOST "\r\n", 505, NULL},
        {"GET /hello HTTP/1.2\r\n" SAY_HOST "\r\n", 505, NULL},
        {"GET /hello\r\n" SAY_HOST "\r\n", 505, NULL},
        {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, NULL},
        {"NONSENSE /hello HTTP/1.1\r\n" SAY_HOST "\r\n", 400, NULL},
        {"get /hello HTTP/1.1\r\n" SAY_HOST "\r\n", 400, NULL},
        {"\x16\x03\x01\x02", 400, NULL},
        {"GET /hello HTTP/1.1\r\n" SAY_HOST "Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n", 200, NULL},
        {"\r\nGET /hello HTTP/1.1\r\n" SAY_HOST "\r\n", 200, NULL},
        {"\r\n\r\n\r\nGET /hello HTTP/1.1\r\n" SAY_HOST "\r\n", 400, NULL},
    };
    RULES(rules);
}

static void test_chunks(void **state)
{
    static const struct rule rules[] = {
        {CHUNKED "2\r\n{}\r\n0\r\n\r\n", 200, NULL},
        {CHUNKED "1\r\n{\r\n1\r\n}\r\n0\r\n\r\n", 200, NULL},
        {CHUNKED "2;ext=1\r\n{}\r\n0\r\nTrailer: x\r\n\r\n", 200, NULL},
        {CHUNKED "2\n{}\r\n0\r\n\r\n", 400, NULL},
        {CHUNKED "2\r\n{}\n0\r\n\r\n", 400, NULL},
        {CHUNKED "2\r\n{}XX0\r\n\r\n", 400, NULL},
        {CHUNKED "2\rX{}\r\n0\r\n\r\n", 400, NULL},
        {CHUNKED "2 \r\n{}\r\n0\r\n\r\n", 400, NULL},
        {CHUNKED " 2\r\n{}\r\n0\r\n\r\n", 400, NULL},
        {CHUNKED "+2\r\n{}\r\n0\r\n\r\n", 400, NULL},
        {CHUNKED "-2\r\n{}\r\n0\r\n\r\n", 400, NULL},
        {CHUNKED "0x2\r\n{}\r\n0\r\n\r\n", 400, NULL},
        {CHUNKED "\r\n2\r\n{}\r\n0\r\n\r\n", 400, NULL},
        {CHUNKED "2;a\n{}\r\n0\r\n\r\n", 400, NULL},
        {CHUNKED "2\r\n{}\r\n0\r\n\n", 400, NULL},
        {CHUNKED "2\r\n{}\r\n0\r\nT: x\n\n", 400, NULL},
        {CHUNKED "FFFFFFFFFFFFFFFF2\r\n{}\r\n0\r\n\r\n", 400, NULL},
        {CHUNKED "A00001\r\n", 0, NULL},
    };
    RULES(rules);
}

static void test_cors(void **state)
{
    struct fixture *f = fixture_run();
    struct heard *h = malloc(sizeof *h);
    ask(f,
        "OPTIONS /v1/chat/completions HTTP/1.1\r\n" SAY_HOST "Origin: http://localhost:3000\r\n"
        "Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: authorization,content-type, "
        "X-Stainless-Lang,x-evil\r\nAccess-Control-Request-Private-Network: true\r\n\r\n",
        h);
    assert_int_equal(h->status, 204);
    assert_non_null(strstr(h->text, "Access-Control-Allow-Origin: http://localhost:3000\r\n"));
    assert_non_null(
        strstr(h->text, "Access-Control-Allow-Headers: authorization, content-type, X-Stainless-Lang\r\n"));
    assert_non_null(strstr(h->text, "Access-Control-Allow-Private-Network: true\r\n"));
    assert_non_null(strstr(h->text, "Access-Control-Expose-Headers: X-E2EE-Dropped\r\n"));
    assert_null(strstr(h->text, "Content-Length"));
    ask(f, "OPTIONS * HTTP/1.1\r\n" SAY_HOST "\r\n", h);
    assert_int_equal(h->status, 204);
    assert_null(strstr(h->text, "Access-Control"));
    ask(f,
        "OPTIONS /hello HTTP/1.1\r\n" SAY_HOST "Origin: https://evil.example\r\n"
        "Access-Control-Request-Method: POST\r\n\r\n",
        h);
    assert_int_equal(h->status, 403);
    assert_null(strstr(h->text, "Access-Control"));
    ask(f, GET_WITH("Origin: https://chat.example.com\r\n"), h);
    assert_non_null(strstr(h->text, "Access-Control-Allow-Origin: https://chat.example.com\r\n"));
    assert_non_null(strstr(h->text, "Vary: Origin\r\n"));
    assert_int_equal(atomic_load(&f->refused), 1);
    free(h);
    fixture_end(f);
}

static void test_client_token(void **state)
{
    static const struct rule rules[] = {
        {GET_WITH("Authorization: Bearer token-1234\r\n"), 200, NULL},
        {GET_WITH("authorization: bearer  token-1234\r\n"), 200, NULL},
        {GET_WITH("Authorization: Bearer token-1235\r\n"), 401, "invalid_api_key"},
        {GET_WITH("Authorization: Bearer token-123\r\n"), 401, "invalid_api_key"},
        {GET_WITH("Authorization: Bearer token-12345\r\n"), 401, "invalid_api_key"},
        {GET_WITH("Authorization: token-1234\r\n"), 401, "invalid_api_key"},
        {GET_WITH("Authorization: Bearer token-1234\r\nAuthorization: Bearer x\r\n"), 401, "invalid_api_key"},
        {GET_WITH(""), 401, "invalid_api_key"},
        {"GET /health HTTP/1.1\r\n" SAY_HOST "\r\n", 404, "not_found"},
    };
    struct secret token = SECRET_EMPTY;
    struct heard *h = malloc(sizeof *h);
    struct err err;
    assert_true(secret_copy(&token, (const uint8_t *)"token-1234", 10, &err));
    struct fixture *f = fixture_new();
    f->config.client_token = &token;
    fixture_start(f);
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        ask(f, rules[i].request, h);
        assert_int_equal(h->status, rules[i].status);
        assert_true(rules[i].code == NULL || strstr(h->text, rules[i].code) != NULL);
    }
    fixture_end(f);
    secret_free(&token);
    free(h);
}

/* Every error is OpenAI's object, whatever its text holds. */
static void test_error_json(void **state)
{
    struct buf out;
    const struct http_error e = {
        .status = 502, .code = "a\"b", .message = "x\n\\\x80\xc3\xa9\xed\xa0\x80\x01z"};
    const struct http_error none = {.status = 400};
    buf_init(&out, 1000);
    assert_true(call_error_json(&out, &e));
    assert_string_equal(buf_cstr(&out),
                        "{\"error\":{\"message\":\"x \\\\?\xc3\xa9??? z\",\"type\":\"server_error\","
                        "\"param\":null,\"code\":\"a\\\"b\"}}");
    buf_reset(&out);
    assert_true(call_error_json(&out, &none));
    assert_string_equal(buf_cstr(&out), "{\"error\":{\"message\":\"\",\"type\":\"invalid_request_error\","
                                        "\"param\":null,\"code\":null}}");
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_host),       cmocka_unit_test(test_origin), cmocka_unit_test(test_smuggling),
        cmocka_unit_test(test_chunks),     cmocka_unit_test(test_cors),   cmocka_unit_test(test_client_token),
        cmocka_unit_test(test_error_json),
    };
    struct err err;
    if (!secret_heap_init(&err)) {
        print_message("%s\n", err.message);
        return 1;
    }
    return cmocka_run_group_tests_name("server_rules", tests, NULL, NULL);
}
