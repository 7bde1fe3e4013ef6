#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <fcntl.h>

#include "base/clock.h"
#include "base/log.h"
#include "fault.h"
#include "keyholder/control.h"
#include "keyholder/fake_keyholder.h"

static const uint8_t point[POINT_BYTES] = {4, 7, 9};

static struct keyholder_options options(uint32_t call_ms)
{
    return (struct keyholder_options){
        .custody = KEYIPC_CUSTODY_TOKEN, .max_key_age_s = 4200, .call_ms = call_ms};
}

struct world {
    struct fake *fake;
    struct keyholder_control *control;
    int supervisor;
    uint32_t generation;
};

static void send_up(struct world *w, unsigned workers)
{
    struct keyholder_channel_message m = {
        .type = KEYHOLDER_CHANNEL_UP, .generation = ++w->generation, .fd_count = 1 + workers};
    struct err err = {0};
    for (unsigned i = 0; i < m.fd_count; i++) {
        m.fds[i] = fake_pair(w->fake);
    }
    assert_true(keyholder_channel_send(w->supervisor, &m, &err));
    for (unsigned i = 0; i < m.fd_count; i++) {
        close(m.fds[i]);
    }
}

static struct world over_channel(uint32_t call_ms)
{
    int pair[2];
    struct err err = {0};
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    struct world w = {.fake = fake_new(), .supervisor = pair[1]};
    struct keyholder_link *link = keyholder_link_channel(pair[0], &err);
    struct keyholder_options o = options(call_ms);
    assert_non_null(link);
    w.control = keyholder_control_new(link, &o, &err);
    assert_non_null(w.control);
    return w;
}

static struct world over_socket(uint32_t call_ms)
{
    struct err err = {0};
    struct world w = {.fake = fake_new(), .supervisor = -1};
    fake_listen(w.fake);
    struct keyholder_options o = options(call_ms);
    w.control = keyholder_control_new(keyholder_link_socket(w.fake->path, &err), &o, &err);
    assert_non_null(w.control);
    return w;
}

static void end(struct world *w)
{
    keyholder_control_free(w->control);
    fake_free(w->fake);
    if (w->supervisor >= 0) {
        close(w->supervisor);
    }
}

static void wait_ready(struct world *w)
{
    struct err err = {0};
    if (!keyholder_control_wait(w->control, 5000, &err)) {
        fail_msg("%s", err.message);
    }
}

#define WAIT_FOR(condition)                                                                                  \
    for (int64_t limit_ns = clock_boot_ns() + 20 * CLOCK_NS_PER_S; !(condition);) {                          \
        assert_true(clock_boot_ns() < limit_ns);                                                             \
        fake_sleep_ms(5);                                                                                    \
    }

static void opens(void **state)
{
    for (int socket_mode = 0; socket_mode < 2; socket_mode++) {
        struct world w = socket_mode ? over_socket(0) : over_channel(0);
        struct err err = {0};
        size_t live = secret_live_count();
        if (!socket_mode) {
            send_up(&w, 1);
        }
        wait_ready(&w);
        struct keyholder_opened o;
        assert_true(keyholder_open(w.control, point, &o, &err));
        assert_int_equal(o.key.id, 1000);
        assert_int_equal(o.key.generation, keyholder_control_generation(w.control));
        assert_memory_equal(o.client_point, point, POINT_BYTES);
        assert_int_equal(o.request_key.len, AEAD_KEY_BYTES);
        assert_int_equal(o.request_key.data[31], 0x5a);
        struct keyipc_status_answer s;
        assert_true(keyholder_status(w.control, &s, &err));
        assert_string_equal(s.tokens[0].label, "fake");
        struct keyholder_state st;
        keyholder_control_state(w.control, &st);
        assert_int_equal(st.token_state, KEYIPC_TOKEN_READY);
        assert_int_equal(st.hello.sessions, 4);
        assert_int_equal(st.reason.kind, ERR_NONE);
        keyholder_close(w.control,
                        (struct keyholder_key){5, o.key.generation + 1, 0}); /* not ours: nothing is sent */
        keyholder_close(w.control, o.key);
        WAIT_FOR(atomic_load(&w.fake->closes) == 1);
        keyholder_opened_clear(&o);
        end(&w);
        assert_int_equal(secret_live_count(), live - 1); /* the join secret's */
    }
}

