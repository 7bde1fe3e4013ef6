/* The table of sessions with a keyholder of a few lines: its functions are defined here, so the linker takes these
 * instead of the library's. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>
#include <event2/event.h>
#include <event2/thread.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "fault.h"
#include "session/budget.h"
#include "session/sessions.h"
#include "session/table.h"

static atomic_uint generation = 1, losses;
static atomic_int opened, closed, attested, fetched;
static atomic_int attest_ms, attest_kind, attest_retry_s;
static atomic_llong fetched_ago_ns; /* how old a list is said to be */

bool keyholder_control_wait(struct keyholder_control *control, unsigned timeout_ms, struct err *err)
{
    return atomic_load(&generation) != 0 || err_set(err, ERR_TOKEN, "no token");
}

bool keyholder_open(struct keyholder_control *control, const uint8_t model_point[static POINT_BYTES],
                    struct keyholder_opened *out, struct err *err)
{
    memset(out, 0, sizeof *out);
    out->key.id = (uint64_t)atomic_fetch_add(&opened, 1) + 1;
    out->key.generation = atomic_load(&generation);
    out->key.losses = atomic_load(&losses);
    memset(out->client_point, 4, POINT_BYTES);
    return secret_new(&out->request_key, 32, err);
}

void keyholder_opened_clear(struct keyholder_opened *o)
{
    secret_free(&o->request_key);
}

void keyholder_close(struct keyholder_control *control, struct keyholder_key key)
{
    atomic_fetch_add(&closed, 1);
}

uint32_t keyholder_control_generation(struct keyholder_control *control)
{
    return atomic_load(&generation);
}

uint32_t keyholder_control_losses(struct keyholder_control *control)
{
    return atomic_load(&losses);
}

static void pause_ms(int ms)
{
    struct timespec t = {ms / 1000, (ms % 1000) * 1000000L};
    nanosleep(&t, NULL);
}

static bool attest(void *arg, const char *model, struct session_evidence *out, struct err *err)
{
    atomic_fetch_add(&attested, 1);
    pause_ms(atomic_load(&attest_ms));
    int kind = atomic_load(&attest_kind);
    if (kind != ERR_NONE) {
        err_set(err, (enum err_kind)kind, "refused for the test");
        return err_retry_after(err, atomic_load(&attest_retry_s));
    }
    memset(out->model_point, 7, POINT_BYTES);
    out->fresh_for_ns = 3600 * CLOCK_NS_PER_S;
    return true;
}

static struct catalogue *fetch(void *arg, struct err *err)
{
    static const char text[] =
        "{\"data\":[{\"id\":\"m\",\"model_spec\":{\"capabilities\":{\"supportsE2EE\":true,"
        "\"supportsTeeAttestation\":true}}},"
        "{\"id\":\"plain\",\"model_spec\":{\"capabilities\":{\"supportsE2EE\":false,"
        "\"supportsTeeAttestation\":true}}}]}";
    atomic_fetch_add(&fetched, 1);
    if (atomic_load(&attest_kind) == ERR_UNREACHABLE) {
        err_set(err, ERR_UNREACHABLE, "down");
        return NULL;
    }
    return catalogue_parse(text, sizeof text - 1, clock_boot_ns() - atomic_load(&fetched_ago_ns), err);
}

struct fixture {
    struct event_base *base;
    struct mailbox *box;
    struct sessions *sessions;
};

struct result {
    int calls;
    struct session *session;
    struct catalogue *catalogue;
    struct err err;
};

static void on_result(void *arg, struct session *session, struct catalogue *catalogue, const struct err *err)
{
    struct result *r = arg;
    r->calls++;
    r->session = session;
    r->catalogue = catalogue;
    r->err = *err;
}

static struct fixture make(int64_t life_ms)
{
    struct err err = {0};
    struct fixture f;
    atomic_store(&opened, 0);
    atomic_store(&closed, 0);
    atomic_store(&attested, 0);
    atomic_store(&fetched, 0);
    atomic_store(&attest_ms, 20);
    atomic_store(&attest_kind, ERR_NONE);
    atomic_store(&generation, 1);
    const struct sessions_options options = {
        .life_ns = life_ms * CLOCK_NS_PER_MS, .threads = 2, .attest = attest, .fetch_catalogue = fetch};
    f.base = event_base_new();
    f.box = mailbox_new(f.base, &err);
    f.sessions = sessions_new(&options, &err);
    assert_non_null(f.box);
    assert_non_null(f.sessions);
    return f;
}

