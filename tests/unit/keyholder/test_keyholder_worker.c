#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <event2/event.h>

#include "base/clock.h"
#include "base/log.h"
#include "fault.h"
#include "keyholder/fake_keyholder.h"
#include "keyholder/slots.h"
#include "keyholder/worker.h"

struct world {
    struct fake *fake;
    struct keyholder_control *control;
    struct keyholder_worker *worker;
    struct event_base *base;
    struct keyholder_key key;
    int supervisor;
    uint32_t generation;
};

/* What one request was told. */
struct told {
    unsigned calls, keys;
    enum err_kind kind;
    uint8_t first;
    unsigned order;
    bool never; /* cancelled: a callback is a failure */
    struct world *again;
    uint64_t cancel; /* this stream, from the callback */
};

static unsigned order;

static void send_up(struct world *w)
{
    struct keyholder_channel_message m = {
        .type = KEYHOLDER_CHANNEL_UP, .generation = ++w->generation, .fd_count = 2};
    struct err err = {0};
    m.fds[0] = fake_pair(w->fake);
    m.fds[1] = fake_pair(w->fake);
    assert_true(keyholder_channel_send(w->supervisor, &m, &err));
    close(m.fds[0]);
    close(m.fds[1]);
}

static void turn(struct world *w, long ms)
{
    event_base_loopexit(w->base, &(struct timeval){ms / 1000, ms % 1000 * 1000});
    event_base_loop(w->base, EVLOOP_NO_EXIT_ON_EMPTY);
}

#define TURN_UNTIL(w, condition)                                                                             \
    for (int64_t limit_ns = clock_boot_ns() + 10 * CLOCK_NS_PER_S; !(condition);) {                          \
        assert_true(clock_boot_ns() < limit_ns);                                                             \
        turn(w, 2);                                                                                          \
    }

static void get_ready(struct world *w)
{
    struct err err = {0};
    if (!keyholder_control_wait(w->control, 5000, &err)) {
        fail_msg("%s", err.message);
    }
    w->key = (struct keyholder_key){1000, keyholder_control_generation(w->control), 0};
}

static struct world set_up(bool channel, uint32_t call_ms)
{
    struct world w = {.fake = fake_new(), .supervisor = -1, .base = event_base_new()};
    struct err err = {0};
    struct keyholder_options o = {.custody = KEYIPC_CUSTODY_TOKEN, .max_key_age_s = 4200, .call_ms = call_ms};
    struct keyholder_link *link = NULL;
    order = 0;
    if (channel) {
        int pair[2];
        assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
        w.supervisor = pair[1];
        link = keyholder_link_channel(pair[0], &err);
    } else {
        fake_listen(w.fake);
        link = keyholder_link_socket(w.fake->path, &err);
    }
    w.control = keyholder_control_new(link, &o, &err);
    assert_non_null(w.control);
    w.worker = keyholder_worker_new(w.base, w.control, 0, &err);
    assert_non_null(w.worker);
    if (channel) {
        send_up(&w);
    }
    get_ready(&w);
    return w;
}

static void tear_down(struct world *w)
{
    keyholder_worker_free(w->worker);
    keyholder_control_free(w->control);
    fake_free(w->fake);
    if (w->supervisor >= 0) {
        close(w->supervisor);
    }
    event_base_free(w->base);
}

static bool ask(struct world *w, struct told *t, uint64_t stream, uint8_t second, struct err *err);

static void on_key(void *arg, struct secret *key, const struct err *err, int64_t ns)
{
    struct told *t = arg;
    assert_false(t->never);
    assert_int_equal(t->calls++, 0);
    assert_true(ns >= 0);
    t->order = ++order;
    if (key != NULL) {
        assert_null(err);
        assert_int_equal(key->len, AEAD_KEY_BYTES);
        t->keys = 1;
        t->first = key->data[0];
        struct secret mine = SECRET_EMPTY;
        if (t->order % 2 == 0) { /* both ways that the contract allows */
            secret_move(&mine, key);
            secret_free(&mine);
        }
    } else {
        t->kind = err->kind;
    }
    if (t->cancel != 0) {
        keyholder_cancel(t->again->worker, t->cancel);
    } else if (t->again != NULL) {
        struct err why = {0};
        struct world *w = t->again;
        *t = (struct told){.calls = 0};
        assert_true(ask(w, t, 9, 9, &why));
    }
}