static void absent(void **state)
{
    struct world w = over_channel(0);
    struct keyholder_opened o;
    struct err err = {0};
    assert_false(keyholder_open(w.control, point, &o, &err));
    assert_int_equal(err.kind, ERR_TOKEN);
    assert_null(o.request_key.data);
    assert_false(keyholder_control_wait(w.control, 50, &err));
    assert_int_equal(err.kind, ERR_TOKEN);
    assert_int_equal(keyholder_control_generation(w.control), 0);
    struct keyholder_channel_message m = {.type = KEYHOLDER_CHANNEL_DOWN, .reason = ERR_PIN, .generation = 1};
    assert_true(keyholder_channel_send(w.supervisor, &m, &err));
    WAIT_FOR(!keyholder_control_wait(w.control, 1, &err) && err.kind == ERR_PIN);
    assert_false(keyholder_open(w.control, point, &o, &err));
    assert_int_equal(err.kind, ERR_PIN);
    /* The supervisor leaves. */
    close(w.supervisor);
    w.supervisor = -1;
    fake_sleep_ms(50);
    assert_false(keyholder_open(w.control, point, &o, &err));
    end(&w);
}

static void comes_back(void **state)
{
    for (int socket_mode = 0; socket_mode < 2; socket_mode++) {
        struct world w = socket_mode ? over_socket(0) : over_channel(0);
        struct err err = {0};
        if (!socket_mode) {
            send_up(&w, 1);
        }
        wait_ready(&w);
        uint32_t first = keyholder_control_generation(w.control);
        fake_cut(w.fake);
        WAIT_FOR(keyholder_control_generation(w.control) != first);
        if (!socket_mode) {
            send_up(&w, 1);
        }
        wait_ready(&w);
        assert_int_not_equal(keyholder_control_generation(w.control), first);
        assert_int_not_equal(keyholder_control_generation(w.control), 0);
        struct keyholder_opened o;
        assert_true(keyholder_open(w.control, point, &o, &err));
        assert_int_equal(o.key.generation, keyholder_control_generation(w.control));
        keyholder_opened_clear(&o);
        /* A replacement without a loss before it. */
        if (!socket_mode) {
            uint32_t second = keyholder_control_generation(w.control);
            send_up(&w, 1);
            WAIT_FOR(keyholder_control_generation(w.control) == second + 1);
        }
        end(&w);
    }
}

static void refusals(void **state)
{
    struct world w = over_socket(0);
    struct err err = {0};
    wait_ready(&w);
    atomic_store(&w.fake->hello_error, ERR_PIN);
    fake_cut(w.fake);
    WAIT_FOR(!keyholder_control_wait(w.control, 1, &err) && err.kind == ERR_PIN);
    atomic_store(&w.fake->hello_error, 0);
    atomic_store(&w.fake->bad_custody, true);
    fake_sleep_ms(300);
    assert_int_equal(keyholder_control_generation(w.control), 0);
    atomic_store(&w.fake->bad_custody, false);
    atomic_store(&w.fake->token_state, KEYIPC_TOKEN_DOWN);
    WAIT_FOR(keyholder_control_generation(w.control) != 0);
    assert_false(keyholder_control_wait(w.control, 50, &err));
    assert_int_equal(err.kind, ERR_TOKEN);
    atomic_store(&w.fake->token_state, KEYIPC_TOKEN_READY);
    wait_ready(&w);
    assert_int_equal(keyholder_control_losses(w.control), 0);
    atomic_store(&w.fake->token_state, KEYIPC_TOKEN_DOWN); /* now it had keys */
    WAIT_FOR(keyholder_control_losses(w.control) == 1);
    atomic_store(&w.fake->token_state, KEYIPC_TOKEN_READY);
    wait_ready(&w);
    assert_int_equal(keyholder_control_losses(w.control), 1);
    atomic_store(&w.fake->log_fails, true); /* the keys are there, though nothing may use them */
    WAIT_FOR(!keyholder_control_wait(w.control, 1, &err));
    atomic_store(&w.fake->log_fails, false);
    wait_ready(&w);
    assert_int_equal(keyholder_control_losses(w.control), 1);
    end(&w);
}

