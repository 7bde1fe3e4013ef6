#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/mem.h"
#include "fault.h"
#include "upstream/fetch.h"
#include "upstream/internal.h"
#include "upstream/stub_server.h"

static struct upstream_config *config_for(unsigned port, const char *scheme, const char *host, const char *ca)
{
    char url[128];
    struct err err = {0};
    snprintf(url, sizeof url, "%s://%s:%u/base", scheme, host, port);
    struct upstream_config *c = upstream_config_new(
        &(struct upstream_options){
            .base_url = url, .unsafe_http = true, .silence_s = 1, .first_byte_s = 1, .ca_file = ca},
        &err);
    if (c == NULL) {
        fail_msg("%s", err.message);
    }
    return c;
}

static void urls(void **state)
{
    static const struct {
        const char *url;
        bool http, good, loopback;
    } rows[] = {
        {"https://api.venice.ai/api/v1", false, true, false},
        {"https://api.venice.ai/api/v1///", false, true, false},
        {"https://127.0.0.1:8443", false, true, true},
        {"https://[::1]:8443/x", false, true, true},
        {"http://localhost:1", true, true, true},
        {"http://LOCALHOST:1", true, true, true},
        {"http://127.9.9.9:1", true, true, true},
        {"http://localhost:1", false, false, false},
        {"http://api.venice.ai/", true, false, false},
        {"http://127.0.0.1.evil.example/", true, false, false},
        {"http://localhost.evil.example/", true, false, false},
        {"http://[::2]/", true, false, false},
        {"ftp://127.0.0.1/", true, false, false},
        {"file:///etc/passwd", true, false, false},
        {"https://user@host/", true, false, false},
        {"https://user:pw@host/", true, false, false},
        {"https://host/?a=b", true, false, false},
        {"https://host/#a", true, false, false},
        {"https://", true, false, false},
        {"https://ho st/", true, false, false},
        {"https://host:99999/", true, false, false},
        {"host/x", true, false, false},
        {"", true, false, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct err err = {0};
        struct upstream_config *c = upstream_config_new(
            &(struct upstream_options){
                .base_url = rows[i].url, .unsafe_http = rows[i].http, .silence_s = 60, .first_byte_s = 300},
            &err);
        if ((c != NULL) != rows[i].good) {
            fail_msg("row %zu: %s", i, err.message);
        }
        if (c != NULL) {
            assert_int_equal(upstream_config_is_loopback(c), rows[i].loopback);
            assert_true(c->base_url[strlen(c->base_url) - 1] != '/');
        } else {
            assert_int_equal(err.kind, ERR_CONFIG);
            assert_null(strstr(err.message, "evil"));
        }
        upstream_config_free(c);
    }
}

static void joins(void **state)
{
    static const struct {
        const char *path;
        bool good;
    } rows[] = {{"/models", true},     {"/tee/attestation?model=a%2Fb&nonce=00", true},
                {"/x?y=/../z", true},  {"models", false},
                {"", false},           {"/a b", false},
                {"/a\r\nX: y", false}, {"/../secret", false},
                {"/a/../b", false},    {"/a#b", false},
                {"/\xc3\xa4", false}};
    struct upstream_config *c = config_for(1, "https", "localhost", NULL);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct buf out;
        struct err err = {0};
        buf_init(&out, LIMIT_UPSTREAM_URL_BYTES);
        assert_int_equal(upstream_url_join(c, rows[i].path, &out, &err), rows[i].good);
        if (rows[i].good) {
            assert_memory_equal(out.data, "https://localhost:1/base/", 25);
        } else {
            assert_int_equal(err.kind, ERR_INVALID);
        }
        buf_free(&out);
    }
    upstream_config_free(c);
}

static void escapes(void **state)
{
    struct buf out;
    buf_init(&out, 64);
    assert_true(upstream_escape(&out, "aZ09-._~/ ?&=%+\xc3\xa4"));
    assert_string_equal(buf_cstr(&out), "aZ09-._~%2F%20%3F%26%3D%25%2B%C3%A4");
    buf_free(&out);
    buf_init(&out, 4);
    assert_false(upstream_escape(&out, "/////"));
    buf_free(&out);
}

static void set_key(struct upstream_config *c, const char *text, bool good)
{
    struct secret key = SECRET_EMPTY;
    struct err err = {0};
    assert_true(secret_copy(&key, (const uint8_t *)text, strlen(text), &err));
    assert_int_equal(upstream_config_set_key(c, &key, &err), good);
    assert_null(key.data);
    if (!good) {
        assert_int_equal(err.kind, ERR_CONFIG);
    }
}

