/* --custody session: what roots a session, what opens its answers, and what makes neither weaker than asked for. */
#include "harness.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "crypto/hash.h"

static struct kh k;
static struct kh_peer model, server;

static int begin(void **state)
{
    kh_prepare(&k, "plain");
    kh_env(&k, "MOCK_SECRETS", kh_path(&k, "secrets"));
    kh_peer_new(&model);
    kh_peer_new(&server);
    return 0;
}

static int end(void **state)
{
    kh_peer_free(&model);
    kh_peer_free(&server);
    assert_int_equal(kh_stop(&k), KEYIPC_EXIT_OK);
    assert_true(kh_count(&k, "mock.log", "finalized objects=0 sessions=0 logged_in=0") > 0);
    kh_remove(&k);
    return 0;
}

static int hello(uint8_t wish, uint8_t in_force)
{
    struct keyipc_message request = {.op = KEYIPC_HELLO}, answer;
    int fd = kh_connect(&k);
    request.u.hello.role = KEYIPC_CONTROL;
    request.u.hello.custody = wish;
    assert_true(hash_random(request.u.hello.join, KEYIPC_JOIN_BYTES, NULL));
    kh_call(&k, fd, &request, &answer);
    assert_int_equal(answer.u.hello_answer.custody, in_force);
    return fd;
}

struct opened {
    uint64_t key;
    uint8_t client_point[POINT_BYTES], response_point[POINT_BYTES];
};

/* The request key is the token's with the model, as ever. */
static void open_key(int fd, struct opened *o)
{
    struct keyipc_message request = {.op = KEYIPC_OPEN}, answer;
    struct secret z, expected;
    memcpy(request.u.open.model_point, model.point, POINT_BYTES);
    kh_call(&k, fd, &request, &answer);
    assert_int_equal(answer.op, KEYIPC_OPEN | KEYIPC_ANSWER);
    o->key = answer.u.open_answer.key_id;
    memcpy(o->client_point, answer.u.open_answer.client_point, POINT_BYTES);
    memcpy(o->response_point, answer.u.open_answer.response_point, POINT_BYTES);
    assert_true(point_valid(o->client_point) && point_valid(o->response_point));
    assert_true(point_ecdh(&z, &model.scalar, o->client_point, NULL));
    assert_true(hash_protocol_key(&expected, &z, NULL));
    assert_true(secret_equal(&expected, &answer.u.open_answer.request_key));
    secret_free(&expected);
    secret_free(&z);
    keyipc_message_clear(&answer);
}

static uint64_t timed(int fd, enum keyipc_timed op)
{
    struct keyipc_status_answer status;
    uint64_t count = 0;
    kh_status(&k, fd, &status);
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        count += status.times[op].counts[i];
    }
    return count;
}

static void test_derives_in_memory(void **state)
{
    struct opened a, b;
    char why[241];
    kh_arg(&k, "--custody", "session");
    assert_true(kh_start(&k));
    int fd = hello(KEYIPC_CUSTODY_SESSION, KEYIPC_CUSTODY_SESSION);
    open_key(fd, &a);
    open_key(fd, &b);
    assert_memory_not_equal(a.client_point, a.response_point, POINT_BYTES);
    assert_memory_not_equal(a.response_point, b.response_point, POINT_BYTES);
    uint64_t in_token = timed(fd, KEYIPC_TIMED_DERIVE);
    for (uint64_t i = 0; i < 50; i++) {
        assert_int_equal(kh_derive(&k, fd, a.key, i, &server, a.response_point, why), ERR_NONE);
    }
    assert_int_equal(timed(fd, KEYIPC_TIMED_DERIVE), in_token); /* not one more */
    assert_int_equal(timed(fd, KEYIPC_TIMED_SOFTWARE), 50);
    /* A request sent back as an answer: its field carries the token's point, or the header's, or the model's. */
    const uint8_t *const reflected[] = {a.client_point, a.response_point, model.point};
    for (size_t i = 0; i < 3; i++) {
        struct kh_peer peer = server;
        memcpy(peer.point, reflected[i], POINT_BYTES);
        assert_int_equal(kh_derive(&k, fd, a.key, 1, &peer, a.response_point, why), ERR_INVALID);
    }
    kh_close_key(&k, fd, a.key);
    assert_int_equal(kh_derive(&k, fd, a.key, 1, &server, a.response_point, why), ERR_KEY_GONE);
    assert_int_equal(kh_derive(&k, fd, b.key, 1, &server, b.response_point, why), ERR_NONE);
    close(fd);
}

