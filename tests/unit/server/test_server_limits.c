/* Limits of size, time and memory, and clients that vanish or do not read. */
#include "server/fixture.h"

static double since(int64_t begin)
{
    return (double)(clock_boot_ns() - begin) / 1e9;
}

static void test_sizes(void **state)
{
    struct fixture *f = fixture_new();
    struct heard *h = malloc(sizeof *h);
    char *big = malloc(70000);
    f->config.max_body = 1000;
    f->config.header_bytes = 2000;
    fixture_start(f);
    snprintf(big, 70000, "GET /hello HTTP/1.1\r\nHost: localhost\r\nX: %01900d\r\n\r\n", 1);
    ask(f, big, h);
    assert_int_equal(h->status, 200);
    snprintf(big, 70000, "GET /hello HTTP/1.1\r\nHost: localhost\r\nX: %02000d\r\n\r\n", 1);
    ask(f, big, h);
    assert_int_equal(h->status, 431);
    snprintf(big, 70000, "GET /%065000d HTTP/1.1\r\nHost: localhost\r\n\r\n", 1);
    ask(f, big, h);
    assert_int_equal(h->status, 431);
    size_t len = (size_t)snprintf(big, 70000, "GET /hello HTTP/1.1\r\nHost: localhost\r\n");
    for (size_t i = 0; i < LIMIT_HTTP_HEADER_COUNT; i++) {
        len += (size_t)snprintf(big + len, 70000 - len, "A: b\r\n");
    }
    snprintf(big + len, 70000 - len, "\r\n");
    ask(f, big, h);
    assert_int_equal(h->status, 431);
    snprintf(big, 70000, "POST /echo HTTP/1.1\r\n" SAY_HOST SAY_JSON "Content-Length: 1000\r\n\r\n%01000d",
             1);
    ask(f, big, h);
    assert_int_equal(h->status, 200);
    snprintf(big, 70000, "POST /echo HTTP/1.1\r\n" SAY_HOST SAY_JSON "Content-Length: 1001\r\n\r\n%01001d",
             1);
    ask(f, big, h);
    assert_int_equal(h->status, 413);
    assert_int_equal(atomic_load(&f->closed), 1);
    snprintf(big, 70000,
             "POST /echo HTTP/1.1\r\n" SAY_HOST SAY_JSON "Transfer-Encoding: chunked\r\n\r\n"
             "3e9\r\n%01001d\r\n0\r\n\r\n",
             1);
    ask(f, big, h);
    assert_int_equal(h->status, 413);
    ask(f, "POST /small HTTP/1.1\r\n" SAY_HOST SAY_JSON "Content-Length: 9\r\n\r\n123456789", h);
    assert_int_equal(h->status, 413);
    ask(f, "POST /small HTTP/1.1\r\n" SAY_HOST SAY_JSON "Content-Length: 8\r\n\r\n12345678", h);
    assert_int_equal(h->status, 200);
    assert_int_equal(atomic_load(&f->closed), 3);
    free(big);
    free(h);
    fixture_end(f);
}

/* Framing that carries nothing does not last for ever. */
static void test_chunk_overhead(void **state)
{
    struct fixture *f = fixture_run();
    struct heard *h = malloc(sizeof *h);
    char *ext = malloc(40001);
    memset(ext, 'e', 40000);
    ext[40000] = '\0';
    int fd = dial(f);
    say(fd, "POST /echo HTTP/1.1\r\n" SAY_HOST SAY_JSON "Transfer-Encoding: chunked\r\n\r\n1;");
    say(fd, ext);
    hear_until(fd, h, NULL);
    assert_int_equal(h->status, 400);
    close(fd);
    fd = dial(f);
    say(fd, "POST /echo HTTP/1.1\r\n" SAY_HOST SAY_JSON "Transfer-Encoding: chunked\r\n\r\n0\r\nT: ");
    say(fd, ext);
    hear_until(fd, h, NULL);
    assert_int_equal(h->status, 400);
    close(fd);
    free(ext);
    free(h);
    fixture_end(f);
}

