/* What a YubiHSM 2 does differently (tokens.md), through the real keyholder: where a user would notice. */
#include "bench.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#define IDLE_MS "1500"

static void prepare(struct bench *b, const char *sessions)
{
    kh_prepare(&b->k, "yubihsm");
    kh_env(&b->k, "MOCK_STORE", kh_path(&b->k, "store"));
    kh_env(&b->k, "MOCK_DEVICE", kh_path(&b->k, "device"));
    kh_env(&b->k, "MOCK_GONE", kh_path(&b->k, "gone"));
    kh_env(&b->k, "MOCK_DEVICE_SESSIONS", sessions);
    kh_env(&b->k, "MOCK_DEVICE_IDLE_MS", IDLE_MS);
}

/* Never two secrets at once, no name that costs an object, no bad point. */
static void end_well(struct bench *b)
{
    assert_int_equal(kh_count(&b->k, "mock.log", "two derived keys"), 0);
    assert_int_equal(kh_count(&b->k, "mock.log", "a second object"), 0);
    assert_int_equal(kh_count(&b->k, "mock.log", "a bad point"), 0);
    end_clean(b);
}

/* The device's only session is freed by each orderly end; a crash leaves it taken until the device forgets it. */
static void test_session_of_a_crash(void **state)
{
    struct bench b;
    char why[241];
    prepare(&b, "1");
    for (int i = 0; i < 3; i++) {
        begin(&b);
        end(&b);
        assert_int_equal(kh_stop(&b.k), KEYIPC_EXIT_OK);
    }
    begin(&b);
    kh_open(&b.k, b.control, &b.model, &b.key, b.point);
    assert_int_equal(kill(b.k.pid, SIGKILL), 0);
    assert_int_equal(kh_wait(&b.k), -SIGKILL);
    close(b.k.channel);
    end(&b);
    assert_false(kh_start(&b.k));
    assert_non_null(strstr(b.k.report, "after 30 s"));
    assert_int_equal(kh_stop(&b.k), KEYIPC_EXIT_TOKEN); /* try again, and not: the PIN is wrong */
    usleep(1700000);
    begin(&b);
    assert_true(kh_count(&b.k, "log", "left-over") > 0); /* the pair of the crash */
    open_again(&b);
    assert_int_equal(derive(&b, why), ERR_NONE);
    end_well(&b);
}

/* Silence: the next call logs in by itself, and keys are still there. */
static void test_silence(void **state)
{
    struct bench b;
    char why[241];
    prepare(&b, "16");
    begin(&b);
    open_again(&b);
    usleep(2000000);
    assert_int_equal(derive_until(&b, 8, why), ERR_NONE);
    assert_true(kh_count(&b.k, "mock.log", "again by itself") > 0);
    assert_int_equal(kh_count(&b.k, "log", "is lost"), 0);
    end_well(&b);
}

/* Unless the login was one that cannot be repeated: then the keyholder must, whichever thread's session meets it first. */
static void test_silence_after_a_special_login(void **state)
{
    struct bench b;
    char why[241];
    prepare(&b, "16");
    kh_write(&b.k, "pin", "@" HARNESS_YUBIHSM_PIN);
    begin(&b);
    open_again(&b);
    usleep(2000000);
    int64_t began = clock_boot_ns();
    for (int i = 0; i < 4; i++) { /* whichever session it is */
        enum err_kind kind = derive(&b, why);
        assert_true(kind == ERR_TOKEN || kind == ERR_KEY_GONE);
    }
    kh_await(&b.k, "log", "is lost");
    assert_true(clock_boot_ns() - began < 5 * CLOCK_NS_PER_S); /* not by the keepalive's next turn */
    open_again(&b);
    assert_int_equal(derive_until(&b, 8, why), ERR_NONE);
    assert_int_equal(kh_count(&b.k, "mock.log", "login right"), 2);
    end_well(&b);
}

/* Pulled out: every call says so while slot and session look well. Back: the same device, and service without a restart. */
static void test_pulled_out(void **state)
{
    struct bench b;
    struct keyipc_status_answer status;
    char why[241];
    prepare(&b, "16");
    begin(&b);
    open_again(&b);
    kh_write(&b.k, "gone", "");
    enum err_kind kind = derive(&b, why);
    assert_true(kind == ERR_TOKEN || kind == ERR_KEY_GONE);
    assert_int_equal(kh_try_open(&b.k, b.control, &b.model, &b.key, b.point, why), ERR_TOKEN);
    usleep(2500000); /* looked for anew by C_Finalize and C_Initialize meanwhile: absent until the next */
    kh_status(&b.k, b.control, &status);
    assert_int_equal(status.token_state, KEYIPC_TOKEN_DOWN);
    assert_int_equal(status.keys_live, 0);
    assert_int_equal(unlink(kh_path(&b.k, "gone")), 0);
    open_again(&b);
    assert_int_equal(derive_until(&b, 8, why), ERR_NONE);
    assert_true(kh_count(&b.k, "log", "the token is back") > 0);
    end_well(&b);
}

static void test_absent_at_start(void **state)
{
    struct bench b;
    prepare(&b, "16");
    kh_write(&b.k, "gone", "");
    assert_false(kh_start(&b.k));
    assert_int_equal(kh_stop(&b.k), KEYIPC_EXIT_TOKEN);
    assert_int_equal(unlink(kh_path(&b.k, "gone")), 0);
    begin(&b);
    open_again(&b);
    end_well(&b);
}

/* One operation at a time, however many sessions ask. */
static void test_one_at_a_time(void **state)
{
    struct bench b;
    struct keyipc_message m = {.op = KEYIPC_DERIVE};
    prepare(&b, "16");
    kh_env(&b.k, "MOCK_DERIVE_MS", "50");
    begin(&b);
    open_again(&b);
    m.u.derive.key_id = b.key;
    memcpy(m.u.derive.server_point, b.server.point, POINT_BYTES);
    int64_t began = clock_boot_ns();
    for (uint32_t i = 0; i < 12; i++) {
        m.request_id = i;
        m.u.derive.stream_id = i;
        kh_send(b.control, &m);
    }
    for (int i = 0; i < 12; i++) {
        assert_true(kh_receive(b.control, &m));
        assert_int_equal(m.op, KEYIPC_DERIVE | KEYIPC_ANSWER);
        keyipc_message_clear(&m);
    }
    assert_true(clock_boot_ns() - began >= 12 * 50 * CLOCK_NS_PER_MS);
    end_well(&b);
}

/* As many keys as the device has objects, but for what is on it already. */
static void test_room(void **state)
{
    struct bench b;
    char why[241];
    int keys = 0;
    prepare(&b, "16");
    kh_arg(&b.k, "--max-keys", "256");
    kh_env(&b.k, "MOCK_ROOM", "40");
    begin(&b);
    while (kh_try_open(&b.k, b.control, &b.model, &b.key, b.point, why) == ERR_NONE) {
        assert_true(++keys <= 40);
    }
    assert_int_equal(keys, 40);
    assert_non_null(strstr(why, "no room for another key"));
    kh_close_key(&b.k, b.control, b.key);
    kh_open(&b.k, b.control, &b.model, &b.key, b.point);
    end_well(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_session_of_a_crash),
        cmocka_unit_test(test_silence),
        cmocka_unit_test(test_silence_after_a_special_login),
        cmocka_unit_test(test_pulled_out),
        cmocka_unit_test(test_absent_at_start),
        cmocka_unit_test(test_one_at_a_time),
        cmocka_unit_test(test_room),
    };
    struct err err = {0};
    if (!secret_heap_init(&err)) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