static void unmake(struct fixture *f)
{
    sessions_free(f->sessions);
    mailbox_free(f->box);
    event_base_free(f->base);
    assert_int_equal(atomic_load(&opened), atomic_load(&closed)); /* no key is left in the token */
    assert_int_equal(secret_live_count(), 0);
}

/* Runs the loop until *calls reaches want, three seconds at most. */
static void run_until(struct fixture *f, const int *calls, int want)
{
    int64_t end = clock_boot_ns() + 3 * CLOCK_NS_PER_S;
    while (*calls < want && clock_boot_ns() < end) {
        event_base_loop(f->base, EVLOOP_NONBLOCK | EVLOOP_NO_EXIT_ON_EMPTY);
        pause_ms(1);
    }
    assert_int_equal(*calls, want);
}

static struct session *acquire(struct fixture *f, struct err *err)
{
    struct result r = {0};
    struct session *session = NULL;
    struct session_wait *wait = NULL;
    if (!sessions_acquire(f->sessions, "m", f->box, on_result, &r, &session, &wait, err)) {
        return NULL;
    }
    if (session == NULL) {
        run_until(f, &r.calls, 1);
        session = r.session;
        *err = r.err;
    }
    return session;
}

static void test_single_flight(void **state)
{
    struct fixture f = make(3600000);
    struct result results[8] = {{0}};
    struct err err = {0};
    int calls = 0;
    for (int i = 0; i < 8; i++) {
        struct session *session;
        struct session_wait *wait;
        assert_true(sessions_acquire(f.sessions, "m", f.box, on_result, &results[i], &session, &wait, &err));
        assert_null(session);
        assert_non_null(wait);
    }
    for (int i = 0; i < 8; i++) {
        run_until(&f, &results[i].calls, 1);
        assert_ptr_equal(results[i].session, results[0].session);
        calls += results[i].calls;
    }
    assert_int_equal(calls, 8);
    assert_int_equal(atomic_load(&attested), 1);
    assert_int_equal(atomic_load(&opened), 1);
    struct session *again = acquire(&f, &err); /* at once */
    assert_ptr_equal(again, results[0].session);
    session_unref(again);
    for (int i = 0; i < 8; i++) {
        session_unref(results[i].session);
    }
    unmake(&f);
}

/* Lives count CLOCK_BOOTTIME: a wall clock set by a day neither ends a session nor keeps it. */
static void test_clock_that_jumps(void **state)
{
    struct fixture f = make(700);
    struct err err = {0};
    struct session *first = acquire(&f, &err);
    assert_non_null(first);
    const int64_t jumps[] = {86400, -86400, 0};
    for (size_t i = 0; i < 3; i++) {
        fault_clock_set(jumps[i]);
        struct session *again = acquire(&f, &err);
        assert_ptr_equal(again, first);
        int64_t age = clock_boot_ns() - again->created_ns;
        assert_true(age >= 0 && age < 3 * CLOCK_NS_PER_S);
        session_unref(again);
    }
    assert_int_equal(atomic_load(&attested), 1);
    fault_clock_set(-86400);
    pause_ms(800);
    struct session *second = acquire(&f, &err); /* its life is over, whatever the wall says */
    assert_non_null(second);
    assert_ptr_not_equal(second, first);
    fault_clock_set(0);
    session_unref(first);
    session_unref(second);
    unmake(&f);
}

static void test_refusal_is_remembered(void **state)
{
    struct fixture f = make(3600000);
    struct err err = {0};
    atomic_store(&attest_kind, ERR_ATTESTATION);
    assert_null(acquire(&f, &err));
    assert_int_equal(err.kind, ERR_ATTESTATION);
    for (int i = 0; i < 5; i++) {
        assert_null(acquire(&f, &err));
        assert_int_equal(err.kind, ERR_ATTESTATION);
    }
    assert_int_equal(atomic_load(&attested), 1);
    assert_int_equal(atomic_load(&opened), 0);
    unmake(&f);
}