static void hang(void **state)
{
    struct world w = over_channel(200);
    struct err err = {0};
    struct keyholder_opened o;
    send_up(&w, 1);
    wait_ready(&w);
    size_t live = secret_live_count();
    atomic_store(&w.fake->silent_open, true);
    int64_t begin = clock_boot_ns();
    assert_false(keyholder_open(w.control, point, &o, &err));
    assert_int_equal(err.kind, ERR_TOKEN);
    assert_in_range(clock_boot_ns() - begin, 150 * CLOCK_NS_PER_MS, 2 * CLOCK_NS_PER_S);
    /* The supervisor hears of it. */
    struct keyholder_channel_message m;
    bool got = false;
    assert_true(keyholder_channel_receive(w.supervisor, &m, &got, &err));
    assert_true(got);
    assert_int_equal(m.type, KEYHOLDER_CHANNEL_HUNG);
    assert_int_equal(m.generation, 1);
    assert_int_equal(keyholder_control_generation(w.control), 0);
    atomic_store(&w.fake->silent_open, false);
    send_up(&w, 1);
    wait_ready(&w);
    assert_true(keyholder_open(w.control, point, &o, &err));
    keyholder_opened_clear(&o);
    WAIT_FOR(secret_live_count() <= live);
    end(&w);
}

static void *late_progress(void *arg)
{
    struct world *w = arg;
    struct keyholder_opened o;
    struct err err;
    fake_sleep_ms(300);
    atomic_store(&w->fake->silent_open, false);
    fake_sleep_ms(100);
    if (keyholder_open(w->control, point, &o, &err)) {
        keyholder_opened_clear(&o);
    }
    return NULL;
}

/* A call that is late on a token that works: no hang, and the key that comes too late is closed. */
static void late_answer(void **state)
{
    struct world w = over_channel(250);
    struct err err = {0};
    struct keyholder_opened o;
    pthread_t thread;
    send_up(&w, 1);
    wait_ready(&w);
    fake_sleep_ms(300);
    assert_true(keyholder_open(w.control, point, &o, &err));
    keyholder_opened_clear(&o);
    atomic_store(&w.fake->silent_open, true);
    pthread_create(&thread, NULL, late_progress, &w);
    fake_sleep_ms(10);
    bool ok = keyholder_open(w.control, point, &o, &err);
    assert_false(ok);
    pthread_join(thread, NULL);
    end(&w);
}

static void *opener(void *arg)
{
    struct world *w = arg;
    for (int i = 0; i < 20; i++) {
        struct keyholder_opened o;
        struct err err = {0};
        if (keyholder_open(w->control, point, &o, &err)) {
            keyholder_close(w->control, o.key);
            keyholder_opened_clear(&o);
        } else if (err.kind != ERR_TOKEN && err.kind != ERR_CANCELLED) {
            fprintf(stderr, "%s\n", err.message);
            abort();
        }
    }
    return NULL;
}

static void many_callers(void **state)
{
    struct world w = over_socket(2000);
    pthread_t threads[6];
    wait_ready(&w);
    for (size_t i = 0; i < 6; i++) {
        pthread_create(&threads[i], NULL, opener, &w);
    }
    fake_sleep_ms(5);
    fake_cut(w.fake);
    for (size_t i = 0; i < 6; i++) {
        pthread_join(threads[i], NULL);
    }
    end(&w);
}

static void *hopeless(void *arg)
{
    struct world *w = arg;
    struct keyholder_opened o;
    struct err err = {0};
    bool ok = keyholder_open(w->control, point, &o, &err);
    return (void *)(intptr_t)(!ok && err.kind == ERR_CANCELLED);
}

static void shutdown_fails_callers(void **state)
{
    struct world w = over_channel(0);
    pthread_t thread;
    void *result;
    send_up(&w, 1);
    wait_ready(&w);
    atomic_store(&w.fake->silent_open, true);
    pthread_create(&thread, NULL, hopeless, &w);
    WAIT_FOR(atomic_load(&w.fake->opens) == 1);
    keyholder_control_free(w.control);
    w.control = NULL;
    pthread_join(thread, &result);
    assert_true((intptr_t)result);
    end(&w);
}

