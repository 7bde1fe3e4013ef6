/* Listening sockets and the acceptor, over loopback TCP on ports that the kernel picks. */
#include "server/fixture.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/resource.h>

static int dial_tcp(int port)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&in, sizeof in), 0);
    return fd;
}

static void test_open(void **state)
{
    static const char *const any[] = {"127.0.0.1:0"};
    static const char *const local[] = {"localhost:0", "127.0.0.2:0"};
    static const char *const remote[] = {"0.0.0.0:0"};
    static const char *const broken[] = {"127.0.0.1:0", "nowhere"};
    struct err err;
    char name[64], again[64];
    struct listener *l = listener_open(any, 1, false, &err);
    assert_non_null(l);
    assert_int_equal(listener_count(l), 1);
    assert_true(listener_port(l, 0) > 0);
    listener_name(l, 0, name);
    snprintf(again, sizeof again, "127.0.0.1:%d", listener_port(l, 0));
    assert_string_equal(name, again);
    const char *const taken[] = {again};
    assert_null(listener_open(taken, 1, false, &err));
    assert_int_equal(err.kind, ERR_CONFIG);
    assert_non_null(strstr(err.message, "address in use"));
    listener_free(l);
    /* Free again at once. */
    l = listener_open(taken, 1, false, &err);
    assert_non_null(l);
    listener_free(l);
    l = listener_open(local, 2, false, &err);
    assert_non_null(l);
    assert_true(listener_count(l) >= 2);
    listener_free(l);
    assert_null(listener_open(remote, 1, false, &err));
    assert_int_equal(err.kind, ERR_CONFIG);
    assert_non_null(strstr(err.message, "--unsafe-listen"));
    assert_null(listener_open(broken, 2, false, &err));
    assert_int_equal(err.kind, ERR_CONFIG);
}

/* A connection goes to the worker with the fewest requests in work. */
static void test_spread(void **state)
{
    static const char *const any[] = {"127.0.0.1:0"};
    struct fixture *a = fixture_run(), *b = fixture_run();
    struct http_worker *workers[] = {a->worker, b->worker};
    struct err err;
    int fds[10];
    struct listener *l = listener_open(any, 1, false, &err);
    assert_non_null(l);
    assert_true(listener_start(l, workers, 2, 100, &a->handler, a, &err));
    for (int i = 0; i < 10; i++) {
        fds[i] = dial_tcp(listener_port(l, 0));
        say(fds[i], "GET /silent HTTP/1.1\r\n" SAY_HOST "\r\n");
    }
    await(&a->requests, 5, 2000);
    await(&b->requests, 5, 2000);
    /* A reset is a hang-up as well. */
    const struct linger reset = {1, 0};
    for (int i = 0; i < 10; i++) {
        setsockopt(fds[i], SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        close(fds[i]);
    }
    await(&a->closed, 5, 1000);
    await(&b->closed, 5, 1000);
    listener_free(l);
    fixture_end(a);
    fixture_end(b);
}

static void test_connection_limit(void **state)
{
    static const char *const any[] = {"127.0.0.1:0"};
    struct fixture *f = fixture_run();
    struct heard *h = malloc(sizeof *h);
    struct err err;
    int fds[3];
    struct listener *l = listener_open(any, 1, false, &err);
    assert_non_null(l);
    assert_true(listener_start(l, &f->worker, 1, 2, &f->handler, f, &err));
    for (int i = 0; i < 3; i++) {
        fds[i] = dial_tcp(listener_port(l, 0));
        if (i < 2) {
            say(fds[i], "GET /hello HTTP/1.1\r\n" SAY_HOST "\r\n");
            hear_until(fds[i], h, "hello");
        }
    }
    hear_until(fds[2], h, NULL);
    assert_true(h->eof);
    assert_int_equal(h->status, 503);
    assert_non_null(strstr(h->text, "Retry-After: 1\r\n"));
    const char *body = strstr(h->text, "\r\n\r\n");
    assert_true(body != NULL && strlen(body + 4) == 110);
    await(&f->last_refused, 503, 1000); /* told after the client is */
    /* One leaves, the next is served. */
    close(fds[0]);
    close(fds[2]);
    while (http_worker_connections(f->worker) > 1) {
        usleep(1000);
    }
    fds[0] = dial_tcp(listener_port(l, 0));
    say(fds[0], "GET /hello HTTP/1.1\r\n" SAY_HOST "\r\n");
    hear_until(fds[0], h, "hello");
    assert_int_equal(h->status, 200);
    close(fds[0]);
    close(fds[1]);
    listener_stop(l);
    listener_stop(l);
    listener_free(l);
    free(h);
    fixture_end(f);
}

/* Out of descriptors: a client is told, the acceptor neither dies nor spins, and goes on afterwards. */
static void test_descriptors(void **state)
{
    static const char *const any[] = {"127.0.0.1:0"};
    struct fixture *f = fixture_run();
    struct heard *h = malloc(sizeof *h);
    struct err err;
    struct rlimit old, low;
    int fillers[64], n = 0;
    struct listener *l = listener_open(any, 1, false, &err);
    assert_non_null(l);
    assert_true(listener_start(l, &f->worker, 1, 100, &f->handler, f, &err));
    int port = listener_port(l, 0);
    int served = dial_tcp(port);
    say(served, "GET /hello HTTP/1.1\r\n" SAY_HOST "\r\n");
    hear_until(served, h, "hello");
    int client = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    low = old;
    low.rlim_cur = 64;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    while (n < 64 && (fillers[n] = dup(0)) >= 0) {
        n++;
    }
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(client, (struct sockaddr *)&in, sizeof in), 0);
    hear_until(client, h, NULL);
    assert_true(h->eof);
    assert_int_equal(h->status, 503);
    while (n > 0) {
        close(fillers[--n]);
    }
    setrlimit(RLIMIT_NOFILE, &old);
    close(client);
    say(served, "GET /hello HTTP/1.1\r\n" SAY_HOST "\r\n");
    hear_until(served, h, "hello");
    assert_int_equal(h->status, 200);
    close(served);
    served = dial_tcp(port);
    say(served, "GET /hello HTTP/1.1\r\n" SAY_HOST "\r\n");
    hear_until(served, h, "hello");
    assert_int_equal(h->status, 200);
    close(served);
    listener_free(l);
    free(h);
    fixture_end(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_open),
        cmocka_unit_test(test_spread),
        cmocka_unit_test(test_connection_limit),
        cmocka_unit_test(test_descriptors),
    };
    return cmocka_run_group_tests_name("server_listener", tests, NULL, NULL);
}
