/* Tokens that fail in the middle of the work: what the client hears, what comes back, what stays behind. */
#include "bench.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

/* Lost and back: the keys are gone, which is said; new ones work; nothing of the old ones stays. */
static void test_gone_and_back(void **state)
{
    static const struct {
        const char *module, *after;
    } cases[] = {{"login_lost", "3"},
                 {"removed_and_back", "3"},
                 {"reinitialise_to_return", "3"},
                 {"smartcard_hsm", "5"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct bench b;
        char why[241] = "";
        kh_prepare(&b.k, cases[i].module);
        kh_env(&b.k, "MOCK_AFTER", cases[i].after);
        kh_env(&b.k, "MOCK_STORE", kh_path(&b.k, "store"));
        begin(&b);
        open_again(&b);
        uint64_t old = b.key;
        enum err_kind kind = derive_until(&b, 20, why);
        if (kind != ERR_TOKEN && kind != ERR_KEY_GONE) {
            fail_msg("%s: kind %d %s", cases[i].module, (int)kind, why);
        }
        open_again(&b);
        assert_int_equal(derive_until(&b, 5, why), ERR_NONE);
        uint64_t fresh = b.key;
        b.key = old;
        assert_int_equal(derive(&b, why), ERR_KEY_GONE);
        b.key = fresh;
        assert_true(kh_count(&b.k, "log", "the token is back") > 0);
        end_clean(&b);
    }
}

/* A YubiHSM's word for a lost login is SESSION_READ_ONLY; its sessions may be taken for a while when it logs in again. */
static void test_login_lost_at_generation(void **state)
{
    struct bench b;
    char why[241];
    kh_prepare(&b.k, "yubihsm");
    kh_env(&b.k, "MOCK_AFTER", "2");
    kh_env(&b.k, "MOCK_FAIL_NAME", "C_Login");
    kh_env(&b.k, "MOCK_FAIL_AT", "2");
    kh_env(&b.k, "MOCK_FAIL_COUNT", "2");
    kh_env(&b.k, "MOCK_FAIL_RV", "0xb1"); /* CKR_SESSION_COUNT */
    begin(&b);
    open_again(&b);
    assert_int_equal(kh_try_open(&b.k, b.control, &b.model, &b.key, b.point, why), ERR_TOKEN);
    open_again(&b);
    assert_int_equal(derive(&b, why), ERR_NONE);
    assert_int_equal(kh_count(&b.k, "mock.log", "login wrong"), 0);
    end_clean(&b);
}

/* Pulled out for good: said at once, and the keyholder still ends when told. */
static void test_removed(void **state)
{
    struct bench b;
    struct keyipc_status_answer status;
    char why[241];
    kh_prepare(&b.k, "removed_midway");
    begin(&b);
    open_again(&b);
    enum err_kind kind = derive_until(&b, 20, why);
    assert_true(kind == ERR_TOKEN || kind == ERR_KEY_GONE);
    assert_int_equal(kh_try_open(&b.k, b.control, &b.model, &b.key, b.point, why), ERR_TOKEN);
    assert_int_equal(derive(&b, why), ERR_TOKEN);
    kh_status(&b.k, b.control, &status);
    assert_int_equal(status.token_state, KEYIPC_TOKEN_DOWN);
    assert_int_equal(status.keys_live, 0);
    int64_t began = clock_boot_ns();
    end(&b);
    assert_int_equal(kh_stop(&b.k), KEYIPC_EXIT_OK);
    assert_true(clock_boot_ns() - began < 5 * CLOCK_NS_PER_S);
    kh_remove(&b.k);
}

/* One key is lost, the token is not: the others go on. */
static void test_key_lost(void **state)
{
    struct bench b;
    char why[241];
    kh_prepare(&b.k, "handle_dies_after_n");
    begin(&b);
    open_again(&b);
    uint64_t first = b.key;
    uint8_t first_point[POINT_BYTES];
    memcpy(first_point, b.point, POINT_BYTES);
    assert_int_equal(derive_until(&b, 20, why), ERR_KEY_GONE);
    open_again(&b);
    assert_int_equal(derive_until(&b, 5, why), ERR_NONE);
    assert_int_equal(kh_derive(&b.k, b.control, first, 1, &b.server, first_point, why), ERR_KEY_GONE);
    assert_int_equal(kh_count(&b.k, "log", "is lost"), 0);
    end_clean(&b);
}

/* A secret of the wrong length is no secret. */
static void test_short_secret(void **state)
{
    struct bench b;
    char why[241];
    kh_prepare(&b.k, "derive_short_secret");
    begin(&b);
    assert_int_equal(kh_open_fails(&b.k, b.control, b.model.point, why), ERR_TOKEN);
    assert_non_null(strstr(why, "31 bytes"));
    end_clean(&b);
}

/* A full token says so; what it kept of the pair that it could not make is removed; other keys go on. */
static void test_no_room(void **state)
{
    struct bench b;
    char why[241];
    kh_prepare(&b.k, "generate_fails");
    begin(&b);
    assert_int_equal(kh_open_fails(&b.k, b.control, b.model.point, why), ERR_TOKEN);
    assert_non_null(strstr(why, "no room for another key"));
    end_clean(&b);
    kh_prepare(&b.k, "yubihsm");
    kh_env(&b.k, "MOCK_ROOM", "3");
    begin(&b);
    for (int i = 0; i < 3; i++) {
        kh_open(&b.k, b.control, &b.model, &b.key, b.point);
    }
    for (int i = 0; i < 5; i++) {
        assert_int_equal(kh_open_fails(&b.k, b.control, b.model.point, why), ERR_TOKEN);
        assert_non_null(strstr(why, "CKR_DEVICE_MEMORY"));
        assert_int_equal(derive(&b, why), ERR_NONE);
    }
    kh_close_key(&b.k, b.control, b.key);
    kh_open(&b.k, b.control, &b.model, &b.key, b.point);
    end_clean(&b);
}

/* A SmartCard-HSM's sixty-third pair fails and stays on the card, unseen: it must not be there after the exit. */
static void test_card_full(void **state)
{
    struct bench b;
    struct keyipc_status_answer status;
    char why[241];
    int keys = 0;
    kh_prepare(&b.k, "smartcard_hsm");
    kh_env(&b.k, "MOCK_STORE", kh_path(&b.k, "store"));
    begin(&b);
    while (kh_try_open(&b.k, b.control, &b.model, &b.key, b.point, why) == ERR_NONE) {
        assert_true(++keys <= 62);
    }
    assert_int_equal(keys, 62);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(derive(&b, why), ERR_NONE); /* the token is full and not lost */
        assert_int_equal(kh_open_fails(&b.k, b.control, b.model.point, why), ERR_TOKEN);
        assert_non_null(strstr(why, "no room for another key"));
    }
    assert_int_equal(kh_count(&b.k, "mock.log", "no place for a pair"),
                     1); /* it is not filled with unseen ones */
    kh_status(&b.k, b.control, &status);
    assert_int_equal(status.token_state, KEYIPC_TOKEN_READY);
    assert_int_equal(status.keys_live, 62);
    kh_close_key(&b.k, b.control, b.key);
    open_again(&b);
    assert_int_equal(derive(&b, why), ERR_NONE);
    assert_int_equal(kh_count(&b.k, "log", "is lost"), 0);
    end_clean(&b);
}

