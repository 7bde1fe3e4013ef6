/* An honest client with one key beside whatever a test does to its keyholder: served afterwards as before. For a test's
 * setup and teardown. */
#ifndef E2EE_TESTS_HSM_HONEST_H
#define E2EE_TESTS_HSM_HONEST_H

#include "harness.h"

#include <stdlib.h>
#include <unistd.h>

#include "crypto/hash.h"

static struct kh k;
static struct kh_peer model, server;
static uint8_t join[KEYIPC_JOIN_BYTES], point[POINT_BYTES];
static int control, worker;
static uint64_t key;

static int honest_begin(void **state)
{
    kh_prepare(&k, "plain");
    kh_env(&k, "MOCK_SECRETS", kh_path(&k, "secrets"));
    kh_arg(&k, "--max-keys", "4");
    kh_arg(&k, "--max-derives", "50000");
    assert_true(kh_start(&k));
    assert_true(hash_random(join, sizeof join, NULL));
    kh_peer_new(&model);
    kh_peer_new(&server);
    control = kh_control(&k, join);
    worker = kh_worker(&k, join);
    kh_open(&k, control, &model, &key, point);
    return 0;
}

/* Whatever was done: the honest client is served, and nothing stays. */
static int honest_finish(void **state)
{
    assert_int_equal(kh_derive(&k, worker, key, 1, &server, point, NULL), ERR_NONE);
    close(control);
    close(worker);
    kh_peer_free(&model);
    kh_peer_free(&server);
    assert_int_equal(kh_stop(&k), KEYIPC_EXIT_OK);
    assert_true(kh_count(&k, "mock.log", "finalized objects=0 sessions=0 logged_in=0") > 0);
    unsetenv("MOCK_SECRETS");
    kh_remove(&k);
    return 0;
}

#define SERVED(test) cmocka_unit_test_setup_teardown(test, honest_begin, honest_finish)

#endif