/* The provider says when: until then it is not asked, and who asks us hears how long. Not more than a minute of it. */
static void test_told_when(void **state)
{
    struct fixture f = make(3600000);
    struct err err = {0};
    atomic_store(&attest_kind, ERR_BUSY);
    atomic_store(&attest_retry_s, 2);
    assert_null(acquire(&f, &err));
    assert_int_equal(err.retry_after_s, 2);
    pause_ms(1200);
    assert_null(acquire(&f, &err));
    assert_int_equal(err.retry_after_s, 1);
    assert_int_equal(atomic_load(&attested), 1);
    pause_ms(1000);
    atomic_store(&attest_retry_s, 5000);
    assert_null(acquire(&f, &err));
    assert_int_equal(err.retry_after_s, 5000);
    assert_null(acquire(&f, &err));
    assert_int_equal(err.retry_after_s, 60);
    assert_int_equal(atomic_load(&attested), 2);
    atomic_store(&attest_retry_s, 0);
    unmake(&f);
}

static void test_rotation_in_the_background(void **state)
{
    struct fixture f = make(6000); /* the last sixth, a second, is there to do it in */
    struct err err = {0};
    struct session *first = acquire(&f, &err);
    assert_non_null(first);
    struct session *second = NULL;
    int64_t end = clock_boot_ns() + 9 * CLOCK_NS_PER_S;
    while (second == NULL && clock_boot_ns() < end) {
        struct session_wait *wait = NULL;
        struct session *now = NULL;
        struct result r = {0};
        assert_true(sessions_acquire(f.sessions, "m", f.box, on_result, &r, &now, &wait, &err));
        assert_null(wait); /* nobody ever waits for a rotation */
        if (now != first) {
            second = now;
        } else {
            session_unref(now);
            pause_ms(20);
        }
    }
    assert_non_null(second);
    assert_true(atomic_load(&attested) >= 2);
    assert_int_equal(atomic_load(&closed), 0); /* the old key lives while an answer uses it */
    session_unref(first);
    assert_int_equal(atomic_load(&closed), 1);
    session_unref(second);
    unmake(&f);
}

static void test_forced_rekeys_are_limited(void **state)
{
    struct fixture f = make(3600000);
    struct err err = {0};
    for (int i = 0; i <= LIMIT_REKEYS_PER_10_MIN; i++) {
        struct session *s = acquire(&f, &err);
        assert_non_null(s);
        sessions_retire(f.sessions, s);
        session_unref(s);
    }
    assert_null(acquire(&f, &err));
    assert_int_equal(err.kind, ERR_BUSY);
    assert_in_range(err.retry_after_s, 590, 600);
    assert_int_equal(atomic_load(&opened), 1 + LIMIT_REKEYS_PER_10_MIN);
    assert_int_equal(atomic_load(&closed), 1 + LIMIT_REKEYS_PER_10_MIN);
    unmake(&f);
}

/* Another policy, read as often as somebody likes: that is no upstream which wears out the card. */
static void test_renewals_are_not(void **state)
{
    struct fixture f = make(3600000);
    struct err err = {0};
    for (int i = 0; i < 2 * LIMIT_REKEYS_PER_10_MIN; i++) {
        struct session *s = acquire(&f, &err);
        assert_non_null(s);
        sessions_renew(f.sessions, s);
        session_unref(s);
    }
    unmake(&f);
}

static void test_dead_keyholder_ends_sessions(void **state)
{
    struct fixture f = make(3600000);
    struct err err = {0};
    struct session *old = acquire(&f, &err);
    atomic_store(&generation, 2);
    struct session *new = acquire(&f, &err);
    assert_non_null(new);
    assert_ptr_not_equal(old, new);
    assert_int_equal(new->key.generation, 2);
    session_unref(old);
    session_unref(new);
    atomic_store(&generation, 0);
    assert_null(acquire(&f, &err));
    assert_int_equal(err.kind, ERR_TOKEN);
    assert_int_equal(atomic_load(&attested), 2); /* without a token no attestation is wasted */
    atomic_store(&generation, 2);
    unmake(&f);
}

/* The token was away, and its keys are gone: no request is spent to find that out, nor the budget of forced re-keyings. */
static void test_lost_token_ends_sessions(void **state)
{
    struct fixture f = make(3600000);
    struct err err = {0};
    for (int i = 0; i < 2 * LIMIT_REKEYS_PER_10_MIN; i++) {
        struct session *old = acquire(&f, &err);
        assert_non_null(old);
        atomic_fetch_add(&losses, 1);
        struct session *new = acquire(&f, &err);
        assert_non_null(new);
        assert_ptr_not_equal(old, new);
        session_unref(old);
        session_unref(new);
    }
    unmake(&f);
}

