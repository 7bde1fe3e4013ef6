#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <event2/event.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/secret.h"
#include "fault.h"
#include "upstream/fixture.h"
#include "upstream/transfer.h"

/* What one transfer told us. */
struct seen {
    struct fixture *f;
    struct transfer *t;
    unsigned statuses, datas, dones;
    int status;
    int64_t retry;
    char type[64];
    struct buf body;
    struct transfer_result result;
    int64_t first_ns, last_ns;
    size_t pause_at;     /* pause at this data call, 0 never */
    bool expect_silence; /* a callback now is a failure */
    bool cancel_in_status, cancel_in_data, cancel_in_done;
    struct seen *victim; /* cancelled instead of itself */
    const char *then;    /* path started from on_data or on_done */
};

static void start(struct fixture *f, struct seen *s, const char *path, struct buf *body);

static void cancel_who(struct seen *s)
{
    struct seen *v = s->victim != NULL ? s->victim : s;
    struct transfer *t = v->t;
    v->t = NULL;
    v->expect_silence = true;
    if (t != NULL) {
        transfer_cancel(t);
    }
}

static void on_status(void *arg, const struct transfer_status *st)
{
    struct seen *s = arg;
    assert_false(s->expect_silence);
    s->statuses++;
    s->status = st->status;
    s->retry = st->retry_after_s;
    snprintf(s->type, sizeof s->type, "%s", st->content_type);
    if (s->cancel_in_status) {
        cancel_who(s);
    }
}

static void on_data(void *arg, const uint8_t *data, size_t len)
{
    struct seen *s = arg;
    assert_false(s->expect_silence);
    assert_int_equal(s->statuses, 1);
    assert_in_range(len, 1, LIMIT_UPSTREAM_BUFFER_BYTES);
    s->last_ns = clock_boot_ns();
    if (s->datas++ == 0) {
        s->first_ns = s->last_ns;
    }
    buf_append(&s->body, data, len);
    if (s->datas == s->pause_at) {
        transfer_pause(s->t);
        s->expect_silence = true;
    }
    if (s->cancel_in_data) {
        cancel_who(s);
    } else if (s->then != NULL) {
        const char *path = s->then;
        s->then = NULL;
        start(s->f, s->victim, path, NULL);
    }
}

static void on_done(void *arg, const struct transfer_result *r)
{
    struct seen *s = arg;
    assert_false(s->expect_silence && s->t == NULL);
    s->dones++;
    s->result = *r;
    assert_int_equal(r->bytes, s->body.len);
    if (s->cancel_in_done) {
        cancel_who(s);
        s->expect_silence = false;
    }
    s->t = NULL;
}

static const struct transfer_callbacks callbacks = {on_status, on_data, on_done};

static void start(struct fixture *f, struct seen *s, const char *path, struct buf *body)
{
    static const struct transfer_header headers[] = {{"Accept", "text/event-stream"},
                                                     {"X-Venice-Test", "a b"}};
    struct err err = {0};
    s->f = f;
    if (s->body.max == 0) {
        buf_init(&s->body, (size_t)128 << 20);
    }
    s->t = transfer_start(
        f->loop,
        &(struct transfer_request){.path = path, .headers = headers, .header_count = 2, .body = body},
        &callbacks, s, &err);
    if (s->t == NULL) {
        fail_msg("%s", err.message);
    }
}

static void turn(struct fixture *f, long ms)
{
    event_base_loopexit(f->base, &(struct timeval){ms / 1000, ms % 1000 * 1000});
    event_base_loop(f->base, EVLOOP_NO_EXIT_ON_EMPTY);
}

/* Turns the loop until count says so, at most seconds. */
#define TURN_UNTIL(f, condition, seconds)                                                                    \
    for (int64_t limit_ns = clock_boot_ns() + (seconds)*CLOCK_NS_PER_S; !(condition);) {                     \
        assert_true(clock_boot_ns() < limit_ns);                                                             \
        turn(f, 5);                                                                                          \
    }

static void run_path(struct fixture *f, struct seen *s, const char *path, struct buf *body)
{
    start(f, s, path, body);
    assert_int_equal(s->dones, 0);
    TURN_UNTIL(f, s->dones > 0, 10);
    assert_int_equal(s->dones, 1);
}

