/* The pure parts: grammar of a head, hosts and origins, addresses, the accountant. */
#include "server/fixture.h"

#include "fault.h"
#include "server/address.h"
#include "server/head.h"

static enum head_result scan_in(const char *text, size_t len, size_t piece, size_t *used, size_t *skipped)
{
    struct head_scan s = HEAD_SCAN_START;
    enum head_result r = HEAD_MORE;
    *used = *skipped = 0;
    while (*used < len && r == HEAD_MORE) {
        size_t n = len - *used < piece ? len - *used : piece, u, k;
        r = head_scan(&s, (const uint8_t *)text + *used, n, &u, &k);
        assert_true(u <= n && k <= u);
        *used += u;
        *skipped += k;
    }
    return r;
}

static void test_head(void **state)
{
    static const struct {
        const char *text;
        enum head_result result;
        size_t used, skipped;
    } cases[] = {
        {"GET / HTTP/1.1\r\n\r\n", HEAD_DONE, 18, 0},
        {"GET / HTTP/1.1\r\nA: b\r\n\r\nrest", HEAD_DONE, 24, 0},
        {"\r\n\r\nGET / HTTP/1.1\r\nA:\r\n\r\n", HEAD_DONE, 26, 4},
        {"GET / HTTP/1.1\r\nA: \xff\t~\r\n\r\n", HEAD_DONE, 26, 0},
        {"GET / HTTP/1.1\r\nA: b\r\n", HEAD_MORE, 22, 0},
        {"", HEAD_MORE, 0, 0},
        {"\r\n\r\n\r\nGET", HEAD_BAD, 6, 0},
        {"\nGET", HEAD_BAD, 1, 0},
        {"\r\r\n", HEAD_BAD, 2, 0},
        {" GET", HEAD_BAD, 1, 0},
        {"GET /\x7f", HEAD_BAD, 6, 0},
        {"GET /\xc3", HEAD_BAD, 6, 0},
        {"GET / HTTP/1.1\n", HEAD_BAD, 15, 0},
        {"GET / HTTP/1.1\r\r", HEAD_BAD, 16, 0},
        {"GET / HTTP/1.1\r\n A: b", HEAD_BAD, 17, 0},
        {"GET / HTTP/1.1\r\n: b", HEAD_BAD, 17, 0},
        {"GET / HTTP/1.1\r\nA b: c", HEAD_BAD, 18, 0},
        {"GET / HTTP/1.1\r\nA\r\n", HEAD_BAD, 18, 0},
        {"GET / HTTP/1.1\r\nA: b\rc", HEAD_BAD, 22, 0},
        {"GET / HTTP/1.1\r\nA: b\nc", HEAD_BAD, 21, 0},
        {"GET / HTTP/1.1\r\nA: b\x01", HEAD_BAD, 21, 0},
        {"GET / HTTP/1.1\r\nA: b\r\n\rX", HEAD_BAD, 24, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t len = strlen(cases[i].text);
        for (size_t piece = 1; piece <= len + 1; piece++) {
            size_t used, skipped;
            assert_int_equal(scan_in(cases[i].text, len, piece, &used, &skipped), cases[i].result);
            assert_int_equal(used, cases[i].used);
            assert_true(cases[i].result == HEAD_BAD || skipped == cases[i].skipped);
        }
    }
    struct head_scan s = HEAD_SCAN_START;
    size_t used, skipped;
    assert_int_equal(head_scan(&s, (const uint8_t *)"GET /\0x", 7, &used, &skipped), HEAD_BAD);
}

static void test_host_grammar(void **state)
{
    static const char *const good[] = {"localhost", "a.b-c_d:1",    "127.0.0.1:65535",
                                       "[::1]",     "[fe80::1]:80", "x."};
    static const char *const bad[] = {"",     ":80",     "a:",       "a:0",   "a:65536", "a:1x",  "a b",
                                      "[::1", "[zz]",    "[::1]x",   "::1",   "a/b",     "a@b",   "a,b",
                                      "[]:1", "a:80:80", "\xc3\xa4", "a:+80", "a: 80",   "a%00b", "http://a"};
    char long_name[400];
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_true(origin_host_valid(good[i]));
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(origin_host_valid(bad[i]));
    }
    memset(long_name, 'a', sizeof long_name);
    long_name[sizeof long_name - 1] = '\0';
    assert_false(origin_host_valid(long_name));
}