static void test_cancelled_waits(void **state)
{
    struct fixture f = make(3600000);
    struct err err = {0};
    struct result early = {0}, late = {0}, kept = {0};
    struct session *session;
    struct session_wait *wait_early, *wait_late, *wait_kept;
    assert_true(sessions_acquire(f.sessions, "m", f.box, on_result, &early, &session, &wait_early, &err));
    assert_true(sessions_acquire(f.sessions, "m", f.box, on_result, &late, &session, &wait_late, &err));
    assert_true(sessions_acquire(f.sessions, "m", f.box, on_result, &kept, &session, &wait_kept, &err));
    sessions_cancel(f.sessions, wait_early);
    pause_ms(200); /* the handshake is over and the results are posted, but the loop has not run */
    sessions_cancel(f.sessions, wait_late);
    run_until(&f, &kept.calls, 1);
    assert_int_equal(early.calls + late.calls, 0);
    session_unref(kept.session);
    unmake(&f);
}

static void test_waiters_at_the_end(void **state)
{
    struct fixture f = make(3600000);
    struct err err = {0};
    struct result r = {0};
    struct session *session;
    struct session_wait *wait;
    atomic_store(&attest_kind, ERR_ATTESTATION);
    assert_true(sessions_acquire(f.sessions, "m", f.box, on_result, &r, &session, &wait, &err));
    unmake(&f);
    assert_int_equal(r.calls, 1);
    assert_null(r.session);
}

static void test_catalogue(void **state)
{
    struct fixture f = make(3600000);
    struct err err = {0};
    struct result r = {0};
    struct catalogue *catalogue;
    struct session_wait *wait;
    assert_true(sessions_catalogue(f.sessions, f.box, on_result, &r, &catalogue, &wait, &err));
    assert_null(catalogue);
    run_until(&f, &r.calls, 1);
    assert_non_null(r.catalogue);
    assert_int_equal(catalogue_count(r.catalogue), 1);
    assert_non_null(catalogue_find(r.catalogue, "m"));
    assert_null(catalogue_find(r.catalogue, "plain"));
    catalogue_unref(r.catalogue);
    assert_true(sessions_catalogue(f.sessions, f.box, on_result, &r, &catalogue, &wait, &err));
    assert_non_null(catalogue);
    catalogue_unref(catalogue);
    assert_int_equal(atomic_load(&fetched), 1);
    unmake(&f);
}

static void test_catalogue_unreachable(void **state)
{
    struct fixture f = make(3600000);
    struct err err = {0};
    atomic_store(&attest_kind, ERR_UNREACHABLE);
    for (int i = 0; i < 3; i++) {
        struct result r = {0};
        struct catalogue *catalogue;
        struct session_wait *wait;
        assert_true(sessions_catalogue(f.sessions, f.box, on_result, &r, &catalogue, &wait, &err));
        run_until(&f, &r.calls, 1);
        assert_null(r.catalogue);
        assert_int_equal(r.err.kind, ERR_UNREACHABLE);
    }
    assert_int_equal(atomic_load(&fetched), 1); /* not at every request */
    unmake(&f);
}

/* The list that there is, asked for once more; the refresh that it began has ended when this returns. */
static void take_catalogue(struct fixture *f, int fetches)
{
    struct err err = {0};
    struct result r = {0};
    struct catalogue *catalogue;
    struct session_wait *wait;
    assert_true(sessions_catalogue(f->sessions, f->box, on_result, &r, &catalogue, &wait, &err));
    assert_null(wait); /* an old list is better than waiting for one */
    assert_non_null(catalogue_find(catalogue, "m"));
    catalogue_unref(catalogue);
    bool busy = true;
    for (int64_t end = clock_boot_ns() + 3 * CLOCK_NS_PER_S; busy && clock_boot_ns() < end; pause_ms(1)) {
        pthread_mutex_lock(&f->sessions->lock);
        busy = f->sessions->catalogue_entry.queued || f->sessions->catalogue_entry.running;
        pthread_mutex_unlock(&f->sessions->lock);
    }
    assert_false(busy);
    assert_int_equal(atomic_load(&fetched), fetches);
    assert_int_equal(r.calls, 0);
}

/* While the upstream is down the last list is served, however old; it is asked for anew every ten seconds, and at the
 * first request after it is back. */
