/* What befalls a card, with OpenSC's own module, pcscd and vpcd before the simulated SmartCard-HSM: each row of tokens.md that a mock
 * shows elsewhere is met here in the module that it was seen in. */
#include "harness.h"
#include "real.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

#define PAIRS 59               /* of the 128 objects that the module holds, with places for derived secrets */
#define PCSCD_LOOKS_US 1500000 /* pcscd asks its readers every 0.4 s */

struct bench {
    struct kh k;
    struct kh_peer model, server;
    uint8_t point[POINT_BYTES];
    uint64_t key;
    int control;
};

static void start(struct bench *b)
{
    if (!kh_start(&b->k)) {
        fail_msg("%s", b->k.report);
    }
    b->control = kh_control(&b->k, NULL);
}

static void begin(struct bench *b)
{
    memset(b, 0, sizeof *b);
    kh_prepare(&b->k, "opensc");
    kh_peer_new(&b->model);
    kh_peer_new(&b->server);
}

static void end(struct bench *b)
{
    close(b->control);
    kh_peer_free(&b->model);
    kh_peer_free(&b->server);
    assert_int_equal(kh_stop(&b->k), KEYIPC_EXIT_OK);
    assert_int_equal(real_keys(), 0);
    kh_remove(&b->k);
}

static enum err_kind derive(struct bench *b)
{
    return kh_derive(&b->k, b->control, b->key, 1, &b->server, b->point, NULL);
}

static void open_key(struct bench *b)
{
    kh_open(&b->k, b->control, &b->model, &b->key, b->point);
    assert_int_equal(derive(b), ERR_NONE);
}

/* Until it is back, but not for ever. */
static void open_again(struct bench *b)
{
    char why[241] = "";
    int64_t deadline = clock_boot_ns() + 20 * CLOCK_NS_PER_S;
    while (kh_try_open(&b->k, b->control, &b->model, &b->key, b->point, why) != ERR_NONE) {
        if (clock_boot_ns() > deadline) {
            fail_msg("never came back: %s", why);
        }
        usleep(100000);
    }
    assert_int_equal(derive(b), ERR_NONE);
}

static void assert_lost(struct bench *b)
{
    struct keyipc_status_answer status;
    assert_int_not_equal(derive(b), ERR_NONE);
    kh_status(&b->k, b->control, &status);
    assert_int_not_equal(status.token_state, KEYIPC_TOKEN_READY);
}

static void test_pulled_out_and_back(void **state)
{
    struct bench b;
    begin(&b);
    start(&b);
    open_key(&b);
    real_card(false);
    usleep(PCSCD_LOOKS_US);
    assert_lost(&b);
    real_card(true);
    open_again(&b);
    end(&b);
}

/* The module must be finalised and initialised for it. */
static void test_pcscd_restarts(void **state)
{
    struct bench b;
    begin(&b);
    start(&b);
    open_key(&b);
    real_restart_pcscd();
    assert_int_not_equal(derive(&b), ERR_NONE);
    open_again(&b);
    end(&b);
}

/* A wrong PIN costs one of three tries, once, however often it is started with it; the right one gives all back. */
static void test_wrong_pin(void **state)
{
    struct bench b;
    begin(&b);
    kh_write(&b.k, "pin", "000000\n");
    for (int i = 0; i < 3; i++) {
        assert_false(kh_start(&b.k));
        assert_int_equal(kh_stop(&b.k), KEYIPC_EXIT_PIN);
        assert_int_equal(real_tries(), 2);
    }
    real_prepare(&b.k, "opensc");
    start(&b);
    assert_int_equal(real_tries(), 3);
    open_key(&b);
    end(&b);
}

/* The module's call never returns: the watchdog ends the process; the next one removes what the card kept. */
static void test_card_hangs(void **state)
{
    struct bench b;
    struct keyipc_message request = {.op = KEYIPC_DERIVE};
    begin(&b);
    kh_arg(&b.k, "--token-timeout", "2");
    start(&b);
    open_key(&b);
    request.u.derive.key_id = b.key;
    memcpy(request.u.derive.server_point, b.server.point, POINT_BYTES);
    real_card_hangs(true);
    kh_send(b.control, &request);
    assert_true(kh_closed(b.control));
    assert_int_not_equal(kh_stop(&b.k), KEYIPC_EXIT_OK);
    close(b.control);
    real_card_hangs(false);
    assert_int_equal(real_keys(), 1);
    start(&b);
    assert_int_equal(real_keys(), 0);
    open_key(&b);
    end(&b);
}

/* The module derives no more once its last place is taken, and keeps on the card what it had none for: it must not come to that. One more
 * pair is refused, the others go on. */
static void test_full(void **state)
{
    struct bench b;
    char why[241] = "";
    unsigned keys = 0;
    begin(&b);
    start(&b);
    while (kh_try_open(&b.k, b.control, &b.model, &b.key, b.point, why) == ERR_NONE) {
        assert_true(++keys <= PAIRS);
    }
    assert_int_equal(keys, PAIRS);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(derive(&b), ERR_NONE);
        assert_int_equal(kh_open_fails(&b.k, b.control, b.model.point, why), ERR_TOKEN);
        assert_non_null(strstr(why, "no room for another key"));
    }
    assert_int_equal(real_keys(), PAIRS);
    kh_close_key(&b.k, b.control, b.key);
    open_again(&b);
    end(&b);
}

/* Another program's key stays, whatever we sweep: at start, after a kill, at exit. */
static void test_foreign_key(void **state)
{
    struct bench b;
    real_foreign_key();
    assert_int_equal(real_keys(), 1);
    begin(&b);
    start(&b);
    open_key(&b);
    assert_int_equal(kill(b.k.pid, SIGKILL), 0);
    assert_int_equal(kh_wait(&b.k), -SIGKILL);
    close(b.control);
    close(b.k.channel);
    assert_int_equal(real_keys(), 2);
    start(&b);
    assert_int_equal(real_keys(), 1);
    close(b.control);
    assert_int_equal(kh_stop(&b.k), KEYIPC_EXIT_OK);
    assert_int_equal(real_keys(), 1);
    kh_peer_free(&b.model);
    kh_peer_free(&b.server);
    kh_remove(&b.k);
    real_card_anew();
}

/* Each refused derivation would cost the module one of its places for good: bad points do not reach it. */
static void test_bad_points(void **state)
{
    struct bench b;
    begin(&b);
    start(&b);
    open_key(&b);
    for (int i = 0; i < 150; i++) {
        struct kh_peer bad = b.server;
        bad.point[POINT_BYTES - 1 - i % 32] ^= (uint8_t)(1 + i / 32);
        assert_int_equal(kh_derive(&b.k, b.control, b.key, 1, &bad, b.point, NULL), ERR_INVALID);
    }
    open_key(&b);
    end(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pulled_out_and_back),
        cmocka_unit_test(test_pcscd_restarts),
        cmocka_unit_test(test_wrong_pin),
        cmocka_unit_test(test_card_hangs),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_foreign_key),
        cmocka_unit_test(test_bad_points),
    };
    struct err err = {0};
    if (!secret_heap_init(&err)) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    const char *missing = real_begin("opensc");
    if (missing != NULL) {
        bool ci = getenv("CI") != NULL;
        printf("%s: %s\n", ci ? "FAILED" : "SKIPPED", missing);
        return ci ? 1 : 77;
    }
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    real_end();
    return failed;
}
