/* Several tokens in one keyholder: keys are spread, one token's loss is the others' work, and it comes back or is replaced
 * beside them. Two or three real SoftHSM tokens that can be pulled out (mock/softhsm_vanishes.c). */
#include "harness.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

#define KEYS 4

struct opened {
    uint64_t id;
    uint8_t point[POINT_BYTES];
};

static struct kh k;
static struct kh_peer model, server;
static int control;

static void prepare(void)
{
    kh_prepare(&k, "softhsm_vanishes");
    kh_softhsm_folder(&k);
    kh_env(&k, "MOCK_GONE", kh_path(&k, "gone"));
    kh_softhsm_token(&k, "first", "1234");
    kh_softhsm_token(&k, "second", "1234");
    kh_arg(&k, "--token", "pkcs11:token=first");
    kh_arg(&k, "--token", "pkcs11:token=second");
}

static void start(void)
{
    if (!kh_start(&k)) {
        fail_msg("%s", k.report);
    }
    kh_peer_new(&model);
    kh_peer_new(&server);
    control = kh_control(&k, NULL);
}

static void finish(void)
{
    close(control);
    kh_peer_free(&model);
    kh_peer_free(&server);
    assert_int_equal(kh_stop(&k), KEYIPC_EXIT_OK);
    kh_remove(&k);
}

static void pull(const char *name)
{
    char file[64];
    snprintf(file, sizeof file, "gone.%s", name);
    kh_write(&k, file, "");
}

static void put_back(const char *name)
{
    char file[64];
    snprintf(file, sizeof file, "gone.%s", name);
    assert_int_equal(unlink(kh_path(&k, file)), 0);
}

static void open_key(struct opened *o)
{
    kh_open(&k, control, &model, &o->id, o->point);
}

static enum err_kind derive(const struct opened *o)
{
    return kh_derive(&k, control, o->id, 1, &server, o->point, NULL);
}

static struct keyipc_token token(size_t i)
{
    struct keyipc_status_answer status;
    kh_status(&k, control, &status);
    assert_true(i < status.token_count);
    return status.tokens[i];
}

static void await_state(size_t i, enum keyipc_token_state state)
{
    for (int n = 0; n < HARNESS_WAIT_S * 20; n++) {
        if (token(i).state == state) {
            return;
        }
        usleep(50000);
    }
    fail_msg("token %zu never came to state %d", i, (int)state);
}

static void test_spread(void **state)
{
    struct opened keys[KEYS];
    prepare();
    start();
    for (int i = 0; i < KEYS; i++) {
        open_key(&keys[i]);
        assert_int_equal(derive(&keys[i]), ERR_NONE);
    }
    assert_int_equal(token(0).keys, 2);
    assert_int_equal(token(1).keys, 2);
    assert_string_equal(token(0).label, "first");
    assert_string_equal(token(1).label, "second");
    assert_string_not_equal(token(0).serial, token(1).serial);
    assert_int_equal(strlen(token(0).serial), KEYIPC_SERIAL_BYTES);
    for (int i = 0; i < KEYS; i++) {
        kh_close_key(&k, control, keys[i].id);
    }
    assert_int_equal(token(0).keys + token(1).keys, 0);
    finish();
}

/* Derivations of all keys under way, one token pulled out in their middle: the other's all come, right; the lost one's
 * come right or say that their key is gone, and never come wrong. */