static bool ask(struct world *w, struct told *t, uint64_t stream, uint8_t second, struct err *err)
{
    uint8_t point[POINT_BYTES] = {4, second};
    return keyholder_derive(w->worker, w->key, stream, point, on_key, t, err);
}

static void must_ask(struct world *w, struct told *t, uint64_t stream, uint8_t second)
{
    struct err err = {0};
    if (!ask(w, t, stream, second, &err)) {
        fail_msg("%s", err.message);
    }
    assert_int_equal(t->calls, 0);
}

static void derives(void **state)
{
    for (int channel = 0; channel < 2; channel++) {
        struct world w = set_up(channel, 0);
        struct told t[5] = {0};
        size_t live = secret_live_count();
        for (uint8_t i = 0; i < 5; i++) {
            must_ask(&w, &t[i], 1, (uint8_t)(10 + i));
        }
        assert_int_equal(keyholder_worker_pending(w.worker), 5);
        TURN_UNTIL(&w, t[4].calls == 1);
        for (uint8_t i = 0; i < 5; i++) {
            assert_int_equal(t[i].calls, 1);
            assert_int_equal(t[i].first, 10 + i);
        }
        assert_int_equal(keyholder_worker_pending(w.worker), 0);
        assert_int_equal(secret_live_count(), live);
        tear_down(&w);
    }
}

static void one_write_for_a_turn(void **state)
{
    struct world w = set_up(true, 0);
    struct told warm = {0}, t[50] = {0};
    must_ask(&w, &warm, 1, 1);
    TURN_UNTIL(&w, warm.calls == 1);
    unsigned before = atomic_load(&w.fake->reads);
    for (size_t i = 0; i < 50; i++) {
        must_ask(&w, &t[i], 1, (uint8_t)i);
    }
    TURN_UNTIL(&w, t[49].calls == 1);
    assert_int_equal(atomic_load(&w.fake->reads), before + 1);
    tear_down(&w);
}

static void any_order(void **state)
{
    struct world w = set_up(true, 0);
    struct told t[100] = {0};
    atomic_store(&w.fake->mode, FAKE_HOLD);
    for (size_t i = 0; i < 100; i++) {
        must_ask(&w, &t[i], 1, (uint8_t)i);
    }
    TURN_UNTIL(&w, atomic_load(&w.fake->derives) == 100);
    atomic_store(&w.fake->release, true);
    TURN_UNTIL(&w, t[0].calls == 1);
    for (size_t i = 0; i < 100; i++) {
        assert_int_equal(t[i].calls, 1);
        assert_int_equal(t[i].first, i);
        assert_int_equal(t[i].order, 100 - i);
    }
    tear_down(&w);
}

static void derive_from_callback(void **state)
{
    struct world w = set_up(true, 0);
    struct told t = {.again = &w};
    must_ask(&w, &t, 1, 1);
    TURN_UNTIL(&w, t.calls == 1 && t.first == 9);
    tear_down(&w);
}

static void refused_point(void **state)
{
    struct world w = set_up(true, 0);
    struct told t = {0};
    atomic_store(&w.fake->mode, FAKE_REFUSE);
    must_ask(&w, &t, 1, 1);
    TURN_UNTIL(&w, t.calls == 1);
    assert_int_equal(t.kind, ERR_INVALID);
    tear_down(&w);
}

