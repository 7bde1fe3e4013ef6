/* Every allocation of a request's life fails once, ours and libevent's. On one thread, so that the count is exact. The
 * client is answered or cut off, the app hears of each live call, nothing stays charged or open. */
#include "server/fixture.h"

#include "fault.h"

static size_t event_countdown;
static bool event_hit;

static void *event_malloc(size_t size)
{
    if (event_countdown > 0 && --event_countdown == 0) {
        event_hit = true;
        return NULL;
    }
    return mem_wiping_malloc(size);
}

static void *event_realloc(void *p, size_t size)
{
    if (event_countdown > 0 && --event_countdown == 0) {
        event_hit = true;
        return NULL;
    }
    return mem_wiping_realloc(p, size);
}

static void turn(struct fixture *f, int times)
{
    for (int i = 0; i < times; i++) {
        event_base_loop(f->base, EVLOOP_NONBLOCK);
    }
}

static const char talk[] = "GET /hello HTTP/1.1\r\n" SAY_HOST "\r\n"
                           "POST /echo HTTP/1.1\r\n" SAY_HOST SAY_JSON "Content-Length: 700\r\n\r\n";
static const char more[] = "GET /stream HTTP/1.1\r\n" SAY_HOST "\r\n"
                           "GET /silent HTTP/1.1\r\n" SAY_HOST "\r\n";

static void one_life(struct fixture *f)
{
    char body[701], heard[8192];
    int sv[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sv), 0);
    assert_true(http_worker_adopt(f->worker, sv[1]));
    say(sv[0], talk);
    turn(f, 2);
    memset(body, ' ', 700);
    body[700] = '\0';
    say(sv[0], body);
    turn(f, 1);
    say(sv[0], more);
    turn(f, 3);
    while (recv(sv[0], heard, sizeof heard, 0) > 0) {
    }
    close(sv[0]);
    turn(f, 3);
    assert_int_equal(http_worker_connections(f->worker), 0);
    assert_int_equal(http_worker_busy(f->worker), 0);
    assert_int_equal(inflight_used(&f->inflight), 0);
}

static void test_our_allocations(void **state)
{
    struct fixture *f = fixture_new();
    size_t n = 0;
    do {
        fault_alloc_at(++n);
        one_life(f);
    } while (fault_alloc_hit());
    fault_alloc_at(0);
    assert_true(n > 5);
    assert_true(atomic_load(&f->closed) > 0);
    http_worker_free(f->worker);
    event_base_free(f->base);
    origin_policy_free(f->policy);
    free(f);
}

static void test_libevent_allocations(void **state)
{
    struct fixture *f = fixture_new();
    size_t n = 0;
    one_life(f); /* libevent's own tables grow first */
    do {
        event_hit = false;
        event_countdown = ++n;
        one_life(f);
        event_countdown = 0;
    } while (event_hit);
    assert_true(n > 3);
    http_worker_free(f->worker);
    event_base_free(f->base);
    origin_policy_free(f->policy);
    free(f);
}

static void test_construction(void **state)
{
    static const char *const any[] = {"127.0.0.1:0"};
    struct fixture *f = fixture_new();
    struct http_worker *w;
    struct listener *l;
    struct err err;
    size_t n = 0;
    do {
        fault_alloc_at(++n);
        w = http_worker_new(f->base, &f->config, &f->handler, f, &err);
        assert_true(w != NULL || err.kind == ERR_MEMORY);
        http_worker_free(w);
    } while (w == NULL);
    n = 0;
    do {
        event_countdown = ++n;
        w = http_worker_new(f->base, &f->config, &f->handler, f, &err);
        event_countdown = 0;
        assert_true(w != NULL || err.kind == ERR_MEMORY);
        http_worker_free(w);
    } while (w == NULL);
    n = 0;
    do {
        fault_alloc_at(++n);
        l = listener_open(any, 1, false, &err);
        bool started = l != NULL && listener_start(l, &f->worker, 1, 1, NULL, NULL, &err);
        assert_true(started || err.kind == ERR_MEMORY);
        listener_free(l);
    } while (fault_alloc_hit());
    fault_alloc_at(0);
    http_worker_free(NULL);
    listener_free(NULL);
    http_worker_free(f->worker);
    event_base_free(f->base);
    origin_policy_free(f->policy);
    free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_our_allocations),
        cmocka_unit_test(test_libevent_allocations),
        cmocka_unit_test(test_construction),
    };
    event_set_mem_functions(event_malloc, event_realloc, mem_wiping_free);
    return cmocka_run_group_tests_name("server_faults", tests, NULL, NULL);
}
