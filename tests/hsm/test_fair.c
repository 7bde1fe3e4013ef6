/* Streams share a slow token by turns, whatever each of them asks for at once. */
#include "harness.h"

#include <string.h>
#include <unistd.h>

#define STREAMS 8

static struct kh k;
static struct kh_peer model, server;
static uint8_t point[POINT_BYTES];
static uint64_t key;
static int control;

static int begin(const char *derive_ms, const char *sessions)
{
    kh_prepare(&k, "derive_slow");
    kh_env(&k, "MOCK_DERIVE_MS", derive_ms);
    kh_env(&k, "MOCK_SESSIONS", sessions);
    assert_true(kh_start(&k));
    kh_peer_new(&model);
    kh_peer_new(&server);
    control = kh_control(&k, NULL);
    kh_open(&k, control, &model, &key, point);
    return 0;
}

static int end(void **state)
{
    close(control);
    kh_peer_free(&model);
    kh_peer_free(&server);
    assert_int_equal(kh_stop(&k), KEYIPC_EXIT_OK);
    kh_remove(&k);
    return 0;
}

static int begin_slow(void **state)
{
    return begin("100", "1");
}

static int begin_four(void **state)
{
    return begin("20", "4");
}

static void ask(uint64_t stream, uint32_t request)
{
    struct keyipc_message m = {.op = KEYIPC_DERIVE, .request_id = request};
    m.u.derive.key_id = key;
    m.u.derive.stream_id = stream;
    memcpy(m.u.derive.server_point, server.point, POINT_BYTES);
    kh_send(control, &m);
}

/* The stream of the next answer: request ids are stream * 1000 and something. */
static uint32_t next_stream(void)
{
    struct keyipc_message m;
    assert_true(kh_receive(control, &m));
    assert_int_equal(m.op, KEYIPC_DERIVE | KEYIPC_ANSWER);
    uint32_t stream = m.request_id / 1000;
    keyipc_message_clear(&m);
    return stream;
}

/* 100 ms a derivation: those who ask for one do not wait for the one who asks for 20. */
static void test_one_floods(void **state)
{
    for (uint32_t i = 0; i < 20; i++) {
        ask(1, 1000 + i);
    }
    for (uint32_t stream = 2; stream <= 4; stream++) {
        ask(stream, stream * 1000);
    }
    unsigned others = 0;
    for (int i = 0; i < 6; i++) {
        others += next_stream() != 1;
    }
    assert_int_equal(others, 3);
    struct keyipc_message m = {.op = KEYIPC_CANCEL, .request_id = 9, .u.stream_id = 1};
    kh_send(control, &m);
}

/* Slowest to fastest at least 0.8, at any moment: none is more than a turn ahead. */
static void test_shares(void **state)
{
    unsigned done[STREAMS + 2] = {0};
    for (uint32_t i = 0; i < 8; i++) { /* keeps the four sessions busy until all have asked */
        ask(STREAMS + 1, (STREAMS + 1) * 1000 + i);
    }
    for (uint32_t stream = 1; stream <= STREAMS; stream++) { /* all of one before the next */
        for (uint32_t i = 0; i < 15; i++) {
            ask(stream, stream * 1000 + i);
        }
    }
    for (int i = 0; i < 10 * STREAMS + 8; i++) {
        done[next_stream()]++;
    }
    for (uint32_t stream = 1; stream <= STREAMS; stream++) {
        assert_in_range(done[stream], 9, 12);
    }
    for (int i = 0; i < 5 * STREAMS; i++) {
        next_stream();
    }
    struct keyipc_status_answer status;
    kh_status(&k, control, &status);
    assert_int_equal(status.derives, 15 * STREAMS + 8 + 1);
    /* 20 ms each on four sessions. */
    assert_in_range(status.derive_ns, 5000000, 9000000);
    uint64_t count = 0;
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        count += status.times[KEYIPC_TIMED_DERIVE].counts[i];
    }
    assert_int_equal(count, status.derives);
    assert_in_range(status.times[KEYIPC_TIMED_DERIVE].sum_ns / count, 20000000, 40000000);
    assert_int_equal(status.times[KEYIPC_TIMED_DERIVE].counts[histogram_bucket(1000000)], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_one_floods, begin_slow, end),
        cmocka_unit_test_setup_teardown(test_shares, begin_four, end),
    };
    if (!secret_heap_init(NULL)) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