static void test_vanishes_in_streams(void **state)
{
    struct opened keys[2];
    unsigned good[2] = {0}, lost = 0;
    prepare();
    kh_env(&k, "MOCK_DERIVE_MS", "5");
    start();
    open_key(&keys[0]);
    open_key(&keys[1]);
    assert_int_equal(token(0).keys, 1);
    bool first_is_0 = true; /* which key the first token holds, is seen by what is lost */
    for (uint32_t i = 0; i < 400; i++) {
        struct keyipc_message m = {.op = KEYIPC_DERIVE, .request_id = 1000 + i};
        m.u.derive.key_id = keys[i % 2].id;
        m.u.derive.stream_id = i % 8;
        memcpy(m.u.derive.server_point, server.point, POINT_BYTES);
        kh_send(control, &m);
    }
    for (uint32_t i = 0; i < 400; i++) {
        struct keyipc_message m;
        assert_true(kh_receive(control, &m));
        if (i == 60) {
            pull("first");
        }
        unsigned which = m.request_id % 2;
        if (m.op == KEYIPC_ERROR) {
            assert_true(m.u.error.kind == ERR_KEY_GONE || m.u.error.kind == ERR_TOKEN);
            first_is_0 = which == 0;
            lost++;
        } else {
            assert_int_equal(m.op, KEYIPC_DERIVE | KEYIPC_ANSWER);
            good[which]++;
        }
        keyipc_message_clear(&m);
    }
    assert_true(lost > 50);
    assert_int_equal(good[first_is_0 ? 1 : 0], 200);
    assert_int_equal(good[first_is_0 ? 0 : 1] + lost, 200);
    const struct opened *gone = &keys[first_is_0 ? 0 : 1], *kept = &keys[first_is_0 ? 1 : 0];
    assert_int_equal(derive(gone), ERR_KEY_GONE);
    assert_int_equal(derive(kept), ERR_NONE);
    assert_int_equal(token(0).state, KEYIPC_TOKEN_DOWN);
    assert_int_equal(token(0).keys, 0);
    assert_int_equal(token(1).state, KEYIPC_TOKEN_READY);
    /* New keys are made in the other, until the first is back. */
    struct opened fresh[2];
    open_key(&fresh[0]);
    assert_int_equal(derive(&fresh[0]), ERR_NONE);
    assert_int_equal(token(1).keys, 2);
    put_back("first");
    await_state(0, KEYIPC_TOKEN_READY);
    open_key(&fresh[1]);
    assert_int_equal(derive(&fresh[1]), ERR_NONE);
    assert_int_equal(token(0).keys, 1);
    assert_int_equal(derive(kept), ERR_NONE); /* its token was not disturbed by the other's return */
    assert_int_equal(derive(gone), ERR_KEY_GONE);
    finish();
}

static void test_both_vanish(void **state)
{
    struct opened key;
    struct keyipc_status_answer status;
    char why[241];
    prepare();
    start();
    open_key(&key);
    pull("first");
    pull("second");
    while (kh_try_open(&k, control, &model, &key.id, key.point, why) == ERR_NONE) {
    }
    assert_int_equal(kh_try_open(&k, control, &model, &key.id, key.point, why), ERR_TOKEN);
    kh_status(&k, control, &status);
    assert_int_equal(status.token_state, KEYIPC_TOKEN_DOWN);
    put_back("second");
    await_state(1, KEYIPC_TOKEN_READY);
    open_key(&key);
    assert_int_equal(derive(&key), ERR_NONE);
    kh_status(&k, control, &status);
    assert_int_equal(status.token_state, KEYIPC_TOKEN_READY);
    assert_int_equal(status.tokens[0].state, KEYIPC_TOKEN_DOWN);
    finish();
}

/* One that is absent at start is taken in when it comes, tested first; none at all ends the start. */
static void test_absent_at_start(void **state)
{
    struct opened keys[2];
    prepare();
    pull("second");
    start();
    assert_true(kh_count(&k, "log", "token 2 of 2 cannot be used") > 0);
    assert_int_equal(token(1).state, KEYIPC_TOKEN_DOWN);
    open_key(&keys[0]);
    put_back("second");
    await_state(1, KEYIPC_TOKEN_READY);
    assert_string_equal(token(1).label, "second");
    open_key(&keys[1]);
    assert_int_equal(token(1).keys, 1);
    assert_int_equal(derive(&keys[0]), ERR_NONE);
    assert_int_equal(derive(&keys[1]), ERR_NONE);
    finish();

    prepare();
    pull("first");
    pull("second");
    assert_false(kh_start(&k));
    assert_int_equal(kh_stop(&k), KEYIPC_EXIT_TOKEN);
    kh_remove(&k);
}

