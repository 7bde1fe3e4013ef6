/* Clients that take what is not theirs, and a proxy in somebody else's hands: he gets AES keys for points of his choice
 * while his keys live, and nothing else (docs/THREAT-MODEL.md). */
#include "honest.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

/* ---- what belongs to others ---- */

static void test_anothers_keys(void **state)
{
    struct keyipc_message m;
    struct keyipc_status_answer status;
    char why[241];
    int other = kh_control(&k, NULL);
    assert_int_equal(kh_derive(&k, other, key, 1, &server, point, why), ERR_KEY_GONE);
    for (uint64_t guess = 0; guess < 64; guess++) { /* PKCS#11 handles, and numbers near the key's */
        assert_int_equal(kh_derive(&k, other, guess, 1, &server, point, why), ERR_KEY_GONE);
        assert_int_equal(kh_derive(&k, other, key + guess, 1, &server, point, why), ERR_KEY_GONE);
    }
    kh_close_key(&k, other, key); /* answered like any number that it does not hold */
    kh_status(&k, other, &status);
    assert_int_equal(status.keys_live, 1);
    assert_int_equal(kh_derive(&k, worker, key, 1, &server, point, NULL), ERR_NONE);
    /* CANCEL reaches the own connection's streams only. */
    for (uint32_t i = 0; i < 50; i++) {
        m = (struct keyipc_message){.op = KEYIPC_DERIVE, .request_id = i};
        m.u.derive.key_id = key;
        m.u.derive.stream_id = 5;
        memcpy(m.u.derive.server_point, server.point, POINT_BYTES);
        kh_send(worker, &m);
    }
    struct keyipc_message cancel = {.op = KEYIPC_CANCEL, .u.stream_id = 5}, answer;
    kh_call(&k, other, &cancel, &answer);
    for (int i = 0; i < 50; i++) {
        assert_true(kh_receive(worker, &m));
        assert_int_equal(m.op, KEYIPC_DERIVE | KEYIPC_ANSWER);
        keyipc_message_clear(&m);
    }
    close(other);
}

/* ---- a proxy in somebody else's hands ---- */

static void expect_refused(const uint8_t bad[static POINT_BYTES])
{
    struct kh_peer peer = server;
    char why[241];
    memcpy(peer.point, bad, POINT_BYTES);
    assert_int_equal(kh_derive(&k, worker, key, 1, &peer, point, why), ERR_INVALID);
}

/* y -> p - y: the other point of the same X, which derives the same secret. */
static void negate(uint8_t out[static POINT_BYTES], const uint8_t in[static POINT_BYTES])
{
    static const uint8_t low[] = {0xff, 0xff, 0xff, 0xfe, 0xff, 0xff, 0xfc, 0x2f};
    int borrow = 0;
    memcpy(out, in, POINT_BYTES);
    for (int i = 31; i >= 0; i--) {
        int p = i >= 24 ? low[i - 24] : 0xff, d = p - in[33 + i] - borrow;
        borrow = d < 0;
        out[33 + i] = (uint8_t)(d + (borrow ? 256 : 0));
    }
    assert_true(point_valid(out));
}

static void test_points(void **state)
{
    uint8_t bad[POINT_BYTES];
    expect_refused(model.point);
    expect_refused(point);
    negate(bad, model.point);
    expect_refused(bad);
    negate(bad, point);
    expect_refused(bad);
    memset(bad, 0, sizeof bad);
    expect_refused(bad);
    bad[0] = 4;
    expect_refused(bad);
    memset(bad + 1, 0xff, sizeof bad - 1);
    expect_refused(bad);
    for (int prefix = 0; prefix < 256; prefix++) {
        memcpy(bad, server.point, sizeof bad);
        bad[0] = (uint8_t)prefix;
        if (prefix != 4) {
            expect_refused(bad);
        }
    }
}

/* All 32-byte values that the mock token has ever had inside: scalars and shared secrets. */
static size_t token_secrets(uint8_t out[][32], size_t max)
{
    char line[128];
    size_t n = 0;
    FILE *f = fopen(kh_path(&k, "secrets"), "r");
    assert_non_null(f);
    while (n < max && fgets(line, sizeof line, f) != NULL) {
        char *hex = strchr(line, ' ') + 1;
        for (int i = 0; i < 32; i++) {
            unsigned byte;
            assert_int_equal(sscanf(hex + 2 * i, "%2x", &byte), 1);
            out[n][i] = (uint8_t)byte;
        }
        n++;
    }
    fclose(f);
    return n;
}