static void keys(void **state)
{
    char big[LIMIT_API_KEY_BYTES + 2];
    struct secret none = SECRET_EMPTY;
    size_t live = secret_live_count();
    struct upstream_config *c = config_for(1, "https", "localhost", NULL);
    memset(big, 'k', sizeof big);
    big[sizeof big - 1] = '\0';
    assert_false(upstream_config_has_key(c));
    set_key(c, "one", true);
    set_key(c, "two\r\nX: y", false);
    set_key(c, "two words", false);
    set_key(c, "\xc3\xa4", false);
    set_key(c, big, false);
    assert_true(upstream_config_has_key(c));
    struct upstream_auth *held = upstream_auth_get(c);
    assert_string_equal((char *)held->line.data, "Authorization: Bearer one");
    set_key(c, "two", true);
    assert_string_equal((char *)held->line.data, "Authorization: Bearer one");
    upstream_auth_put(held);
    assert_int_equal(secret_live_count(), live + 1);
    assert_true(upstream_config_set_key(c, &none, NULL));
    assert_false(upstream_config_has_key(c));
    upstream_config_free(c);
    assert_int_equal(secret_live_count(), live);
}

static void header_rules(void **state)
{
    static const struct transfer_header rows[] = {
        {"Authorization", "x"}, {"host", "x"},   {"Content-Length", "1"},
        {"Proxy-Auth", "x"},    {"", "x"},       {"A B", "x"},
        {"X\r\nY", "x"},        {"X", ""},       {"X", " "},
        {"X", "a\r\nB: c"},     {"X", "\x7f"},   {"X:", "x"},
        {"Cookie", "a=b"},      {"Expect", "x"},
    };
    struct upstream_config *c = config_for(1, "https", "localhost", NULL);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct upstream_headers h;
        struct err err = {0};
        assert_false(upstream_headers_build(&h, c, true, &rows[i], 1, NULL, &err));
        assert_int_equal(err.kind, ERR_INVALID);
        upstream_headers_clear(&h);
    }
    upstream_config_free(c);
}

/* ---- fetch ---- */

struct got {
    bool ok;
    int status;
    int64_t retry;
    struct buf out;
    struct err err;
};

static struct got fetch_with(struct upstream_config *c, struct upstream_fetch_request r, size_t max)
{
    struct got g = {.status = -1};
    buf_init(&g.out, max);
    if (r.timeout_s == 0) {
        r.timeout_s = 10;
    }
    g.ok = upstream_fetch(c, &r, &g.out, &g.status, &g.retry, &g.err);
    if (!g.ok) {
        assert_int_equal(g.status, 0);
        assert_int_equal(g.out.len, 0);
        assert_int_equal(g.retry, -1);
        assert_int_not_equal(g.err.kind, ERR_NONE);
    }
    return g;
}

static struct got fetch_path(struct upstream_config *c, const char *path)
{
    return fetch_with(c, (struct upstream_fetch_request){.path = path}, 100000);
}

static void fetch_plain(void **state)
{
    struct stub *s = stub_start(NULL);
    struct upstream_config *c = config_for(s->port, "http", "127.0.0.1", NULL);
    set_key(c, "canary-key", true);
    struct got g = fetch_path(c, "/plain");
    assert_true(g.ok);
    assert_int_equal(g.status, 200);
    assert_string_equal(buf_cstr(&g.out), "hello");
    buf_free(&g.out);
    g = fetch_path(c, "/head");
    assert_null(strstr(buf_cstr(&g.out), "Authorization"));
    assert_non_null(strstr(buf_cstr(&g.out), "User-Agent: e2ee-hsm-proxy/"));
    assert_null(strcasestr(buf_cstr(&g.out), "Accept-Encoding"));
    buf_free(&g.out);
    g = fetch_with(c, (struct upstream_fetch_request){.path = "/head", .authorize = true}, 10000);
    assert_non_null(strstr(buf_cstr(&g.out), "\r\nAuthorization: Bearer canary-key\r\n"));
    buf_free(&g.out);
    g = fetch_with(c, (struct upstream_fetch_request){.path = "/echo", .body = "{\"a\":1}", .body_len = 7},
                   100);
    assert_string_equal(buf_cstr(&g.out), "{\"a\":1}");
    buf_free(&g.out);
    g = fetch_path(c, "/busy");
    assert_true(g.ok);
    assert_int_equal(g.status, 429);
    assert_int_equal(g.retry, 7);
    buf_free(&g.out);
    upstream_config_free(c);
    stub_stop(s);
}