static void plain(void **state)
{
    struct fixture f = set_up(NULL, NULL, 5, 5);
    struct seen s = {0};
    run_path(&f, &s, "/plain", NULL);
    assert_int_equal(s.result.err.kind, ERR_NONE);
    assert_int_equal(s.status, 200);
    assert_int_equal(s.retry, -1);
    assert_string_equal(s.type, "text/plain");
    assert_string_equal(buf_cstr(&s.body), "hello");
    assert_false(s.result.reused);
    buf_free(&s.body);
    struct seen again = {0};
    run_path(&f, &again, "/busy", NULL);
    assert_int_equal(again.result.err.kind, ERR_NONE);
    assert_int_equal(again.status, 429);
    assert_int_equal(again.retry, 7);
    assert_true(again.result.reused);
    assert_int_equal(atomic_load(&f.stub->connections), 1);
    assert_int_equal(upstream_loop_active(f.loop), 0);
    buf_free(&again.body);
    tear_down(&f);
}

static void headers_and_key(void **state)
{
    struct fixture f = set_up(NULL, NULL, 5, 5);
    struct secret key = SECRET_EMPTY;
    struct seen s = {0}, t = {0};
    assert_true(secret_copy(&key, (const uint8_t *)"canary", 6, NULL));
    assert_true(upstream_config_set_key(f.config, &key, NULL));
    run_path(&f, &s, "/head", NULL);
    const char *head = buf_cstr(&s.body);
    assert_non_null(strstr(head, "\r\nAuthorization: Bearer canary\r\n"));
    assert_non_null(strstr(head, "\r\nAccept: text/event-stream\r\n"));
    assert_non_null(strstr(head, "\r\nX-Venice-Test: a b\r\n"));
    assert_null(strcasestr(head, "Content-Type"));
    struct buf body;
    buf_init(&body, 100);
    buf_append_str(&body, "{}");
    run_path(&f, &t, "/head", &body);
    head = buf_cstr(&t.body);
    assert_non_null(strstr(head, "\r\nContent-Type: application/json\r\n"));
    assert_non_null(strstr(head, "\r\nContent-Length: 2\r\n"));
    assert_null(strcasestr(head, "Expect"));
    assert_null(strcasestr(head, "urlencoded"));
    buf_free(&s.body);
    buf_free(&t.body);
    tear_down(&f);
}

static void bodies(void **state)
{
    static const size_t sizes[] = {1, 1000, 65535, 65536, 70000, 5000000};
    struct fixture f = set_up(NULL, NULL, 5, 5);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct seen s = {0};
        struct buf body, copy;
        buf_init(&body, sizes[i]);
        buf_init(&copy, sizes[i]);
        for (size_t k = 0; k < sizes[i]; k++) {
            buf_append_byte(&body, (uint8_t)(k * 31 + k / 256));
        }
        buf_append(&copy, body.data, body.len);
        run_path(&f, &s, "/echo", &body);
        assert_int_equal(body.len, 0);
        assert_int_equal(s.result.err.kind, ERR_NONE);
        assert_int_equal(s.body.len, sizes[i]);
        assert_memory_equal(s.body.data, copy.data, sizes[i]);
        buf_free(&s.body);
        buf_free(&copy);
    }
    assert_int_equal(atomic_load(&f.stub->connections), 1);
    tear_down(&f);
}

static void streams_at_once(void **state)
{
    struct fixture f = set_up(NULL, NULL, 5, 5);
    struct seen s = {0};
    run_path(&f, &s, "/paced", NULL);
    assert_int_equal(s.datas, 5);
    assert_true(s.last_ns - s.first_ns > 300 * CLOCK_NS_PER_MS);
    assert_string_equal(buf_cstr(&s.body), "data00data01data02data03data04");
    buf_free(&s.body);
    struct seen c = {0};
    run_path(&f, &c, "/continue", NULL);
    assert_int_equal(c.statuses, 1);
    assert_string_equal(buf_cstr(&c.body), "then");
    buf_free(&c.body);
    tear_down(&f);
}

static void failures(void **state)
{
    static const struct {
        const char *path;
        enum err_kind kind;
        unsigned statuses;
    } rows[] = {{"/redirect", ERR_UPSTREAM, 0},          {"/cut", ERR_UPSTREAM, 1},
                {"/cut-chunk", ERR_UPSTREAM, 1},         {"/huge-headers", ERR_UPSTREAM, 0},
                {"/close", ERR_UNREACHABLE, 0},          {"/never", ERR_TIMEOUT, 0},
                {"/headers-then-never", ERR_TIMEOUT, 1}, {"/stall", ERR_TIMEOUT, 1}};
    struct fixture f = set_up(NULL, NULL, 1, 1);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct seen s = {0};
        int64_t begin = clock_boot_ns();
        run_path(&f, &s, rows[i].path, NULL);
        if (s.result.err.kind != rows[i].kind || s.statuses != rows[i].statuses) {
            fail_msg("%s: %s: %s", rows[i].path, err_kind_name(s.result.err.kind), s.result.err.message);
        }
        assert_true(clock_boot_ns() - begin < 3 * CLOCK_NS_PER_S);
        buf_free(&s.body);
    }
    struct seen g = {0};
    run_path(&f, &g, "/garbage", NULL);
    assert_int_not_equal(g.result.err.kind, ERR_NONE);
    buf_free(&g.body);
    tear_down(&f);
}