/* A refused PIN keeps one away, tried once; the other serves. */
static void test_wrong_pin(void **state)
{
    struct opened key;
    char uri[256];
    prepare();
    k.arg_count -= 2;
    kh_write(&k, "wrong", "9999\n");
    snprintf(uri, sizeof uri, "pkcs11:token=second?pin-source=file:%s", kh_path(&k, "wrong"));
    kh_arg(&k, "--token", uri);
    start();
    assert_int_equal(token(0).state, KEYIPC_TOKEN_READY);
    assert_int_equal(token(1).state, KEYIPC_TOKEN_PIN);
    open_key(&key);
    assert_int_equal(derive(&key), ERR_NONE);
    sleep(2); /* nobody tries again */
    assert_int_equal(kh_count(&k, "log", "refused the PIN"), 1);
    /* The same file: nobody tries again. Another, and wrong again: once. The right one: back beside the other's work. */
    assert_int_equal(kill(k.pid, SIGHUP), 0);
    kh_await(&k, "log", "before; it is not tried again");
    kh_write(&k, "wrong", "99999\n");
    assert_int_equal(kill(k.pid, SIGHUP), 0);
    sleep(2);
    await_state(1, KEYIPC_TOKEN_PIN);
    assert_int_equal(kh_count(&k, "log", "CKR_PIN_INCORRECT"), 2);
    kh_write(&k, "wrong", "1234\n");
    assert_int_equal(kill(k.pid, SIGHUP), 0);
    await_state(1, KEYIPC_TOKEN_READY);
    assert_int_equal(derive(&key), ERR_NONE);
    open_key(&key);
    assert_int_equal(token(1).keys, 1);
    finish();
}

/* A device of the same label takes the place of one that is gone, where the URI names no serial number. */
static void test_replaced(void **state)
{
    struct opened keys[2];
    char serials[2][KEYIPC_SERIAL_BYTES + 1];
    kh_prepare(&k, "softhsm_vanishes");
    kh_softhsm_folder(&k);
    kh_env(&k, "MOCK_GONE", kh_path(&k, "gone"));
    kh_softhsm_token(&k, "spare", "1234");
    size_t args = k.arg_count;
    kh_arg(&k, "--token", "pkcs11:token=spare");
    for (int i = 0; i < 2; i++) { /* learns the serial numbers of two with one label */
        start();
        memcpy(serials[i], token(0).serial, sizeof serials[i]);
        close(control);
        kh_peer_free(&model);
        kh_peer_free(&server);
        assert_int_equal(kh_stop(&k), KEYIPC_EXIT_OK);
        pull(serials[i]);
        if (i == 0) {
            kh_softhsm_token(&k, "spare", "1234");
        }
    }
    assert_string_not_equal(serials[0], serials[1]);
    put_back(serials[0]);
    kh_softhsm_token(&k, "first", "1234");
    k.arg_count = args;
    kh_arg(&k, "--token", "pkcs11:token=first");
    kh_arg(&k, "--token", "pkcs11:token=spare");
    start();
    assert_string_equal(token(1).serial, serials[0]);
    open_key(&keys[0]);
    open_key(&keys[1]);
    pull(serials[0]);
    put_back(serials[1]);
    assert_true((derive(&keys[0]) == ERR_NONE) != (derive(&keys[1]) == ERR_NONE));
    kh_await(&k, "log", "takes the place of");
    await_state(1, KEYIPC_TOKEN_READY);
    assert_string_equal(token(1).serial, serials[1]);
    open_key(&keys[0]);
    assert_int_equal(derive(&keys[0]), ERR_NONE);
    assert_int_equal(token(1).keys, 1);
    finish();
}

static void test_refused_options(void **state)
{
    prepare();
    kh_arg(&k, "--token", "pkcs11:token=first");
    assert_false(kh_start(&k));
    assert_int_equal(kh_stop(&k), KEYIPC_EXIT_FAILED);
    assert_true(kh_count(&k, "log", "twice") > 0);
    kh_remove(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spread),          cmocka_unit_test(test_vanishes_in_streams),
        cmocka_unit_test(test_both_vanish),     cmocka_unit_test(test_absent_at_start),
        cmocka_unit_test(test_wrong_pin),       cmocka_unit_test(test_replaced),
        cmocka_unit_test(test_refused_options),
    };
    if (!secret_heap_init(NULL)) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