/* Lies end the connection and fail what is pending; over a socket the next request works again. */
static void lies(void **state)
{
    static const enum fake_mode modes[] = {FAKE_CUT, FAKE_GARBAGE, FAKE_UNKNOWN, FAKE_WRONG_OP};
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        struct world w = set_up(false, 0);
        struct told t[3] = {0}, after = {0};
        struct err err = {0};
        atomic_store(&w.fake->mode, modes[i]);
        for (size_t k = 0; k < 3; k++) {
            must_ask(&w, &t[k], k, 1);
        }
        TURN_UNTIL(&w, t[0].calls + t[1].calls + t[2].calls == 3);
        for (size_t k = 0; k < 3; k++) {
            assert_int_equal(t[k].kind, ERR_TOKEN);
        }
        atomic_store(&w.fake->mode, FAKE_ANSWER);
        TURN_UNTIL(&w, ask(&w, &after, 5, 7, &err));
        TURN_UNTIL(&w, after.calls == 1);
        assert_int_equal(after.first, 7);
        tear_down(&w);
    }
}

static void repeated_answer(void **state)
{
    struct world w = set_up(false, 0);
    struct told t = {0};
    atomic_store(&w.fake->mode, FAKE_REPEAT);
    must_ask(&w, &t, 1, 3);
    TURN_UNTIL(&w, t.calls == 1);
    assert_int_equal(t.first, 3);
    unsigned hellos = atomic_load(&w.fake->hellos);
    TURN_UNTIL(&w, atomic_load(&w.fake->hellos) > hellos); /* cut, and connected again */
    tear_down(&w);
}

/* Over a channel a worker that was cut gets its next connection with the next keyholder. */
static void cut_over_channel(void **state)
{
    struct world w = set_up(true, 0);
    struct told t = {0}, after = {0};
    struct err err = {0};
    struct keyholder_channel_message m;
    bool got = false;
    atomic_store(&w.fake->mode, FAKE_CUT);
    must_ask(&w, &t, 1, 1);
    TURN_UNTIL(&w, t.calls == 1);
    assert_int_equal(t.kind, ERR_TOKEN);
    assert_false(ask(&w, &after, 1, 1, &err));
    assert_int_equal(err.kind, ERR_TOKEN);
    while (!got) {
        turn(&w, 50);
        struct pollfd p = {w.supervisor, POLLIN, 0};
        if (poll(&p, 1, 0) == 1) {
            assert_true(keyholder_channel_receive(w.supervisor, &m, &got, &err));
        }
    }
    assert_int_equal(m.type, KEYHOLDER_CHANNEL_HUNG);
    assert_int_equal(m.generation, 1);
    atomic_store(&w.fake->mode, FAKE_ANSWER);
    struct keyholder_key old = w.key;
    send_up(&w);
    get_ready(&w);
    must_ask(&w, &after, 1, 8);
    TURN_UNTIL(&w, after.calls == 1);
    assert_int_equal(after.first, 8);
    w.key = old;
    assert_false(ask(&w, &after, 1, 8, &err));
    assert_int_equal(err.kind, ERR_KEY_GONE);
    tear_down(&w);
}

static void keyholder_dies(void **state)
{
    struct world w = set_up(true, 0);
    struct told t[10] = {0};
    struct err err = {0};
    atomic_store(&w.fake->mode, FAKE_SWALLOW);
    for (size_t i = 0; i < 10; i++) {
        must_ask(&w, &t[i], i, 1);
    }
    TURN_UNTIL(&w, atomic_load(&w.fake->derives) == 10);
    fake_cut(w.fake);
    TURN_UNTIL(&w, t[9].calls == 1 && keyholder_control_generation(w.control) == 0);
    for (size_t i = 0; i < 10; i++) {
        assert_true(t[i].kind == ERR_TOKEN || t[i].kind == ERR_KEY_GONE);
    }
    assert_false(ask(&w, &t[0], 1, 1, &err));
    assert_int_equal(err.kind, ERR_TOKEN);
    tear_down(&w);
}