/* What the model's key alone allows: Z, and HKDF of it without the salt. Neither is the scalar. */
static void test_model_cannot_compute_it(void **state)
{
    static const char info[] = "e2ee-hsm-proxy/response/v1";
    struct opened a;
    struct secret z, guess;
    uint8_t point[POINT_BYTES], zeros[32] = {0};
    kh_arg(&k, "--custody", "session");
    assert_true(kh_start(&k));
    int fd = hello(KEYIPC_CUSTODY_SESSION, KEYIPC_CUSTODY_SESSION);
    open_key(fd, &a);
    assert_true(point_ecdh(&z, &model.scalar, a.client_point, NULL));
    assert_true(point_from_scalar(point, &z, NULL));
    assert_memory_not_equal(point, a.response_point, POINT_BYTES);
    assert_true(hash_hkdf_sha256(&guess, SCALAR_BYTES, &z, NULL, 0, info, sizeof info - 1, NULL));
    assert_true(point_from_scalar(point, &guess, NULL));
    assert_memory_not_equal(point, a.response_point, POINT_BYTES);
    secret_free(&guess);
    assert_true(hash_hkdf_sha256(&guess, SCALAR_BYTES, &z, zeros, 32, info, sizeof info - 1, NULL));
    assert_true(point_from_scalar(point, &guess, NULL));
    assert_memory_not_equal(point, a.response_point, POINT_BYTES);
    secret_free(&guess);
    secret_free(&z);
    close(fd);
}

/* The stricter of both wishes holds, for each client alone. */
static void test_stricter_wins(void **state)
{
    struct opened a;
    uint64_t key;
    uint8_t point[POINT_BYTES];
    kh_arg(&k, "--custody", "session");
    assert_true(kh_start(&k));
    int fd = hello(KEYIPC_CUSTODY_TOKEN, KEYIPC_CUSTODY_TOKEN),
        other = hello(KEYIPC_CUSTODY_SESSION, KEYIPC_CUSTODY_SESSION);
    open_key(fd, &a);
    assert_memory_equal(a.client_point, a.response_point, POINT_BYTES);
    kh_open(&k, other, &model, &key, point);
    uint64_t in_token = timed(fd, KEYIPC_TIMED_DERIVE);
    assert_int_equal(kh_derive(&k, fd, a.key, 1, &server, a.client_point, NULL), ERR_NONE);
    assert_int_equal(timed(fd, KEYIPC_TIMED_DERIVE), in_token + 1);
    close(fd);
    close(other);
}

/* Limits of a key hold for it in memory too. */
static void test_limits(void **state)
{
    struct opened a;
    kh_arg(&k, "--custody", "session");
    kh_arg(&k, "--max-derives", "3");
    kh_arg(&k, "--max-key-age", "2");
    assert_true(kh_start(&k));
    int fd = hello(KEYIPC_CUSTODY_SESSION, KEYIPC_CUSTODY_SESSION);
    open_key(fd, &a);
    for (uint64_t i = 0; i < 3; i++) {
        assert_int_equal(kh_derive(&k, fd, a.key, i, &server, a.response_point, NULL), ERR_NONE);
    }
    assert_int_equal(kh_derive(&k, fd, a.key, 1, &server, a.response_point, NULL), ERR_KEY_GONE);
    open_key(fd, &a);
    sleep(4);
    assert_int_equal(kh_derive(&k, fd, a.key, 1, &server, a.response_point, NULL), ERR_KEY_GONE);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_derives_in_memory, begin, end),
        cmocka_unit_test_setup_teardown(test_model_cannot_compute_it, begin, end),
        cmocka_unit_test_setup_teardown(test_stricter_wins, begin, end),
        cmocka_unit_test_setup_teardown(test_limits, begin, end),
    };
    if (!secret_heap_init(NULL)) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