static void fetch_url(void **state)
{
    struct stub *s = stub_start(NULL);
    struct upstream_config *c = config_for(1, "http", "127.0.0.1", NULL);
    char url[64];
    snprintf(url, sizeof url, "http://localhost:%u/base/head?x=1", s->port);
    set_key(c, "canary-key", true);
    struct got g = fetch_with(c, (struct upstream_fetch_request){.url = url}, 1000);
    assert_true(g.ok);
    assert_null(strstr(buf_cstr(&g.out), "canary"));
    buf_free(&g.out);
    g = fetch_with(c, (struct upstream_fetch_request){.url = url, .authorize = true}, 1000);
    assert_int_equal(g.err.kind, ERR_INTERNAL);
    g = fetch_with(c, (struct upstream_fetch_request){.url = "http://example.org/"}, 1000);
    assert_int_equal(g.err.kind, ERR_CONFIG);
    upstream_config_free(c);
    stub_stop(s);
}

static void fetch_headers(void **state)
{
    struct stub *s = stub_start(NULL);
    struct upstream_config *c = config_for(s->port, "http", "127.0.0.1", NULL);
    struct upstream_fetch_header wanted[] = {{"SGX-Chain", NULL}, {"X-None", NULL}};
    struct upstream_fetch_request r = {.path = "/chain", .headers = wanted, .header_count = 2};
    struct got g = fetch_with(c, r, 1000);
    assert_true(g.ok);
    assert_string_equal(wanted[0].value, "abc%20def");
    assert_null(wanted[1].value);
    mem_free(wanted[0].value);
    buf_free(&g.out);
    r.path = "/twice";
    g = fetch_with(c, r, 1000);
    assert_int_equal(g.err.kind, ERR_UPSTREAM);
    assert_null(wanted[0].value);
    upstream_config_free(c);
    stub_stop(s);
}

static void fetch_failures(void **state)
{
    static const struct {
        const char *path;
        enum err_kind kind;
    } rows[] = {{"/redirect", ERR_UPSTREAM}, {"/cut", ERR_UPSTREAM},   {"/cut-chunk", ERR_UPSTREAM},
                {"/never", ERR_TIMEOUT},     {"/stall", ERR_TIMEOUT},  {"/huge-headers", ERR_UPSTREAM},
                {"/big", ERR_UPSTREAM},      {"bad path", ERR_INVALID}};
    struct stub *s = stub_start(NULL);
    struct upstream_config *c = config_for(s->port, "http", "127.0.0.1", NULL);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct got g =
            fetch_with(c, (struct upstream_fetch_request){.path = rows[i].path, .timeout_s = 1}, 100000);
        if (g.err.kind != rows[i].kind) {
            fail_msg("%s: %s: %s", rows[i].path, err_kind_name(g.err.kind), g.err.message);
        }
    }
    upstream_config_free(c);
    unsigned port = s->port;
    stub_stop(s);
    c = config_for(port, "http", "127.0.0.1", NULL);
    assert_int_equal(fetch_path(c, "/plain").err.kind, ERR_UNREACHABLE);
    upstream_config_free(c);
}

static void *abort_soon(void *config)
{
    stub_sleep_ms(100);
    upstream_config_abort(config);
    return NULL;
}

static void fetch_abort(void **state)
{
    struct stub *s = stub_start(NULL);
    struct upstream_config *c = config_for(s->port, "http", "127.0.0.1", NULL);
    pthread_t thread;
    struct timespec a, b;
    clock_gettime(CLOCK_MONOTONIC, &a);
    pthread_create(&thread, NULL, abort_soon, c);
    assert_int_equal(fetch_path(c, "/never").err.kind, ERR_CANCELLED);
    clock_gettime(CLOCK_MONOTONIC, &b);
    assert_true(b.tv_sec - a.tv_sec <= 3);
    assert_int_equal(fetch_path(c, "/plain").err.kind, ERR_CANCELLED);
    pthread_join(thread, NULL);
    upstream_config_free(c);
    stub_stop(s);
}