static void first_byte_may_take_longer(void **state)
{
    struct fixture f = set_up(NULL, NULL, 1, 4);
    struct seen s = {0};
    run_path(&f, &s, "/slow", NULL);
    assert_int_equal(s.result.err.kind, ERR_NONE);
    assert_string_equal(buf_cstr(&s.body), "late");
    buf_free(&s.body);
    tear_down(&f);
}

static void unreachable(void **state)
{
    struct fixture f = set_up(NULL, NULL, 1, 1);
    struct err err = {0};
    struct upstream_config *nobody = upstream_config_new(
        &(struct upstream_options){
            .base_url = "http://127.0.0.1:1", .unsafe_http = true, .silence_s = 1, .first_byte_s = 1},
        &err);
    struct upstream_loop *real = f.loop;
    f.loop = upstream_loop_new(f.base, nobody, &err);
    struct seen s = {0};
    run_path(&f, &s, "/plain", NULL);
    assert_int_equal(s.result.err.kind, ERR_UNREACHABLE);
    upstream_loop_free(f.loop);
    upstream_config_free(nobody);
    f.loop = real;
    buf_free(&s.body);
    tear_down(&f);
}

static void stale_connection_is_retried(void **state)
{
    struct fixture f = set_up(NULL, NULL, 5, 5);
    for (int i = 0; i < 3; i++) {
        struct seen s = {0};
        struct buf body;
        buf_init(&body, 10);
        buf_append_str(&body, "{}");
        run_path(&f, &s, "/once", &body);
        assert_int_equal(s.result.err.kind, ERR_NONE);
        buf_free(&s.body);
    }
    tear_down(&f);
}

/* ---- back-pressure ---- */

static void pause_is_bounded(void **state)
{
    struct fixture f = set_up(NULL, NULL, 1, 1);
    struct seen s = {.pause_at = 3}, other = {0};
    start(&f, &s, "/big", NULL);
    TURN_UNTIL(&f, s.expect_silence, 5);
    turn(&f, 1500); /* also past the silence time-out, which stands still */
    size_t had = s.body.len, sent = atomic_load(&f.stub->sent);
    assert_int_equal(s.dones, 0);
    assert_true(sent < STUB_BIG / 2); /* the kernel's buffers, not ours */
    turn(&f, 100);
    assert_int_equal(atomic_load(&f.stub->sent), sent);
    assert_int_equal(s.body.len, had);
    run_path(&f, &other, "/plain", NULL); /* another is not held up */
    assert_int_equal(other.result.err.kind, ERR_NONE);
    /* Resume does not call back by itself. */
    transfer_resume(s.t);
    transfer_resume(s.t);
    assert_int_equal(s.body.len, had);
    s.expect_silence = false;
    TURN_UNTIL(&f, s.dones > 0, 20);
    assert_int_equal(s.result.err.kind, ERR_NONE);
    assert_int_equal(s.body.len, STUB_BIG);
    buf_free(&s.body);
    buf_free(&other.body);
    tear_down(&f);
}

static void pause_at_each_piece(void **state)
{
    struct fixture f = set_up(NULL, NULL, 5, 5);
    struct seen s = {.pause_at = 1};
    start(&f, &s, "/chunks", NULL);
    while (s.dones == 0) {
        turn(&f, 5);
        if (s.t != NULL && s.expect_silence) {
            size_t had = s.datas;
            turn(&f, 10);
            assert_int_equal(s.datas, had);
            s.pause_at = s.datas + 1;
            s.expect_silence = false;
            if (s.t != NULL) {
                transfer_resume(s.t);
            }
        }
    }
    assert_int_equal(s.result.err.kind, ERR_NONE);
    assert_int_equal(s.body.len, 20 * 6);
    buf_free(&s.body);
    tear_down(&f);
}

