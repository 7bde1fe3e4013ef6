/* What time does, all side by side: a quiet link is kept awake, who says no HELLO is cut, an old key is destroyed. */
#include "harness.h"

#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "crypto/hash.h"

#define LINK_S 18 /* the mock's link is dead after so long a silence */

static void test_time(void **state)
{
    struct kh k, aged;
    struct kh_peer model, server;
    uint8_t point[POINT_BYTES], aged_point[POINT_BYTES];
    uint64_t key, aged_key;
    struct keyipc_message hello = {.op = KEYIPC_HELLO};
    struct keyipc_status_answer status;
    char why[241];
    kh_prepare(&aged, "plain");
    kh_arg(&aged, "--max-key-age", "2");
    assert_true(kh_start(&aged));
    kh_prepare(&k, "idle_link_dies");
    assert_true(kh_start(&k));
    kh_peer_new(&model);
    kh_peer_new(&server);
    int64_t began = clock_boot_ns();
    int control = kh_control(&k, NULL), silent = kh_connect(&k), lost = kh_connect(&k);
    kh_open(&k, control, &model, &key, point);
    hello.u.hello.role = KEYIPC_WORKER;
    hello.u.hello.custody = KEYIPC_CUSTODY_TOKEN;
    assert_true(hash_random(hello.u.hello.join, KEYIPC_JOIN_BYTES, NULL));
    kh_send(lost, &hello); /* no client has this secret */
    int old = kh_control(&aged, NULL);
    kh_open(&aged, old, &model, &aged_key, aged_point);
    assert_int_equal(kh_derive(&aged, old, aged_key, 1, &server, aged_point, why), ERR_NONE);

    sleep(4);
    assert_int_equal(kh_derive(&aged, old, aged_key, 1, &server, aged_point, why), ERR_KEY_GONE);
    kh_status(&aged, old, &status);
    assert_int_equal(status.keys_live, 0); /* by the keyholder itself: the client said nothing */
    close(old);
    assert_int_equal(kh_stop(&aged), KEYIPC_EXIT_OK);

    assert_true(kh_closed(silent) && kh_closed(lost));
    assert_in_range((clock_boot_ns() - began) / CLOCK_NS_PER_S, 9, 17);
    while (clock_boot_ns() - began < (LINK_S + 3) * CLOCK_NS_PER_S) {
        usleep(100000);
    }
    assert_int_equal(kh_derive(&k, control, key, 1, &server, point, why), ERR_NONE);
    assert_int_equal(kh_count(&k, "mock.log", "the link is dead"), 0);
    close(control);
    close(silent);
    close(lost);
    assert_int_equal(kh_stop(&k), KEYIPC_EXIT_OK);
    assert_true(kh_count(&k, "mock.log", "finalized objects=0 sessions=0 logged_in=0") > 0);
    kh_peer_free(&model);
    kh_peer_free(&server);
    kh_remove(&k);
    kh_remove(&aged);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_time)};
    struct err err = {0};
    if (!secret_heap_init(&err)) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
