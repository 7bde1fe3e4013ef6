/* Renewal of cached collateral in the background: when, what a failure leaves, and what no mirror can do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <ftw.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "fault.h"
#include "pki/pki.h"
#include "session/collateral_keeper.h"

#define NOW 1790000000
#define DAY 86400

struct world {
    struct pki_spec spec;
    struct pki *pki;
    struct attest_root *root;
    struct seen *seen;
    struct collateral_source *source;
    struct collateral_keeper *keeper;
    struct collateral_key key;
    char dir[64];
    bool down, garbage, moving; /* moving: each set is issued when it is asked for, for six seconds */
    atomic_uint fetches;
};

static atomic_uint counted, failures;

static void count(bool ok)
{
    counted++;
    failures += !ok;
}

static void take(struct buf *out, struct pki_bytes bytes)
{
    buf_append(out, bytes.data, bytes.len);
    pki_bytes_free(&bytes);
}

static void issue(struct world *w, int64_t from, int64_t until)
{
    w->spec.root_crl_from = w->spec.pck_crl_from = w->spec.tcb_from = w->spec.qe_from = from;
    w->spec.root_crl_until = w->spec.pck_crl_until = w->spec.tcb_until = w->spec.qe_until = until;
    pki_renew_crls(w->pki, &w->spec);
}

static bool fetch(void *arg, const struct collateral_key *key, struct collateral *out, struct err *err)
{
    struct world *w = arg;
    w->fetches++;
    if (w->down) {
        return err_set(err, ERR_UNREACHABLE, "no connection");
    }
    if (w->moving) {
        issue(w, clock_wall_s() - 3, clock_wall_s() + 3);
    }
    take(&out->tcb_info, pki_tcb_info(w->pki, &w->spec));
    take(&out->qe_identity, pki_qe_identity(w->pki, &w->spec));
    take(&out->tcb_info_chain, pki_signer_chain(w->pki));
    take(&out->pck_crl, pki_pck_crl(w->pki));
    take(&out->root_crl, pki_root_crl(w->pki));
    if (w->garbage) {
        buf_reset(&out->tcb_info);
        buf_append_str(&out->tcb_info, "{\"tcbInfo\":{},\"signature\":\"00\"}");
    }
    return buf_check(&out->root_crl, "collateral", err);
}