static void test_time_outs(void **state)
{
    struct fixture *f = fixture_new();
    struct heard *h = malloc(sizeof *h);
    f->config.header_ms = 300;
    f->config.body_stall_ms = 200;
    f->config.idle_ms = 250;
    fixture_start(f);
    int64_t begin = clock_boot_ns();
    int fd = dial(f);
    /* Trickling does not extend the time for a head. */
    say(fd, "GET /hello HTTP/1.1\r\n" SAY_HOST "X: ");
    while (!wait_readable(fd, 20) && since(begin) < 3) {
        say(fd, "a");
    }
    hear_until(fd, h, NULL);
    assert_int_equal(h->status, 408);
    assert_true(since(begin) > 0.25 && since(begin) < 1.5);
    close(fd);
    /* A body may trickle, but not stall. */
    fd = dial(f);
    say(fd, "POST /echo HTTP/1.1\r\n" SAY_HOST SAY_JSON "Content-Length: 6\r\n\r\n");
    for (int i = 0; i < 5; i++) {
        usleep(100000);
        say(fd, "x");
    }
    begin = clock_boot_ns();
    hear_until(fd, h, NULL);
    assert_int_equal(h->status, 408);
    assert_true(since(begin) > 0.15 && since(begin) < 1.5);
    assert_int_equal(atomic_load(&f->closed), 1);
    close(fd);
    /* Idle: closed without a word, before the first request and after one. */
    fd = dial(f);
    hear_until(fd, h, NULL);
    assert_true(h->eof && h->len == 0);
    close(fd);
    fd = dial(f);
    say(fd, "GET /hello HTTP/1.1\r\n" SAY_HOST "\r\n");
    hear_until(fd, h, "hello");
    hear_until(fd, h, NULL);
    assert_true(h->eof && h->len == 0);
    close(fd);
    /* A silent stream and a request in work are not idle. */
    int silent = dial(f);
    fd = dial(f);
    say(silent, "GET /silent HTTP/1.1\r\n" SAY_HOST "\r\n");
    say(fd, "GET /open HTTP/1.1\r\n" SAY_HOST "\r\n");
    hear_until(fd, h, "one\r\n");
    usleep(700000);
    assert_false(wait_readable(fd, 0));
    assert_false(wait_readable(silent, 0));
    assert_int_equal(http_worker_busy(f->worker), 2);
    close(fd);
    close(silent);
    free(h);
    fixture_end(f);
}

static void test_hang_up(void **state)
{
    static const char *const paths[] = {"silent", "open", "keep"};
    struct fixture *f = fixture_run();
    struct heard *h = malloc(sizeof *h);
    char request[200];
    for (int i = 0; i < 3; i++) {
        int fd = dial(f);
        snprintf(request, sizeof request, "GET /%s HTTP/1.1\r\n" SAY_HOST "\r\n", paths[i]);
        say(fd, request);
        await(&f->requests, i + 1, 1000);
        int64_t begin = clock_boot_ns();
        close(fd);
        await(&f->closed, i + 1, 1000);
        assert_true(since(begin) < 1);
    }
    /* While it still sends, and with further requests waiting. */
    int fd = dial(f);
    say(fd, "POST /echo HTTP/1.1\r\n" SAY_HOST SAY_JSON "Content-Length: 9\r\n\r\n{");
    await(&f->headers, 4, 1000);
    close(fd);
    await(&f->closed, 4, 1000);
    fd = dial(f);
    say(fd, "GET /silent HTTP/1.1\r\n" SAY_HOST "\r\nGET /hello HTTP/1.1\r\n" SAY_HOST "\r\n");
    await(&f->requests, 4, 1000);
    close(fd);
    await(&f->closed, 5, 1000);
    for (int i = 0; i < 1000 && http_worker_connections(f->worker) > 0; i++) {
        usleep(1000);
    }
    assert_int_equal(http_worker_connections(f->worker), 0);
    assert_int_equal(http_worker_busy(f->worker), 0);
    free(h);
    fixture_end(f);
}

static void test_back_pressure(void **state)
{
    struct fixture *f = fixture_run();
    char *data = malloc(65536);
    size_t got = 0, body = 0;
    int fd = dial(f);
    say(fd, "GET /flood HTTP/1.1\r\n" SAY_HOST "\r\n");
    usleep(300000);
    /* Nothing is read: the source stands still, and what is queued is bounded and charged. */
    size_t flooded = atomic_load(&f->flooded);
    assert_true(flooded < 2000000);
    assert_true(inflight_used(&f->inflight) > LIMIT_CLIENT_QUEUE_LOW);
    assert_true(inflight_used(&f->inflight) <= LIMIT_CLIENT_QUEUE_HIGH + 2 * FLOOD_PIECE);
    usleep(100000);
    assert_int_equal(atomic_load(&f->flooded), flooded);
    for (;;) {
        ssize_t n = wait_readable(fd, 3000) ? recv(fd, data, 65536, 0) : 0;
        if (n <= 0) {
            break;
        }
        got += (size_t)n;
        for (ssize_t i = 0; i < n; i++) {
            body += data[i] == 'Z';
        }
        if (n >= 5 && memcmp(data + n - 5, "0\r\n\r\n", 5) == 0) {
            break;
        }
    }
    assert_int_equal(body, FLOOD_BYTES);
    assert_true(got > body);
    assert_true(atomic_load(&f->drained) > 10);
    assert_true(atomic_load(&f->queued_max) <= LIMIT_CLIENT_QUEUE_HIGH + 2 * FLOOD_PIECE);
    close(fd);
    free(data);
    fixture_end(f);
}

