/* A token that derives wrong secrets now and then: none is used for a request, whichever of an OPEN's derivations it hits. */
#include "bench.h"

#include <stdio.h>
#include <string.h>

#include "crypto/hash.h"

static int session_control(struct kh *k)
{
    struct keyipc_message request = {.op = KEYIPC_HELLO}, answer;
    int fd = kh_connect(k);
    request.u.hello.role = KEYIPC_CONTROL;
    request.u.hello.custody = KEYIPC_CUSTODY_SESSION;
    assert_true(hash_random(request.u.hello.join, KEYIPC_JOIN_BYTES, NULL));
    kh_call(k, fd, &request, &answer);
    assert_int_equal(answer.u.hello_answer.custody, KEYIPC_CUSTODY_SESSION);
    return fd;
}

static void refused(const char *after, const char *count, uint8_t custody)
{
    struct bench b;
    struct keyipc_status_answer status;
    char why[241];
    kh_prepare(&b.k, "wrong_secret_after_n");
    kh_env(&b.k, "MOCK_AFTER", after);
    kh_env(&b.k, "MOCK_WRONG", count);
    kh_arg(&b.k, "--audit-log", kh_path(&b.k, "audit"));
    kh_arg(&b.k, "--custody", custody == KEYIPC_CUSTODY_SESSION ? "session" : "token");
    begin(&b);
    if (custody == KEYIPC_CUSTODY_SESSION) {
        close(b.control);
        b.control = session_control(&b.k);
    }
    assert_int_equal(kh_open_fails(&b.k, b.control, b.model.point, why), ERR_TOKEN);
    assert_non_null(strstr(why, "derived a wrong secret"));
    kh_status(&b.k, b.control, &status);
    assert_int_equal(status.keys_live, 0);
    assert_int_equal(status.token_state, KEYIPC_TOKEN_READY);
    kh_await(&b.k, "audit", "key_rejected");
    assert_int_equal(kh_count(&b.k, "audit", "wrong secret"), 1);
    kh_open(&b.k, b.control, &b.model, &b.key, b.point); /* the next one is right */
    if (custody == KEYIPC_CUSTODY_TOKEN) {
        assert_int_equal(derive(&b, why), ERR_NONE);
    }
    end_clean(&b);
}

/* The secret itself, its proof, and both. The self test reads the first one. */
static void test_open(void **state)
{
    static const char *const cases[][2] = {{"1", "1"}, {"2", "1"}, {"1", "2"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        refused(cases[i][0], cases[i][1], KEYIPC_CUSTODY_TOKEN);
    }
}

/* Here every answer's key hangs on that one secret. */
static void test_session_custody(void **state)
{
    refused("1", "1", KEYIPC_CUSTODY_SESSION);
}

/* With DERIVE it is the answer's own authentication that must fail: the key is another than the server's. */
static void test_derive(void **state)
{
    struct bench b;
    struct keyipc_message request = {.op = KEYIPC_DERIVE}, answer;
    struct secret z, right;
    kh_prepare(&b.k, "wrong_secret_after_n");
    kh_env(&b.k, "MOCK_AFTER", "3");
    begin(&b);
    kh_open(&b.k, b.control, &b.model, &b.key, b.point);
    request.u.derive.key_id = b.key;
    memcpy(request.u.derive.server_point, b.server.point, POINT_BYTES);
    kh_call(&b.k, b.control, &request, &answer);
    assert_int_equal(answer.op, KEYIPC_DERIVE | KEYIPC_ANSWER);
    assert_true(point_ecdh(&z, &b.server.scalar, b.point, NULL) && hash_protocol_key(&right, &z, NULL));
    assert_false(secret_equal(&answer.u.derive_answer.response_key, &right));
    assert_int_equal(kh_count(&b.k, "mock.log", "a wrong secret"), 1);
    keyipc_message_clear(&answer);
    secret_free(&z);
    secret_free(&right);
    end_clean(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_open), cmocka_unit_test(test_session_custody),
                                       cmocka_unit_test(test_derive)};
    struct err err = {0};
    if (!secret_heap_init(&err)) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
