/* Failure of the Nth allocation in a whole keyholder (pool, queue, handlers, results, clients, connections), for N = 1 and on
 * until one run has none. Each time: no crash, an error with a reason, served again at once, and no pair in the token that
 * nobody counts, not even while it goes on. */
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "crypto/hash.h"

#define ALLOCATIONS_MAX 4000
#define TRIES 4
#ifdef __SANITIZE_THREAD__
#define STEP 7
#elif defined(__SANITIZE_ADDRESS__)
#define STEP 2
#else
#define STEP 1
#endif

static struct kh_peer model, server;

/* The peer may be gone. */
static bool try_send(int fd, const struct keyipc_message *m)
{
    struct buf out;
    buf_init(&out, LIMIT_KEYIPC_FRAME_BYTES);
    bool ok = keyipc_encode(&out, m, NULL) && send(fd, out.data, out.len, MSG_NOSIGNAL) == (ssize_t)out.len;
    buf_free(&out);
    return ok;
}

/* One request and its answer. False when the keyholder has cut the connection: it may, for want of memory for a message. */
static bool call(int fd, struct keyipc_message *request, struct keyipc_message *answer)
{
    static uint32_t last;
    request->request_id = ++last;
    if (!try_send(fd, request) || !kh_receive(fd, answer)) {
        return false;
    }
    assert_int_equal(answer->request_id, last);
    assert_true(answer->op == (request->op | KEYIPC_ANSWER) || answer->op == KEYIPC_ERROR);
    if (answer->op == KEYIPC_ERROR) {
        enum err_kind kind = (enum err_kind)answer->u.error.kind;
        if ((kind != ERR_MEMORY && kind != ERR_TOKEN && kind != ERR_KEY_GONE) ||
            strlen(answer->u.error.message) < 10) {
            fail_msg("kind %d: %s", (int)kind, answer->u.error.message);
        }
    }
    return true;
}

/* A connection with its HELLO done, -1 when the keyholder cut it instead. */
static int hello(struct kh *k, uint8_t role, const uint8_t *join)
{
    struct keyipc_message request = {.op = KEYIPC_HELLO}, answer;
    int fd = kh_connect(k);
    request.u.hello.role = role;
    request.u.hello.custody = KEYIPC_CUSTODY_TOKEN;
    memcpy(request.u.hello.join, join, KEYIPC_JOIN_BYTES);
    if (call(fd, &request, &answer) && answer.op != KEYIPC_ERROR) {
        return fd;
    }
    close(fd);
    return -1;
}

static void expect_key(const struct kh_peer *peer, const uint8_t *client_point, const struct secret *key)
{
    struct secret z, expected;
    assert_true(point_ecdh(&z, &peer->scalar, client_point, NULL));
    assert_true(hash_protocol_key(&expected, &z, NULL));
    assert_true(secret_equal(key, &expected));
    secret_free(&z);
    secret_free(&expected);
}

/* OPEN, a derivation on each connection, CLOSE. */
static bool work(int control, int worker)
{
    struct keyipc_message open = {.op = KEYIPC_OPEN}, close_it = {.op = KEYIPC_CLOSE}, answer;
    const int fds[] = {worker, control, worker};
    uint8_t point[POINT_BYTES];
    bool ok = true;
    memcpy(open.u.open.model_point, model.point, POINT_BYTES);
    if (!call(control, &open, &answer) || answer.op == KEYIPC_ERROR) {
        return false;
    }
    close_it.u.key_id = answer.u.open_answer.key_id;
    memcpy(point, answer.u.open_answer.client_point, POINT_BYTES);
    expect_key(&model, point, &answer.u.open_answer.request_key);
    keyipc_message_clear(&answer);
    for (int i = 0; ok && i < 3; i++) {
        struct keyipc_message derive = {.op = KEYIPC_DERIVE};
        derive.u.derive.key_id = close_it.u.key_id;
        derive.u.derive.stream_id = (uint64_t)i;
        memcpy(derive.u.derive.server_point, server.point, POINT_BYTES);
        ok = call(fds[i], &derive, &answer) && answer.op != KEYIPC_ERROR;
        if (ok) {
            expect_key(&server, point, &answer.u.derive_answer.response_key);
            keyipc_message_clear(&answer);
        }
    }
    return call(control, &close_it, &answer) && answer.op != KEYIPC_ERROR && ok;
}