static void channel_messages(void **state)
{
    int pair[2], fds[2];
    struct keyholder_channel_message m = {.type = KEYHOLDER_CHANNEL_UP, .generation = 0x01020304}, r;
    struct err err = {0};
    bool got;
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
    assert_true(keyholder_channel_receive(pair[1], &r, &got, &err));
    assert_false(got);
    assert_false(keyholder_channel_send(pair[0], &m, &err)); /* no descriptors */
    assert_int_equal(err.kind, ERR_INTERNAL);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    m.fd_count = KEYHOLDER_CHANNEL_FDS;
    for (unsigned i = 0; i < m.fd_count; i++) {
        m.fds[i] = fds[i % 2];
    }
    assert_true(keyholder_channel_send(pair[0], &m, &err));
    assert_true(keyholder_channel_receive(pair[1], &r, &got, &err));
    assert_true(got);
    assert_int_equal(r.generation, 0x01020304);
    assert_int_equal(r.fd_count, KEYHOLDER_CHANNEL_FDS);
    for (unsigned i = 0; i < r.fd_count; i++) {
        assert_int_equal(fcntl(r.fds[i], F_GETFD), FD_CLOEXEC);
        close(r.fds[i]);
    }
    static const char *const bad[] = {"short", "\x09\0\0\0\0\0\0\x01", "\x01\0\0\x02\0\0\0\x01",
                                      "\x02\0\0\0\0\0\0\x01", "\x03\x0a\0\0\0\0\0\x01"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_true(send(pair[0], bad[i], i == 0 ? 5 : 8, 0) > 0);
        assert_false(keyholder_channel_receive(pair[1], &r, &got, &err));
        assert_int_equal(err.kind, ERR_PROTOCOL);
        assert_false(got);
    }
    assert_true(send(pair[0], "\x03\0\0\0\0\0\0\x01yy", 10, 0) > 0);
    assert_false(keyholder_channel_receive(pair[1], &r, &got, &err));
    assert_int_equal(err.kind, ERR_PROTOCOL);
    close(pair[0]);
    assert_false(keyholder_channel_receive(pair[1], &r, &got, &err));
    assert_int_equal(err.kind, ERR_IO);
    close(pair[1]);
    close(fds[0]);
    close(fds[1]);
}

static void link_paths(void **state)
{
    char path[200];
    struct err err = {0};
    memset(path, 'p', sizeof path);
    path[sizeof path - 1] = '\0';
    assert_null(keyholder_link_socket(path, &err));
    assert_int_equal(err.kind, ERR_CONFIG);
    assert_null(keyholder_link_socket("", &err));
}

static void allocation_faults(void **state)
{
    struct fake *fake = fake_new();
    size_t live = secret_live_count(), n = 0;
    fake_listen(fake);
    for (bool done = false; !done;) {
        struct err err = {0};
        struct keyholder_options o = options(2000);
        struct keyholder_opened opened = {0};
        fault_alloc_at(++n);
        struct keyholder_link *link = keyholder_link_socket(fake->path, &err);
        struct keyholder_control *c = link != NULL ? keyholder_control_new(link, &o, &err) : NULL;
        bool ok =
            c != NULL && keyholder_control_wait(c, 5000, &err) && keyholder_open(c, point, &opened, &err);
        done = !fault_alloc_hit();
        fault_alloc_at(0);
        assert_int_equal(ok, done);
        if (!ok) {
            assert_int_equal(err.kind, ERR_MEMORY);
            assert_null(opened.request_key.data);
        }
        keyholder_opened_clear(&opened);
        keyholder_control_free(c);
        assert_true(n < 50);
    }
    fake_free(fake);
    assert_int_equal(secret_live_count(), live);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opens),
        cmocka_unit_test(absent),
        cmocka_unit_test(comes_back),
        cmocka_unit_test(refusals),
        cmocka_unit_test(hang),
        cmocka_unit_test(late_answer),
        cmocka_unit_test(many_callers),
        cmocka_unit_test(shutdown_fails_callers),
        cmocka_unit_test(channel_messages),
        cmocka_unit_test(link_paths),
        cmocka_unit_test(allocation_faults),
    };
    struct err err = {0};
    log_init("test", LOG_LEVEL_ERROR, false);
    if (!secret_heap_init(&err)) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