static void make_world(struct world *w, int64_t now, bool thread)
{
    struct err err = {0};
    snprintf(w->dir, sizeof w->dir, "/tmp/e2ee-keeper-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    pki_spec_good(&w->spec, now);
    w->pki = pki_new(&w->spec);
    struct pki_bytes pem = pki_root_pem(w->pki);
    w->root = root_parse(pem.data, pem.len, &err);
    pki_bytes_free(&pem);
    w->seen = seen_open(w->dir, w->root, &err);
    assert_non_null(w->seen);
    memcpy(w->key.fmspc, w->spec.fmspc, FMSPC_BYTES);
    const struct collateral_source_options source = {
        .seen = w->seen, .fetch = fetch, .arg = w, .retry_s = thread ? 1 : 0, .on_fetch = count};
    w->source = collateral_source_new(&source, &err);
    assert_non_null(w->source);
    const struct collateral_keeper_options keeper = {
        .source = w->source, .seen = w->seen, .root = w->root, .thread = thread};
    w->keeper = collateral_keeper_new(&keeper, &err);
    assert_non_null(w->keeper);
    counted = failures = 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

static void end_world(struct world *w)
{
    collateral_keeper_free(w->keeper);
    collateral_source_free(w->source);
    seen_close(w->seen);
    root_free(w->root);
    pki_free(w->pki);
    nftw(w->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void note(struct world *w)
{
    struct pki_bytes quote = pki_quote(w->pki, &w->spec);
    collateral_keeper_note(w->keeper, &w->key, quote.data, quote.len);
    pki_bytes_free(&quote);
    assert_true(collateral_keeper_knows(w->keeper, &w->key));
}

/* The end of what is cached; 0: nothing. */
static int64_t cached_until(const struct world *w)
{
    struct collateral c;
    struct err ignored = {0};
    int64_t written, from, until = 0;
    collateral_init(&c);
    if (!seen_cache_load(w->seen, &w->key, &c, &written, &ignored) ||
        !collateral_validity(&c, &from, &until, &ignored)) {
        until = 0;
    }
    collateral_free(&c);
    return until;
}

static void renewed_at_half_its_life(void **state)
{
    struct world w = {.down = false};
    make_world(&w, NOW, false);
    collateral_keeper_turn(w.keeper, NOW); /* knows of nothing yet */
    assert_int_equal(w.fetches, 0);
    note(&w);
    issue(&w, NOW - DAY, NOW + 29 * DAY);
    collateral_keeper_turn(w.keeper, NOW);
    assert_int_equal(w.fetches, 1);
    assert_int_equal(cached_until(&w), NOW + 29 * DAY);
    for (int day = 1; day < 14; day++) {
        collateral_keeper_turn(w.keeper, NOW + day * DAY);
    }
    assert_int_equal(w.fetches, 1);
    issue(&w, NOW + 15 * DAY, NOW + 45 * DAY);
    collateral_keeper_turn(w.keeper, NOW + 14 * DAY + 30 * DAY / 20 + 1); /* half, and the most of jitter */
    assert_int_equal(w.fetches, 2);
    assert_int_equal(cached_until(&w), NOW + 45 * DAY);
    collateral_keeper_turn(w.keeper, NOW + 20 * DAY);
    assert_int_equal(w.fetches, 2);
    assert_int_equal(counted, 2);
    assert_int_equal(failures, 0);
    end_world(&w);
}

static void failure_keeps_what_is_valid(void **state)
{
    const int64_t due = NOW + 16 * DAY;
    struct world w = {.down = false};
    struct attest_floor floor;
    struct err err = {0};
    make_world(&w, NOW, false);
    note(&w);
    issue(&w, NOW - DAY, NOW + 29 * DAY);
    collateral_keeper_turn(w.keeper, NOW);
    w.down = true;
    collateral_keeper_turn(w.keeper, due);
    assert_int_equal(w.fetches, 2);
    assert_int_equal(failures, 1);
    collateral_keeper_turn(w.keeper, due + 1800); /* not before the hour */
    assert_int_equal(w.fetches, 2);
    w.down = false;
    w.garbage = true;
    issue(&w, NOW + 15 * DAY, NOW + 45 * DAY);
    collateral_keeper_turn(w.keeper, due + 4000);
    assert_int_equal(w.fetches, 3);
    assert_int_equal(cached_until(&w), NOW + 29 * DAY);
    w.garbage = false;
    w.spec.tcb_evaluation = w.spec.qe_evaluation = 18; /* a mirror that repeats an old set */
    collateral_keeper_turn(w.keeper, due + 8000);
    assert_int_equal(w.fetches, 4);
    assert_int_equal(cached_until(&w), NOW + 29 * DAY);
    w.spec.tcb_evaluation = w.spec.qe_evaluation = 20;
    collateral_keeper_turn(w.keeper, due + 12000);
    assert_int_equal(w.fetches, 5);
    assert_int_equal(cached_until(&w), NOW + 45 * DAY);
    assert_true(seen_floor(w.seen, &w.key, &floor, &err));
    assert_int_equal(floor.tcb_evaluation, 20);
    end_world(&w);
}

/* A clock that was set forward and back by a day: what is an hour's pause stays about an hour. */
static void clock_that_jumps(void **state)
{
    const int64_t due = NOW + 16 * DAY;
    struct world w = {.down = false};
    make_world(&w, NOW, false);
    note(&w);
    issue(&w, NOW - DAY, NOW + 29 * DAY);
    collateral_keeper_turn(w.keeper, NOW);
    w.down = true;
    collateral_keeper_turn(w.keeper, due);
    collateral_keeper_turn(w.keeper, due + DAY);
    assert_int_equal(w.fetches, 3);
    collateral_keeper_turn(w.keeper, due + 120);
    assert_int_equal(w.fetches, 4);
    collateral_keeper_turn(w.keeper, due + 1800);
    assert_int_equal(w.fetches, 4);
    collateral_keeper_turn(w.keeper, due + 120 + 3600 + 3600 / 20 + 1);
    assert_int_equal(w.fetches, 5);
    w.down = false;
    issue(&w, NOW + 15 * DAY, NOW + 45 * DAY);
    collateral_keeper_turn(w.keeper, due + 8000);
    assert_int_equal(w.fetches, 6);
    assert_int_equal(cached_until(&w), NOW + 45 * DAY);
    /* Before and behind the day on which the next set is due nothing is asked for. */
    collateral_keeper_turn(w.keeper, due + DAY);
    collateral_keeper_turn(w.keeper, due - DAY + 8000);
    collateral_keeper_turn(w.keeper, due + 8000);
    assert_int_equal(w.fetches, 6);
    end_world(&w);
}

/* A numbered set lies beside the one in force, and the floor of that is not its own. */
static void numbered_beside_the_one_in_force(void **state)
{
    struct world w = {.down = false};
    struct attest_floor floor;
    struct err err = {0};
    make_world(&w, NOW, false);
    w.spec.tcb_evaluation = w.spec.qe_evaluation = 20;
    note(&w);
    collateral_keeper_turn(w.keeper, NOW);
    w.spec.tcb_evaluation = w.spec.qe_evaluation = 19;
    w.key.evaluation = 19;
    note(&w);
    collateral_keeper_turn(w.keeper, NOW + 1);
    assert_int_equal(w.fetches, 2);
    assert_true(cached_until(&w) > NOW);
    assert_true(seen_floor(w.seen, &w.key, &floor, &err));
    assert_int_equal(floor.tcb_evaluation, 0);
    w.key.evaluation = 0;
    assert_true(cached_until(&w) > NOW);
    assert_true(seen_floor(w.seen, &w.key, &floor, &err));
    assert_int_equal(floor.tcb_evaluation, 20);
    end_world(&w);
}

/* The thread itself, with a life of six seconds: two renewals that nobody asked for. */
static void by_itself(void **state)
{
    struct world w = {.moving = true};
    struct timespec pause = {0, 50000000};
    make_world(&w, clock_wall_s(), true);
    note(&w);
    for (int i = 0; i < 400 && w.fetches < 3; i++) {
        nanosleep(&pause, NULL);
    }
    assert_true(w.fetches >= 3);
    end_world(&w);
}

static void without_memory(void **state)
{
    struct world w = {.down = false};
    make_world(&w, NOW, false);
    note(&w);
    bool hit = true;
    for (size_t n = 1; hit; n++) {
        struct pki_bytes quote = pki_quote(w.pki, &w.spec);
        struct collateral_key other = w.key;
        other.processor_ca = true;
        fault_alloc_at(n);
        collateral_keeper_turn(w.keeper, NOW + (int64_t)n * 8000);
        if (n == 1) {
            collateral_keeper_note(w.keeper, &other, quote.data, quote.len);
        }
        hit = fault_alloc_hit();
        fault_alloc_at(0);
        pki_bytes_free(&quote);
    }
    assert_true(cached_until(&w) > NOW);
    end_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(renewed_at_half_its_life),
        cmocka_unit_test(failure_keeps_what_is_valid),
        cmocka_unit_test(clock_that_jumps),
        cmocka_unit_test(numbered_beside_the_one_in_force),
        cmocka_unit_test(by_itself),
        cmocka_unit_test(without_memory),
    };
    return cmocka_run_group_tests_name("collateral keeper", tests, NULL, NULL);
}