/* An OPEN whose client has gone when its pair is there. */
static void leave_an_orphan(struct kh *k)
{
    struct keyipc_message open = {.op = KEYIPC_OPEN, .request_id = 1};
    uint8_t join[KEYIPC_JOIN_BYTES];
    assert_true(hash_random(join, sizeof join, NULL));
    int fd = hello(k, KEYIPC_CONTROL, join);
    memcpy(open.u.open.model_point, model.point, POINT_BYTES);
    if (fd >= 0 && try_send(fd, &open)) {
        usleep(5000); /* it is being made: MOCK_GENERATE_MS */
    }
    close(fd);
}

static bool store_empty(const struct kh *k)
{
    struct stat st;
    return stat(kh_path(k, "store"), &st) != 0 || st.st_size == 0;
}

/* No pair is in the token, and none is counted, while the keyholder goes on. */
static bool nothing_left(struct kh *k, int control)
{
    struct keyipc_message request = {.op = KEYIPC_STATUS}, answer;
    int64_t deadline = clock_boot_ns() + 5 * CLOCK_NS_PER_S;
    for (;;) {
        if (!call(control, &request, &answer) || answer.op == KEYIPC_ERROR) {
            return false;
        }
        if (answer.u.status_answer.keys_live == 0 && store_empty(k)) {
            return true;
        }
        if (clock_boot_ns() > deadline) {
            fail_msg("%u keys are counted, and the token is %s, see %s", answer.u.status_answer.keys_live,
                     store_empty(k) ? "empty" : "not empty", k->dir);
        }
        usleep(10000);
    }
}

/* What a client does. False when it met the failure. */
static bool use(struct kh *k)
{
    uint8_t join[KEYIPC_JOIN_BYTES];
    assert_true(hash_random(join, sizeof join, NULL));
    int control = hello(k, KEYIPC_CONTROL, join), worker = control < 0 ? -1 : hello(k, KEYIPC_WORKER, join);
    bool ok = worker >= 0 && work(control, worker);
    if (ok) {
        leave_an_orphan(k);
        usleep(30000);
        ok = nothing_left(k, control);
    }
    close(worker);
    close(control);
    return ok;
}

/* One allocation fails, so the next client is served. When the token was taken for lost, a little later. */
static void use_until_served(struct kh *k)
{
    for (int tries = 0; !use(k); tries++) {
        if (tries == TRIES) {
            fail_msg("one failed allocation, and still no service, see %s", k->dir);
        }
        usleep(tries > 0 ? 500000 : 0);
    }
}

/* True when the Nth allocation came to pass. */
static bool run_with(unsigned long n)
{
    struct kh k;
    char at[24];
    snprintf(at, sizeof at, "%lu", n);
    kh_prepare(&k, "token_objects_only");
    k.program = E2EE_BUILD_DIR "/tests/hsm/keyholder_faults";
    kh_env(&k, "MOCK_STORE", kh_path(&k, "store"));
    kh_env(&k, "MOCK_GENERATE_MS", "15");
    kh_arg(&k, "--sessions", "2");
    setenv("E2EE_TEST_ALLOC_AT", at, 1);
    setenv("E2EE_TEST_ALLOC_LOG", kh_path(&k, "failed"), 1);
    bool started = kh_start(&k);
    if (started) {
        use_until_served(&k);
    } else {
        assert_int_equal(k.report[0], KEYIPC_START_FAILED);
        assert_true(strlen(k.report) > 10);
    }
    int code = kh_stop(&k);
    bool hit = kh_count(&k, "failed", "failed") > 0;
    if (started ? code != KEYIPC_EXIT_OK : code != KEYIPC_EXIT_FAILED && code != KEYIPC_EXIT_TOKEN) {
        fail_msg("allocation %lu: started %d, exit %d, see %s", n, started, code, k.dir);
    }
    assert_true(store_empty(&k));
    assert_true(hit || started);
    kh_remove(&k);
    return hit;
}

static void test_nth_allocation(void **state)
{
    unsigned long n = 1;
    kh_peer_new(&model);
    kh_peer_new(&server);
    while (run_with(n)) {
        n += STEP;
        assert_true(n < ALLOCATIONS_MAX);
    }
    print_message("%lu allocations\n", n - 1);
    assert_true(n > 40); /* start, work and exit are not done with fewer */
    kh_peer_free(&model);
    kh_peer_free(&server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_nth_allocation)};
    struct err err = {0};
    if (!secret_heap_init(&err)) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