/* Bad points cost such a card a place each: none may reach it. */
static void test_bad_points(void **state)
{
    static const char *const modules[] = {"smartcard_hsm", "yubihsm"};
    for (size_t m = 0; m < 2; m++) {
        struct bench b;
        char why[241];
        kh_prepare(&b.k, modules[m]);
        begin(&b);
        open_again(&b);
        for (int i = 0; i < 150; i++) {
            struct kh_peer bad = b.server;
            bad.point[POINT_BYTES - 1 - i % 32] ^= (uint8_t)(1 + i / 32);
            assert_int_equal(kh_derive(&b.k, b.control, b.key, 1, &bad, b.point, why), ERR_INVALID);
            assert_int_equal(kh_open_fails(&b.k, b.control, bad.point, why), ERR_INVALID);
        }
        kh_open(&b.k, b.control, &b.model, &b.key, b.point);
        assert_int_equal(kh_count(&b.k, "mock.log", "a place is lost"), 0);
        assert_int_equal(kh_count(&b.k, "mock.log", "a bad point"), 0);
        end_clean(&b);
    }
}

/* A call that never returns ends the process; the client sees its connection close, and the next keyholder works. */
static void test_hang(void **state)
{
    struct bench b;
    struct keyipc_message request = {.op = KEYIPC_DERIVE};
    kh_prepare(&b.k, "derive_hangs");
    kh_arg(&b.k, "--token-timeout", "1");
    begin(&b);
    open_again(&b);
    request.u.derive.key_id = b.key;
    memcpy(request.u.derive.server_point, b.server.point, POINT_BYTES);
    int64_t began = clock_boot_ns();
    kh_send(b.control, &request);
    assert_true(kh_closed(b.control));
    assert_int_equal(kh_wait(&b.k), KEYIPC_EXIT_TOKEN);
    assert_true(clock_boot_ns() - began < 10 * CLOCK_NS_PER_S);
    assert_true(kh_count(&b.k, "log", "in C_DeriveKey for more than 1 s") > 0);
    close(b.k.channel);
    end(&b);
    begin(&b);
    open_again(&b);
    end_clean(&b);
}