static void pause_then_cancel(void **state)
{
    struct fixture f = set_up(NULL, NULL, 5, 5);
    struct seen s = {.pause_at = 1};
    start(&f, &s, "/big", NULL);
    TURN_UNTIL(&f, s.expect_silence, 5);
    turn(&f, 20);
    transfer_resume(s.t); /* queued, then overtaken */
    transfer_cancel(s.t);
    s.t = NULL;
    turn(&f, 50);
    assert_int_equal(s.dones, 0);
    assert_int_equal(upstream_loop_active(f.loop), 0);
    buf_free(&s.body);
    tear_down(&f);
}

/* ---- cancel ---- */

static void cancel_closes(void **state)
{
    struct fixture f = set_up(NULL, NULL, 5, 5);
    static const char *const paths[] = {"/never", "/stall"};
    for (unsigned i = 0; i < 2; i++) {
        struct seen s = {0};
        start(&f, &s, paths[i], NULL);
        turn(&f, 100);
        s.expect_silence = true;
        transfer_cancel(s.t);
        s.t = NULL;
        TURN_UNTIL(&f, atomic_load(&f.stub->hangups) == i + 1, 1);
        buf_free(&s.body);
    }
    struct seen s = {0};
    start(&f, &s, "/plain", NULL); /* before anything happened */
    transfer_cancel(s.t);
    turn(&f, 20);
    assert_int_equal(s.dones, 0);
    buf_free(&s.body);
    tear_down(&f);
}

static void cancel_inside(void **state)
{
    struct fixture f = set_up(NULL, NULL, 5, 5);
    struct seen in_status = {.cancel_in_status = true}, in_data = {.cancel_in_data = true};
    struct seen in_done = {.cancel_in_done = true}, victim = {0},
                killer = {.cancel_in_data = true, .victim = &victim};
    struct seen doomed = {0}, avenger = {.cancel_in_done = true, .victim = &doomed};
    start(&f, &in_status, "/stall", NULL);
    start(&f, &in_data, "/stall", NULL);
    start(&f, &in_done, "/plain", NULL);
    start(&f, &victim, "/never", NULL);
    turn(&f, 50);
    start(&f, &killer, "/plain", NULL);
    start(&f, &doomed, "/never", NULL);
    start(&f, &avenger, "/plain", NULL);
    TURN_UNTIL(&f, upstream_loop_active(f.loop) == 0, 5);
    TURN_UNTIL(&f, atomic_load(&f.stub->hangups) == 4, 1);
    assert_int_equal(in_status.dones + in_data.dones + victim.dones + doomed.dones, 0);
    assert_int_equal(in_done.dones + killer.dones + avenger.dones, 3);
    struct seen *all[] = {&in_status, &in_data, &in_done, &victim, &killer, &doomed, &avenger};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        buf_free(&all[i]->body);
    }
    tear_down(&f);
}

static void start_inside(void **state)
{
    struct fixture f = set_up(NULL, NULL, 5, 5);
    struct seen second = {0}, first = {.then = "/echo-nothing", .victim = &second};
    run_path(&f, &first, "/plain", NULL);
    TURN_UNTIL(&f, second.dones > 0, 5);
    assert_int_equal(second.status, 404);
    buf_free(&first.body);
    buf_free(&second.body);
    tear_down(&f);
}

static void many_at_once(void **state)
{
    struct fixture f = set_up(NULL, NULL, 5, 5);
    static struct seen s[40];
    unsigned done = 0;
    memset(s, 0, sizeof s);
    for (size_t i = 0; i < 40; i++) {
        start(&f, &s[i], i % 2 ? "/chunks" : "/paced", NULL);
    }
    for (int64_t limit = clock_boot_ns() + 20 * CLOCK_NS_PER_S; done < 40 && clock_boot_ns() < limit;
         done = 0) {
        turn(&f, 10);
        for (size_t i = 0; i < 40; i++) {
            done += s[i].dones;
        }
        if (done == 40) {
            break;
        }
    }
    for (size_t i = 0; i < 40; i++) {
        assert_int_equal(s[i].dones, 1);
        assert_int_equal(s[i].result.err.kind, ERR_NONE);
        assert_int_equal(s[i].body.len, i % 2 ? 120 : 30);
        buf_free(&s[i].body);
    }
    tear_down(&f);
}

static void freed_while_running(void **state)
{
    struct fixture f = set_up(NULL, NULL, 5, 5);
    struct seen a = {0}, b = {0};
    start(&f, &a, "/stall", NULL);
    turn(&f, 50);
    start(&f, &b, "/never", NULL);
    tear_down(&f);
    assert_int_equal(a.dones + b.dones, 0);
    buf_free(&a.body);
    buf_free(&b.body);
}

