/* HTTPS_PROXY and NO_PROXY, for blocking fetches and for transfers. The stub stands for the proxy: it sees a CONNECT,
 * which it refuses, or nothing at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <event2/event.h>
#include <stdlib.h>

#include "base/secret.h"
#include "upstream/config.h"
#include "upstream/fetch.h"
#include "upstream/loop.h"
#include "upstream/stub_server.h"
#include "upstream/transfer.h"

static const char *const variables[] = {"HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy",
                                        "http_proxy",  "NO_PROXY",    "no_proxy"};

static void forget_variables(void)
{
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++) {
        unsetenv(variables[i]);
    }
}

static enum err_kind fetch_kind(struct upstream_config *c)
{
    struct err err = {0};
    struct buf out;
    int status;
    int64_t retry;
    buf_init(&out, 1000);
    bool ok = upstream_fetch(c, &(struct upstream_fetch_request){.path = "/plain", .timeout_s = 10}, &out,
                             &status, &retry, &err);
    buf_free(&out);
    return ok ? ERR_NONE : err.kind;
}

struct ended {
    struct event_base *base;
    enum err_kind kind;
    bool done;
};

static void on_data(void *arg, const uint8_t *data, size_t len)
{
}

static void on_done(void *arg, const struct transfer_result *result)
{
    struct ended *e = arg;
    e->done = true;
    e->kind = result->err.kind;
    event_base_loopbreak(e->base);
}

static enum err_kind transfer_kind(struct upstream_config *c)
{
    static const struct transfer_callbacks callbacks = {NULL, on_data, on_done};
    struct err err = {0};
    struct ended e = {.base = event_base_new()};
    struct upstream_loop *loop = upstream_loop_new(e.base, c, &err);
    assert_non_null(loop);
    assert_non_null(transfer_start(loop, &(struct transfer_request){.path = "/plain"}, &callbacks, &e, &err));
    event_base_loopexit(e.base, &(struct timeval){10, 0});
    event_base_loop(e.base, EVLOOP_NO_EXIT_ON_EMPTY);
    assert_true(e.done);
    upstream_loop_free(loop);
    event_base_free(e.base);
    return e.kind;
}

static const struct row {
    const char *proxy, *no_proxy_name, *no_proxy, *host;
    bool proxied;
} rows[] = {
    {"HTTPS_PROXY", NULL, NULL, "upstream.invalid", true},
    {"https_proxy", NULL, NULL, "upstream.invalid", true},
    {"ALL_PROXY", NULL, NULL, "upstream.invalid", true},
    {"HTTPS_PROXY", "NO_PROXY", "", "upstream.invalid", true},
    {"HTTPS_PROXY", "NO_PROXY", "other.invalid,stream.invalid", "upstream.invalid", true},
    {"HTTPS_PROXY", "NO_PROXY", "upstream.invalid", "upstream.invalid", false},
    {"HTTPS_PROXY", "no_proxy", "other.invalid, upstream.invalid", "upstream.invalid", false},
    {"HTTPS_PROXY", "NO_PROXY", "invalid", "upstream.invalid", false},
    {"HTTPS_PROXY", "NO_PROXY", ".invalid", "upstream.invalid", false},
    {"ALL_PROXY", "NO_PROXY", "*", "upstream.invalid", false},
};

static void no_proxy(void **state)
{
    struct stub *s = stub_start(NULL);
    char proxy[64], url[64];
    snprintf(proxy, sizeof proxy, "http://127.0.0.1:%u", s->port);
    for (size_t i = 0; i < 2 * sizeof rows / sizeof *rows; i++) {
        const struct row *row = &rows[i / 2];
        struct err err = {0};
        forget_variables();
        setenv(row->proxy, proxy, 1);
        if (row->no_proxy != NULL) {
            setenv(row->no_proxy_name, row->no_proxy, 1);
        }
        snprintf(url, sizeof url, "https://%s/base", row->host);
        struct upstream_config *c = upstream_config_new(
            &(struct upstream_options){.base_url = url, .silence_s = 5, .first_byte_s = 5}, &err);
        assert_non_null(c);
        unsigned before = atomic_load(&s->requests);
        /* Nobody answers either way: the proxy refuses, and the name is one that never exists. */
        assert_int_equal(i % 2 == 0 ? fetch_kind(c) : transfer_kind(c), ERR_UNREACHABLE);
        if ((atomic_load(&s->requests) > before) != row->proxied) {
            fail_msg("%s, %s=%s, %s", row->proxy, row->no_proxy_name, row->no_proxy,
                     i % 2 == 0 ? "fetch" : "transfer");
        }
        upstream_config_free(c);
    }
    forget_variables();
    stub_stop(s);
}

/* A loopback upstream is asked directly whatever the environment says. */
static void loopback(void **state)
{
    struct stub *s = stub_start(NULL);
    char url[64];
    struct err err = {0};
    setenv("HTTPS_PROXY", "http://127.0.0.1:1", 1);
    setenv("http_proxy", "http://127.0.0.1:1", 1);
    setenv("ALL_PROXY", "http://127.0.0.1:1", 1);
    snprintf(url, sizeof url, "http://127.0.0.1:%u/base", s->port);
    struct upstream_config *c = upstream_config_new(
        &(struct upstream_options){.base_url = url, .unsafe_http = true, .silence_s = 5, .first_byte_s = 5},
        &err);
    assert_int_equal(fetch_kind(c), ERR_NONE);
    assert_int_equal(transfer_kind(c), ERR_NONE);
    upstream_config_free(c);
    forget_variables();
    stub_stop(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(no_proxy), cmocka_unit_test(loopback)};
    struct err err = {0};
    signal(SIGPIPE, SIG_IGN); /* as process_harden does */
    if (!secret_heap_init(&err)) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