static void test_catalogue_stale(void **state)
{
    struct fixture f = make(3600000);
    struct result r = {0};
    struct err err = {0};
    struct catalogue *catalogue;
    struct session_wait *wait;
    atomic_store(&fetched_ago_ns, (LIMIT_CATALOGUE_AGE_S - 5) * CLOCK_NS_PER_S);
    assert_true(sessions_catalogue(f.sessions, f.box, on_result, &r, &catalogue, &wait, &err));
    run_until(&f, &r.calls, 1);
    catalogue_unref(r.catalogue);
    take_catalogue(&f, 1); /* not old enough */
    unmake(&f);

    f = make(3600000);
    atomic_store(&fetched_ago_ns, (LIMIT_CATALOGUE_AGE_S + 1) * CLOCK_NS_PER_S);
    r.calls = 0;
    assert_true(sessions_catalogue(f.sessions, f.box, on_result, &r, &catalogue, &wait, &err));
    run_until(&f, &r.calls, 1);
    catalogue_unref(r.catalogue);
    int64_t *next = &f.sessions->catalogue_entry.refused_until_ns;
    atomic_store(&attest_kind, ERR_UNREACHABLE);
    for (int attempt = 1; attempt <= 2; attempt++) {
        int64_t before = clock_boot_ns();
        take_catalogue(&f, 1 + attempt);
        int64_t pause = LIMIT_ATTESTATION_REFUSED_S * CLOCK_NS_PER_S;
        assert_true(*next >= before + pause && *next <= clock_boot_ns() + pause);
        take_catalogue(&f, 1 + attempt); /* served, and nothing asked meanwhile */
        *next = clock_boot_ns();         /* ten seconds later */
    }
    atomic_store(&attest_kind, ERR_NONE);
    atomic_store(&fetched_ago_ns, 0);
    take_catalogue(&f, 4);
    take_catalogue(&f, 4); /* fresh again */
    unmake(&f);
}

static void test_allocation_failures(void **state)
{
    struct fixture f = make(3600000);
    bool hit = true;
    for (size_t n = 1; hit; n++) {
        struct err err = {0};
        struct result r = {0};
        struct session *session;
        struct session_wait *wait;
        fault_alloc_at(n);
        bool ok = sessions_acquire(f.sessions, "m", f.box, on_result, &r, &session, &wait, &err);
        hit = fault_alloc_hit();
        fault_alloc_at(0);
        assert_int_equal(ok, !hit);
        if (hit) {
            assert_int_equal(err.kind, ERR_MEMORY);
            assert_null(wait);
        } else {
            run_until(&f, &r.calls, 1);
            session_unref(r.session);
        }
    }
    unmake(&f);
}

static void test_budget(void **state)
{
    struct budget b = {.count = 3, .window_ns = 100};
    assert_int_equal(budget_take(&b, 1000), 0);
    assert_int_equal(budget_take(&b, 1010), 0);
    assert_int_equal(budget_take(&b, 1020), 0);
    assert_int_equal(budget_take(&b, 1050), 50);
    assert_int_equal(budget_take(&b, 1099), 1);
    assert_int_equal(budget_take(&b, 1100), 0);
    assert_int_equal(budget_take(&b, 1101), 9);
    assert_int_equal(budget_take(&b, 1110), 0);
}

static int set_up(void **state)
{
    struct err err = {0};
    log_init("test", LOG_LEVEL_ERROR, false);
    return evthread_use_pthreads() == 0 && secret_heap_init(&err) ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_single_flight),
        cmocka_unit_test(test_clock_that_jumps),
        cmocka_unit_test(test_refusal_is_remembered),
        cmocka_unit_test(test_told_when),
        cmocka_unit_test(test_rotation_in_the_background),
        cmocka_unit_test(test_forced_rekeys_are_limited),
        cmocka_unit_test(test_renewals_are_not),
        cmocka_unit_test(test_dead_keyholder_ends_sessions),
        cmocka_unit_test(test_lost_token_ends_sessions),
        cmocka_unit_test(test_cancelled_waits),
        cmocka_unit_test(test_waiters_at_the_end),
        cmocka_unit_test(test_catalogue),
        cmocka_unit_test(test_catalogue_unreachable),
        cmocka_unit_test(test_catalogue_stale),
        cmocka_unit_test(test_allocation_failures),
        cmocka_unit_test(test_budget),
    };
    return cmocka_run_group_tests_name("sessions", tests, set_up, NULL);
}