/* Calls of 200 ms, four sessions: eight take two rounds, and STATUS is answered meanwhile. */
static void test_slow(void **state)
{
    struct bench b;
    struct keyipc_message m = {.op = KEYIPC_DERIVE};
    kh_prepare(&b.k, "derive_slow");
    kh_env(&b.k, "MOCK_DERIVE_MS", "200");
    kh_env(&b.k, "MOCK_SESSIONS", "8");
    begin(&b);
    open_again(&b);
    m.u.derive.key_id = b.key;
    memcpy(m.u.derive.server_point, b.server.point, POINT_BYTES);
    int64_t began = clock_boot_ns();
    for (uint32_t i = 0; i < 8; i++) {
        m.request_id = i;
        m.u.derive.stream_id = i;
        kh_send(b.control, &m);
    }
    m = (struct keyipc_message){.op = KEYIPC_STATUS, .request_id = 8};
    kh_send(b.control, &m);
    assert_true(kh_receive(b.control, &m));
    assert_int_equal(m.request_id, 8); /* before the first of them */
    for (int i = 0; i < 8; i++) {
        assert_true(kh_receive(b.control, &m));
        assert_int_equal(m.op, KEYIPC_DERIVE | KEYIPC_ANSWER);
        keyipc_message_clear(&m);
    }
    int64_t ms = (clock_boot_ns() - began) / CLOCK_NS_PER_MS;
    assert_true(ms >= 399 && ms < 1400); /* one after another: 1600 */
    end_clean(&b);
}

/* Killed while a helper that the module forked lives on: the client notices at once, and the next start removes the key. */
static void test_forked_helper(void **state)
{
    struct bench b;
    kh_prepare(&b.k, "forks");
    kh_env(&b.k, "MOCK_STORE", kh_path(&b.k, "store"));
    begin(&b);
    kh_open(&b.k, b.control, &b.model, &b.key, b.point);
    kh_open(&b.k, b.control, &b.model, &b.key, b.point); /* the third pair: the helper starts */
    int64_t began = clock_boot_ns();
    assert_int_equal(kill(b.k.pid, SIGKILL), 0);
    assert_true(kh_closed(b.control));
    assert_true(clock_boot_ns() - began < 4 * CLOCK_NS_PER_S);
    assert_int_equal(kh_wait(&b.k), -SIGKILL);
    close(b.k.channel);
    end(&b);
    begin(&b);
    assert_int_equal(kh_count(&b.k, "log", "left-over"), 1);
    assert_true(clock_boot_ns() - began < 7 * CLOCK_NS_PER_S); /* the helper lives for 8 s */
    end_clean(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gone_and_back), cmocka_unit_test(test_login_lost_at_generation),
        cmocka_unit_test(test_removed),       cmocka_unit_test(test_key_lost),
        cmocka_unit_test(test_short_secret),  cmocka_unit_test(test_no_room),
        cmocka_unit_test(test_card_full),     cmocka_unit_test(test_bad_points),
        cmocka_unit_test(test_hang),          cmocka_unit_test(test_slow),
        cmocka_unit_test(test_forked_helper),
    };
    struct err err = {0};
    if (!secret_heap_init(&err)) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