/* All that a hostile proxy can ask for holds neither a private value nor a shared secret. */
static void test_nothing_raw_comes_out(void **state)
{
    static uint8_t secrets[4096][32], seen[1 << 16];
    struct keyipc_message m = {.op = KEYIPC_OPEN, .request_id = 1};
    size_t len = 0;
    memcpy(m.u.open.model_point, model.point, POINT_BYTES);
    kh_send(control, &m);
    for (uint32_t i = 0; i < 100; i++) {
        m = (struct keyipc_message){.op = KEYIPC_DERIVE, .request_id = 2};
        m.u.derive.key_id = key;
        m.u.derive.stream_id = i;
        memcpy(m.u.derive.server_point, server.point, POINT_BYTES);
        kh_send(control, &m);
    }
    m = (struct keyipc_message){.op = KEYIPC_STATUS, .request_id = 3};
    kh_send(control, &m);
    const size_t expected = 12 + 170 + 100 * (12 + 32) + 12 + 1037;
    while (len < expected) {
        ssize_t n = recv(control, seen + len, sizeof seen - len, 0);
        assert_true(n > 0);
        len += (size_t)n;
    }
    assert_int_equal(len, expected);
    size_t count = token_secrets(secrets, 4096);
    assert_true(count > 100);
    for (size_t i = 0; i < count; i++) {
        assert_null(memmem(seen, len, secrets[i], 32));
    }
}

/* Limits are the keyholder's own: keys, age, custody. */
static void test_limits(void **state)
{
    struct keyipc_message hello = {.op = KEYIPC_HELLO}, answer;
    char why[241];
    uint8_t other_point[POINT_BYTES];
    uint64_t more[4];
    hello.u.hello.role = KEYIPC_CONTROL;
    hello.u.hello.custody = KEYIPC_CUSTODY_SESSION;
    hello.u.hello.max_key_age_s = UINT32_MAX;
    int fd = kh_connect(&k);
    kh_call(&k, fd, &hello, &answer);
    assert_int_equal(answer.u.hello_answer.custody, KEYIPC_CUSTODY_TOKEN); /* a wish weakens nothing */
    assert_int_equal(answer.u.hello_answer.max_key_age_s, LIMIT_SESSION_S + LIMIT_SESSION_GRACE_S);
    for (int i = 0; i < 3; i++) {
        kh_open(&k, fd, &model, &more[i], other_point);
    }
    for (int i = 0; i < 20; i++) {
        assert_int_equal(kh_open_fails(&k, fd, model.point, why), ERR_BUSY);
    }
    kh_close_key(&k, fd, more[0]);
    kh_open(&k, fd, &model, &more[3], other_point);
    close(fd); /* and with it all four go */
    struct keyipc_status_answer status = {.keys_live = 9};
    for (int i = 0; i < 200 && status.keys_live != 1; i++) {
        kh_status(&k, worker, &status);
        usleep(10000);
    }
    assert_int_equal(status.keys_live, 1);
}

/* A key dies by its own after so many derivations. */
static void test_worn_out(void **state)
{
    struct kh mine;
    char why[241];
    uint64_t id;
    uint8_t own[POINT_BYTES];
    kh_prepare(&mine, "plain");
    kh_arg(&mine, "--max-derives", "5");
    assert_true(kh_start(&mine));
    int fd = kh_control(&mine, NULL);
    kh_open(&mine, fd, &model, &id, own);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(kh_derive(&mine, fd, id, 1, &server, own, why), ERR_NONE);
    }
    assert_int_equal(kh_derive(&mine, fd, id, 1, &server, own, why), ERR_KEY_GONE);
    close(fd);
    assert_int_equal(kh_stop(&mine), KEYIPC_EXIT_OK);
    assert_true(kh_count(&mine, "mock.log", "finalized objects=0") > 0);
    kh_remove(&mine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SERVED(test_anothers_keys), SERVED(test_points),   SERVED(test_nothing_raw_comes_out),
        SERVED(test_limits),        SERVED(test_worn_out),
    };
    struct err err = {0};
    if (!secret_heap_init(&err)) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