static void tls_streams(void **state)
{
    char file[] = "/tmp/e2ee-stub-XXXXXX";
    close(mkstemp(file));
    struct fixture f = set_up(stub_tls(file, "DNS:localhost", 0), file, 5, 5);
    struct seen s = {0}, big = {.pause_at = 2}, again = {0};
    run_path(&f, &s, "/chunks", NULL);
    assert_int_equal(s.result.err.kind, ERR_NONE);
    run_path(&f, &again, "/plain", NULL);
    assert_true(again.result.reused);
    start(&f, &big, "/big", NULL);
    TURN_UNTIL(&f, big.expect_silence, 5);
    turn(&f, 300);
    assert_true(atomic_load(&f.stub->sent) < STUB_BIG / 2);
    big.expect_silence = false;
    transfer_resume(big.t);
    TURN_UNTIL(&f, big.dones > 0, 20);
    assert_int_equal(big.body.len, STUB_BIG);
    buf_free(&s.body);
    buf_free(&again.body);
    buf_free(&big.body);
    tear_down(&f);
    unlink(file);
}

static void refused_requests(void **state)
{
    struct fixture f = set_up(NULL, NULL, 5, 5);
    static const struct transfer_header bad[] = {{"Host", "x"}};
    struct err err = {0};
    struct buf body;
    buf_init(&body, 10);
    buf_append_str(&body, "{}");
    assert_null(transfer_start(f.loop, &(struct transfer_request){.path = "nope", .body = &body}, &callbacks,
                               NULL, &err));
    assert_int_equal(err.kind, ERR_INVALID);
    assert_int_equal(body.len, 0);
    assert_null(transfer_start(f.loop, &(struct transfer_request){.path = "/plain", .body = &body},
                               &callbacks, NULL, &err));
    assert_int_equal(err.kind, ERR_INVALID);
    assert_null(transfer_start(
        f.loop, &(struct transfer_request){.path = "/plain", .headers = bad, .header_count = 1}, &callbacks,
        NULL, &err));
    assert_int_equal(err.kind, ERR_INVALID);
    char path[LIMIT_UPSTREAM_URL_BYTES + 2];
    memset(path, 'a', sizeof path);
    path[0] = '/';
    path[sizeof path - 1] = '\0';
    assert_null(transfer_start(f.loop, &(struct transfer_request){.path = path}, &callbacks, NULL, &err));
    assert_int_equal(err.kind, ERR_TOO_LARGE);
    assert_int_equal(upstream_loop_active(f.loop), 0);
    tear_down(&f);
}

static void allocation_faults(void **state)
{
    struct fixture f = set_up(NULL, NULL, 5, 5);
    size_t n = 0;
    for (bool done = false; !done;) {
        struct err err = {0};
        struct seen s = {.f = &f};
        struct buf body;
        buf_init(&body, 10);
        buf_append_str(&body, "{}");
        buf_init(&s.body, 1000);
        buf_reserve(&s.body, 1000);
        fault_alloc_at(++n);
        struct upstream_loop *loop = upstream_loop_new(f.base, f.config, &err);
        if (loop != NULL) {
            s.t = transfer_start(loop, &(struct transfer_request){.path = "/echo", .body = &body}, &callbacks,
                                 &s, &err);
            if (s.t != NULL) {
                TURN_UNTIL(&f, s.dones > 0, 5);
                err = s.result.err;
            }
            assert_int_equal(body.len, 0);
        }
        done = !fault_alloc_hit();
        fault_alloc_at(0);
        assert_int_equal(err.kind == ERR_NONE, done);
        upstream_loop_free(loop);
        buf_free(&s.body);
        buf_free(&body);
        assert_true(n < 50);
    }
    tear_down(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain),
        cmocka_unit_test(headers_and_key),
        cmocka_unit_test(bodies),
        cmocka_unit_test(streams_at_once),
        cmocka_unit_test(failures),
        cmocka_unit_test(first_byte_may_take_longer),
        cmocka_unit_test(unreachable),
        cmocka_unit_test(stale_connection_is_retried),
        cmocka_unit_test(pause_is_bounded),
        cmocka_unit_test(pause_at_each_piece),
        cmocka_unit_test(pause_then_cancel),
        cmocka_unit_test(cancel_closes),
        cmocka_unit_test(cancel_inside),
        cmocka_unit_test(start_inside),
        cmocka_unit_test(many_at_once),
        cmocka_unit_test(freed_while_running),
        cmocka_unit_test(tls_streams),
        cmocka_unit_test(refused_requests),
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