static void test_policy(void **state)
{
    static const char *const good[] = {"https://a.example", "http://b:8080", "app://obsidian.md", "app://*"};
    static const char *const bad[] = {"*",         "null",        "a.example",   "https://",
                                      "https://*", "https://a/b", "https://a:0", "app://a*",
                                      "app://a b", "://x",        "HTTP://*",    "https://a.*.example",
                                      "",          "https://[::1"};
    static const char *const host[] = {"a@b"};
    struct err err;
    struct origin_policy *p = origin_policy_new(NULL, 0, good, 4, &err);
    assert_non_null(p);
    assert_true(origin_allowed(p, "https://A.example") && origin_allowed(p, "app://anything"));
    assert_true(origin_allowed(p, "http://localhost") && origin_allowed(p, "https://[::1]:1"));
    assert_false(origin_allowed(p, "http://a.example") || origin_allowed(p, "https://a.example:443"));
    assert_false(origin_allowed(p, "null") || origin_allowed(p, "ftp://localhost") ||
                 origin_allowed(p, "localhost"));
    assert_true(origin_host_allowed(p, "127.0.0.2:1") && origin_allowed(p, "http://127.255.0.1:3000"));
    assert_false(origin_host_allowed(p, "a.example") || origin_host_allowed(p, "128.0.0.1") ||
                 origin_host_allowed(p, "127.0.0.1.example") || origin_host_allowed(p, "127.1") ||
                 origin_host_allowed(p, "127.0.0.0001"));
    origin_policy_free(p);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_null(origin_policy_new(NULL, 0, &bad[i], 1, &err));
        assert_int_equal(err.kind, ERR_CONFIG);
    }
    assert_null(origin_policy_new(host, 1, NULL, 0, &err));
    assert_non_null(strstr(err.message, "--allow-host"));
    size_t n = 0;
    do {
        fault_alloc_at(++n);
        p = origin_policy_new(good, 0, good, 4, &err);
        assert_true(fault_alloc_hit() ? p == NULL && err.kind == ERR_MEMORY : p != NULL);
    } while (p == NULL);
    fault_alloc_at(0);
    assert_true(n > 3);
    origin_policy_free(p);
}

static void test_address(void **state)
{
    static const char *const bad[] = {
        "",        "127.0.0.1",      ":80",          "127.0.0.1:", "127.0.0.1:65536", "::1:80",       "[::1]",
        "[::1:80", "example.com:80", "127.0.0.1:8o", "[]:1",       "1.2.3:4",         "[127.0.0.1]:1"};
    struct address a[2];
    struct err err;
    char name[64];
    assert_int_equal(address_parse("127.1.2.3:5111", a, &err), 1);
    assert_true(a[0].loopback);
    address_name(&a[0].addr, name);
    assert_string_equal(name, "127.1.2.3:5111");
    assert_int_equal(address_parse("[::1]:0", a, &err), 1);
    assert_true(a[0].loopback && address_port(&a[0].addr) == 0);
    assert_int_equal(address_parse("[2001:db8::1]:80", a, &err), 1);
    assert_false(a[0].loopback);
    address_name(&a[0].addr, name);
    assert_string_equal(name, "[2001:db8::1]:80");
    assert_int_equal(address_parse("0.0.0.0:80", a, &err), 1);
    assert_false(a[0].loopback);
    assert_int_equal(address_parse("localhost:7", a, &err), 2);
    assert_true(a[0].loopback && a[1].loopback && !a[0].optional && a[1].optional);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(address_parse(bad[i], a, &err), 0);
        assert_int_equal(err.kind, ERR_CONFIG);
    }
}

static void test_accountant(void **state)
{
    struct inflight f;
    inflight_init(&f, 100);
    assert_true(inflight_take(&f, 60));
    assert_false(inflight_take(&f, 41));
    assert_true(inflight_take(&f, 40));
    assert_false(inflight_take(&f, 1));
    assert_true(inflight_take(&f, 0));
    inflight_force(&f, 50);
    assert_int_equal(inflight_used(&f), 150);
    assert_false(inflight_take(&f, 0));
    assert_false(inflight_take(&f, SIZE_MAX));
    inflight_give(&f, 150);
    assert_false(inflight_take(&f, SIZE_MAX));
    assert_int_equal(inflight_used(&f), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_head),    cmocka_unit_test(test_host_grammar), cmocka_unit_test(test_policy),
        cmocka_unit_test(test_address), cmocka_unit_test(test_accountant),
    };
    return cmocka_run_group_tests_name("server_text", tests, NULL, NULL);
}