static void test_client_stall(void **state)
{
    struct fixture *f = fixture_new();
    f->config.client_stall_ms = 300;
    fixture_start(f);
    int fd = dial(f);
    int64_t begin = clock_boot_ns();
    say(fd, "GET /flood HTTP/1.1\r\n" SAY_HOST "\r\n");
    await(&f->closed, 1, 2000);
    assert_true(since(begin) > 0.25);
    close(fd);
    fixture_end(f);
}

static void test_inflight(void **state)
{
    struct fixture *f = fixture_new();
    struct heard *h = malloc(sizeof *h);
    f->inflight.max = 100000;
    fixture_start(f);
    int fd = dial(f);
    say(fd, "POST /echo HTTP/1.1\r\n" SAY_HOST SAY_JSON "Content-Length: 60000\r\n\r\n{");
    await(&f->headers, 1, 1000);
    usleep(20000);
    assert_int_equal(inflight_used(&f->inflight), 60000);
    ask(f, "POST /echo HTTP/1.1\r\n" SAY_HOST SAY_JSON "Content-Length: 50000\r\n\r\n", h);
    assert_int_equal(h->status, 503);
    assert_non_null(strstr(h->text, "Retry-After: 1\r\n"));
    ask(f,
        "POST /echo HTTP/1.1\r\n" SAY_HOST SAY_JSON "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        h);
    assert_int_equal(h->status, 503);
    close(fd);
    await(&f->closed, 3, 1000);
    ask(f, "POST /echo HTTP/1.1\r\n" SAY_HOST SAY_JSON "Content-Length: 2\r\n\r\n{}", h);
    assert_int_equal(h->status, 200);
    /* Released by the app although the call lives on. */
    fd = dial(f);
    say(fd, "POST /keep HTTP/1.1\r\n" SAY_HOST SAY_JSON "Content-Length: 2\r\n\r\n{}");
    await(&f->requests, 2, 1000);
    usleep(20000);
    assert_int_equal(inflight_used(&f->inflight), 0);
    close(fd);
    free(h);
    fixture_end(f);
}

static void test_drain(void **state)
{
    struct fixture *f = fixture_run();
    struct heard *h = malloc(sizeof *h);
    int idle = dial(f), used = dial(f), open = dial(f), later = dial(f);
    say(used, "GET /hello HTTP/1.1\r\n" SAY_HOST "\r\n");
    hear_until(used, h, "hello");
    say(open, "GET /open HTTP/1.1\r\n" SAY_HOST "\r\n");
    hear_until(open, h, "one\r\n");
    say(later, "GET /later HTTP/1.1\r\n" SAY_HOST "\r\n");
    await(&f->requests, 3, 1000);
    http_worker_drain(f->worker);
    hear_until(idle, h, NULL);
    assert_true(h->eof && h->len == 0);
    hear_until(used, h, NULL);
    assert_true(h->eof && h->len == 0);
    hear_until(later, h, NULL);
    assert_true(h->eof && h->status == 200);
    assert_non_null(strstr(h->text, "Connection: close\r\n"));
    assert_false(wait_readable(open, 50));
    assert_int_equal(http_worker_connections(f->worker), 1);
    close(idle);
    close(used);
    close(later);
    /* The worker ends with a live stream: the app hears of it. */
    struct heard *rest = h;
    atomic_store(&f->stop, true);
    hear_until(open, rest, NULL);
    assert_true(rest->eof);
    close(open);
    free(h);
    fixture_end(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),         cmocka_unit_test(test_chunk_overhead),
        cmocka_unit_test(test_time_outs),     cmocka_unit_test(test_hang_up),
        cmocka_unit_test(test_back_pressure), cmocka_unit_test(test_client_stall),
        cmocka_unit_test(test_inflight),      cmocka_unit_test(test_drain),
    };
    return cmocka_run_group_tests_name("server_limits", tests, NULL, NULL);
}