static void hang(void **state)
{
    struct world w = set_up(true, 200);
    struct told t[3] = {0};
    struct err err = {0};
    struct keyholder_channel_message m;
    bool got = false;
    atomic_store(&w.fake->mode, FAKE_SWALLOW);
    atomic_store(&w.fake->silent_status, true);
    for (size_t i = 0; i < 3; i++) {
        must_ask(&w, &t[i], i, 1);
    }
    TURN_UNTIL(&w, t[2].calls == 1);
    assert_int_equal(t[0].kind, ERR_TOKEN);
    TURN_UNTIL(&w, keyholder_control_generation(w.control) == 0);
    assert_true(keyholder_channel_receive(w.supervisor, &m, &got, &err));
    assert_int_equal(m.type, KEYHOLDER_CHANNEL_HUNG);
    tear_down(&w);
}

/* One request that gets no answer on a token that answers others is late, not a hang; its late answer harms nobody. */
static void late(void **state)
{
    struct world w = set_up(true, 300);
    struct told slow = {0};
    atomic_store(&w.fake->mode, FAKE_HOLD);
    must_ask(&w, &slow, 1, 1);
    TURN_UNTIL(&w, atomic_load(&w.fake->derives) == 1);
    atomic_store(&w.fake->mode, FAKE_ANSWER);
    while (slow.calls == 0) {
        struct told quick = {0};
        must_ask(&w, &quick, 2, 2);
        TURN_UNTIL(&w, quick.calls == 1);
        assert_int_equal(quick.first, 2);
    }
    assert_int_equal(slow.kind, ERR_TOKEN);
    assert_int_equal(keyholder_control_generation(w.control), 1);
    atomic_store(&w.fake->release, true);
    turn(&w, 50);
    struct told again = {0};
    must_ask(&w, &again, 2, 4);
    TURN_UNTIL(&w, again.calls == 1);
    assert_int_equal(again.first, 4);
    tear_down(&w);
}

static void cancels(void **state)
{
    struct world w = set_up(true, 0);
    struct told gone[20] = {0}, stays = {0};
    size_t live = secret_live_count();
    atomic_store(&w.fake->mode, FAKE_HOLD);
    for (size_t i = 0; i < 20; i++) {
        must_ask(&w, &gone[i], 7, 1);
    }
    must_ask(&w, &stays, 8, 2);
    TURN_UNTIL(&w, atomic_load(&w.fake->derives) == 21);
    keyholder_cancel(w.worker, 7);
    keyholder_cancel(w.worker, 99);
    for (size_t i = 0; i < 20; i++) {
        gone[i].never = true;
    }
    assert_int_equal(keyholder_worker_pending(w.worker), 1);
    TURN_UNTIL(&w, atomic_load(&w.fake->cancels) == 1);
    atomic_store(&w.fake->release, true);
    TURN_UNTIL(&w, stays.calls == 1);
    assert_int_equal(stays.first, 2);
    turn(&w, 20);
    assert_int_equal(secret_live_count(), live);
    /* Of failed requests whose callbacks are still to come, from one of these callbacks. */
    struct told first = {.again = &w, .cancel = 6}, second = {.never = true};
    atomic_store(&w.fake->mode, FAKE_CUT);
    must_ask(&w, &first, 5, 1);
    must_ask(&w, &second, 6, 1);
    TURN_UNTIL(&w, first.calls == 1);
    turn(&w, 20);
    tear_down(&w);
}