static void loopback_ignores_proxy(void **state)
{
    struct stub *s = stub_start(NULL);
    struct upstream_config *c = config_for(s->port, "http", "127.0.0.1", NULL);
    setenv("http_proxy", "http://127.0.0.1:1", 1);
    setenv("HTTPS_PROXY", "http://127.0.0.1:1", 1);
    setenv("ALL_PROXY", "http://127.0.0.1:1", 1);
    struct got g = fetch_path(c, "/plain");
    assert_true(g.ok);
    buf_free(&g.out);
    upstream_config_free(c);
    /* Elsewhere it is honoured: the stub sees a CONNECT, which it refuses. */
    char proxy[64];
    snprintf(proxy, sizeof proxy, "http://127.0.0.1:%u", s->port);
    setenv("HTTPS_PROXY", proxy, 1);
    unsigned before = atomic_load(&s->requests);
    c = config_for(443, "https", "upstream.invalid", NULL);
    g = fetch_path(c, "/plain");
    assert_int_equal(g.err.kind, ERR_UNREACHABLE);
    assert_true(atomic_load(&s->requests) > before);
    upstream_config_free(c);
    unsetenv("http_proxy");
    unsetenv("HTTPS_PROXY");
    unsetenv("ALL_PROXY");
    stub_stop(s);
}

/* ---- TLS ---- */

static enum err_kind tls_case(const char *names, int max_version, bool trusted)
{
    char file[] = "/tmp/e2ee-stub-XXXXXX", other[] = "/tmp/e2ee-other-XXXXXX";
    close(mkstemp(file));
    close(mkstemp(other));
    struct stub *s = stub_start(stub_tls(file, names, max_version));
    SSL_CTX_free(stub_tls(other, names, 0));
    struct upstream_config *c = config_for(s->port, "https", "localhost", trusted ? file : other);
    struct got g = fetch_path(c, "/plain");
    enum err_kind kind = g.ok ? ERR_NONE : g.err.kind;
    if (!g.ok) {
        print_message("%s\n", g.err.message);
    }
    buf_free(&g.out);
    upstream_config_free(c);
    stub_stop(s);
    unlink(file);
    unlink(other);
    return kind;
}

static void tls(void **state)
{
    assert_int_equal(tls_case("DNS:localhost", 0, true), ERR_NONE);
    assert_int_equal(tls_case("DNS:localhost", TLS1_2_VERSION, true), ERR_NONE);
    assert_int_equal(tls_case("DNS:localhost", 0, false), ERR_UNREACHABLE);
    assert_int_equal(tls_case("DNS:other.example", 0, true), ERR_UNREACHABLE);
    assert_int_equal(tls_case("DNS:localhost", TLS1_1_VERSION, true), ERR_UNREACHABLE);
}

static void allocation_faults(void **state)
{
    struct stub *s = stub_start(NULL);
    size_t live = secret_live_count(), n = 0;
    for (bool done = false; !done;) {
        struct err err = {0};
        char url[64];
        snprintf(url, sizeof url, "http://127.0.0.1:%u/base", s->port);
        fault_alloc_at(++n);
        struct upstream_config *c = upstream_config_new(
            &(struct upstream_options){
                .base_url = url, .unsafe_http = true, .silence_s = 1, .first_byte_s = 1},
            &err);
        struct secret key = SECRET_EMPTY;
        if (c != NULL && secret_copy(&key, (const uint8_t *)"k", 1, &err) &&
            upstream_config_set_key(c, &key, &err)) {
            struct upstream_fetch_header wanted[] = {{"SGX-Chain", NULL}};
            struct got g =
                fetch_with(c,
                           (struct upstream_fetch_request){
                               .path = "/chain", .authorize = true, .headers = wanted, .header_count = 1},
                           1000);
            done = g.ok && !fault_alloc_hit();
            assert_true(g.ok != fault_alloc_hit());
            mem_free(wanted[0].value);
            buf_free(&g.out);
        } else {
            assert_int_equal(err.kind, ERR_MEMORY);
        }
        fault_alloc_at(0);
        upstream_config_free(c);
        assert_int_equal(secret_live_count(), live);
        assert_true(n < 100);
    }
    stub_stop(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls),
        cmocka_unit_test(joins),
        cmocka_unit_test(escapes),
        cmocka_unit_test(keys),
        cmocka_unit_test(header_rules),
        cmocka_unit_test(fetch_plain),
        cmocka_unit_test(fetch_url),
        cmocka_unit_test(fetch_headers),
        cmocka_unit_test(fetch_failures),
        cmocka_unit_test(fetch_abort),
        cmocka_unit_test(loopback_ignores_proxy),
        cmocka_unit_test(tls),
        cmocka_unit_test(allocation_faults),
    };
    struct err err = {0};
    signal(SIGPIPE, SIG_IGN); /* as process_harden does */
    if (!secret_heap_init(&err)) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
