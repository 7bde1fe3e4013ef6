/* TLS records that were read ahead (upstream/read_ahead.h): each must reach its reader although the socket has nothing more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <event2/event.h>

#include "base/clock.h"
#include "upstream/fixture.h"
#include "upstream/transfer.h"

#define STREAMS 8
#define WHOLE ((size_t)STUB_RECORD_EVENTS * 6)

static const char ca_file[] = "/tmp/e2ee-read-ahead-ca.pem";

struct seen {
    struct transfer *t;
    size_t bytes;
    unsigned datas, dones;
    unsigned pause_each; /* at each so many calls, 0 never */
    bool paused;
};

static void on_data(void *arg, const uint8_t *data, size_t len)
{
    struct seen *s = arg;
    assert_false(s->paused);
    for (size_t i = 0; i < len; i++) {
        size_t at = s->bytes + i, event = at / 6 % 100;
        const char want[6] = {'d', 'a', 't', 'a', (char)('0' + event / 10), (char)('0' + event % 10)};
        assert_int_equal(data[i], want[at % 6]);
    }
    s->bytes += len;
    if (s->pause_each != 0 && ++s->datas % s->pause_each == 0) {
        transfer_pause(s->t);
        s->paused = true;
    }
}

static void on_done(void *arg, const struct transfer_result *r)
{
    ((struct seen *)arg)->dones++;
}

static const struct transfer_callbacks callbacks = {NULL, on_data, on_done};

static struct fixture set_up_tls(void)
{
    return set_up(stub_tls(ca_file, "DNS:localhost", 0), ca_file, 30, 30);
}

static void tear_down_tls(struct fixture *f)
{
    tear_down(f);
    unlink(ca_file);
}

/* Resumes what is paused, in the next turn or as soon as the pause was seen. */
static bool all_came(struct seen *s)
{
    bool all = true;
    for (size_t i = 0; i < STREAMS; i++) {
        if (s[i].paused) {
            s[i].paused = false;
            transfer_resume(s[i].t);
        }
        assert_int_equal(s[i].dones, 0);
        all = all && s[i].bytes == WHOLE;
    }
    return all;
}

static void check_streams(const char *path, unsigned pause_each)
{
    struct fixture f = set_up_tls();
    struct seen s[STREAMS] = {0};
    struct err err = {0};
    for (size_t i = 0; i < STREAMS; i++) {
        s[i].pause_each = i % 2 == 0 ? pause_each : 0;
        s[i].t = transfer_start(f.loop, &(struct transfer_request){.path = path}, &callbacks, &s[i], &err);
        assert_non_null(s[i].t);
    }
    int64_t limit_ns = clock_boot_ns() + 20 * CLOCK_NS_PER_S;
    while (!all_came(s)) {
        if (clock_boot_ns() > limit_ns) {
            fail_msg("%s, a pause each %u: %zu of %zu bytes came, then nothing", path, pause_each, s[0].bytes,
                     WHOLE);
        }
        event_base_loop(f.base, EVLOOP_NONBLOCK);
    }
    for (size_t i = 0; i < STREAMS; i++) {
        transfer_cancel(s[i].t);
    }
    tear_down_tls(&f);
}

static void records_in_one_write(void **state)
{
    check_streams("/records/0", 0);
}

static void records_in_pieces(void **state)
{
    check_streams("/records/1000", 0);
    check_streams("/records/4099", 0);
}

static void pauses_between_records(void **state)
{
    check_streams("/records/0", 1);
    check_streams("/records/0", 7);
    check_streams("/records/4099", 3);
}

/* An answer's end that was read ahead is told without another event. */
static void ends_after_pauses(void **state)
{
    struct fixture f = set_up_tls();
    struct err err = {0};
    for (unsigned pause_each = 0; pause_each <= 20; pause_each++) {
        struct seen s = {.pause_each = pause_each};
        s.t = transfer_start(f.loop, &(struct transfer_request){.path = "/whole"}, &callbacks, &s, &err);
        assert_non_null(s.t);
        int64_t limit_ns = clock_boot_ns() + 5 * CLOCK_NS_PER_S;
        while (s.dones == 0) {
            event_base_loopexit(f.base, &(struct timeval){0, 1000});
            event_base_loop(f.base, 0);
            if (s.paused && s.dones == 0) {
                s.paused = false;
                transfer_resume(s.t);
            }
            if (clock_boot_ns() > limit_ns) {
                fail_msg("a pause each %u: %zu bytes came, and no end", pause_each, s.bytes);
            }
        }
        assert_int_equal(s.bytes, 20 * 6);
    }
    tear_down_tls(&f);
}

/* libcurl 8.14 waits for the peer when it closes a connection, and has it watched when its transfer is gone. */
static void closing_connections(void **state)
{
    struct fixture f = set_up_tls();
    struct seen s[STREAMS] = {0};
    struct err err = {0};
    unsigned dones = 0;
    for (size_t i = 0; i < STREAMS; i++) {
        assert_non_null(
            transfer_start(f.loop, &(struct transfer_request){.path = "/last"}, &callbacks, &s[i], &err));
    }
    int64_t limit_ns = clock_boot_ns() + 20 * CLOCK_NS_PER_S;
    while (dones < STREAMS || atomic_load(&f.stub->hangups) < STREAMS) {
        assert_true(clock_boot_ns() < limit_ns);
        event_base_loop(f.base, EVLOOP_NONBLOCK);
        dones = 0;
        for (size_t i = 0; i < STREAMS; i++) {
            dones += s[i].dones;
        }
    }
    for (int i = 0; i < 100; i++) {
        stub_sleep_ms(1);
        event_base_loop(f.base, EVLOOP_NONBLOCK);
    }
    tear_down_tls(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_in_one_write),   cmocka_unit_test(records_in_pieces),
        cmocka_unit_test(pauses_between_records), cmocka_unit_test(ends_after_pauses),
        cmocka_unit_test(closing_connections),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