static void bounded(void **state)
{
    struct world w = set_up(true, 0);
    static struct told t[LIMIT_KEYIPC_PENDING];
    struct told more = {0};
    struct err err = {0};
    memset(t, 0, sizeof t);
    atomic_store(&w.fake->mode, FAKE_HOLD);
    for (size_t i = 0; i < LIMIT_KEYIPC_PENDING; i++) {
        must_ask(&w, &t[i], i, (uint8_t)i);
    }
    assert_false(ask(&w, &more, 1, 1, &err));
    assert_int_equal(err.kind, ERR_BUSY);
    TURN_UNTIL(&w, atomic_load(&w.fake->derives) == LIMIT_KEYIPC_PENDING);
    /* Cancelled ones still count until their answer: the ids are not free. */
    t[5].never = true;
    keyholder_cancel(w.worker, 5);
    assert_false(ask(&w, &more, 1, 1, &err));
    atomic_store(&w.fake->release, true);
    TURN_UNTIL(&w, keyholder_worker_pending(w.worker) == 0);
    for (size_t i = 0; i < LIMIT_KEYIPC_PENDING; i++) {
        assert_int_equal(t[i].calls, i != 5);
        assert_int_equal(t[i].first, i != 5 ? (uint8_t)i : 0);
    }
    /* No allocation in steady state. */
    atomic_store(&w.fake->mode, FAKE_ANSWER);
    fault_alloc_at(1);
    for (int i = 0; i < 300; i++) {
        struct told one = {0};
        must_ask(&w, &one, 1, 1);
        TURN_UNTIL(&w, one.calls == 1);
    }
    assert_false(fault_alloc_hit());
    fault_alloc_at(0);
    tear_down(&w);
}

static void before_connected(void **state)
{
    /* At once after the control is up, the worker's own wake-up still unread. */
    struct world w = set_up(true, 0);
    struct told t = {0};
    struct err err = {0};
    w.key.generation++;
    assert_false(ask(&w, &t, 1, 1, &err));
    assert_int_equal(err.kind, ERR_KEY_GONE);
    w.key.generation--;
    must_ask(&w, &t, 1, 1);
    TURN_UNTIL(&w, t.calls == 1);
    keyholder_worker_free(w.worker); /* with something pending */
    w.worker = keyholder_worker_new(w.base, w.control, 64, &err);
    assert_null(w.worker);
    assert_int_equal(err.kind, ERR_CONFIG);
    tear_down(&w);
}

static void freed_with_pending(void **state)
{
    struct world w = set_up(true, 0);
    struct told t = {.never = true}, u = {.never = true};
    must_ask(&w, &t, 1, 1);
    turn(&w, 0);
    must_ask(&w, &u, 1, 1);
    tear_down(&w);
}

static void allocation_faults(void **state)
{
    struct world w = set_up(false, 0);
    size_t n = 0;
    keyholder_worker_free(w.worker);
    for (bool done = false; !done;) {
        struct err err = {0};
        static struct told t[300];
        memset(t, 0, sizeof t);
        bool ok = true;
        fault_alloc_at(++n);
        w.worker = keyholder_worker_new(w.base, w.control, 0, &err);
        size_t asked = 0;
        for (; w.worker != NULL && asked < 300 && ok; asked += ok) {
            ok = ask(&w, &t[asked], asked, (uint8_t)asked, &err);
        }
        for (size_t i = 0; i < asked; i++) {
            TURN_UNTIL(&w, t[i].calls == 1);
            if (!fault_alloc_hit()) {
                assert_int_equal(t[i].first, (uint8_t)i);
            }
        }
        done = !fault_alloc_hit();
        fault_alloc_at(0);
        assert_int_equal(err.kind, done ? ERR_NONE : ERR_MEMORY);
        keyholder_worker_free(w.worker);
        w.worker = NULL;
        assert_true(n < 50);
    }
    tear_down(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(derives),
        cmocka_unit_test(one_write_for_a_turn),
        cmocka_unit_test(any_order),
        cmocka_unit_test(derive_from_callback),
        cmocka_unit_test(refused_point),
        cmocka_unit_test(lies),
        cmocka_unit_test(repeated_answer),
        cmocka_unit_test(cut_over_channel),
        cmocka_unit_test(keyholder_dies),
        cmocka_unit_test(hang),
        cmocka_unit_test(late),
        cmocka_unit_test(cancels),
        cmocka_unit_test(bounded),
        cmocka_unit_test(before_connected),
        cmocka_unit_test(freed_with_pending),
        cmocka_unit_test(allocation_faults),
    };
    struct err err = {0};
    if (!secret_heap_init(&err)) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    log_init("test", LOG_LEVEL_ERROR, false);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
