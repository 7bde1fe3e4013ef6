/* The ordinary suite over every token that must pass it: real modules (SoftHSM2; the same behind p11-kit's proxy; OpenSC's with a simulated
 * SmartCard-HSM), and mocks that differ only in what the rules of the keyholder level out. For each: keys come and go, answers are
 * right, nothing of ours remains. Without argument the mocks; with one, that token. */
#include "harness.h"
#include "real.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "crypto/hash.h"

static const struct token {
    const char *module;
    const char *label; /* NULL: real_assert_label's */
    bool persistent;   /* keeps keys on the token */
} tokens[] = {
    {"softhsm", "e2ee", false},
    {"p11kit", "e2ee", false},
    {"opensc", NULL, true},
    {"plain", "mock", false},
    {"one_session", "mock", false},
    {"raw_ec_point", "mock", false},
    {"cannot_lock", "mock", false},
    {"bad_manners", "mock", false},
    {"pin_pad", "mock", false},
    {"pin_count_low", "mock", false},
    {"device_error_now_and_then", "mock", false},
    {"sessions_die", "mock", false},
    {"token_objects_only", "mock", true},
    {"yubihsm", "YubiHSM", true},
    {"smartcard_hsm", "mock (UserPIN)", true},
    {"cofactor_only", "mock", false},
    {"forks", "mock", true},
};
#define TOKENS (sizeof tokens / sizeof *tokens)

static const struct token *current;

static bool is_real(const struct token *token)
{
    return strcmp(token->module, "softhsm") == 0 || real_is(token->module);
}

/* Objects of any kind but the token's own that SoftHSM keeps on disk. */
static size_t softhsm_objects(const struct kh *k)
{
    size_t count = 0;
    DIR *dir = opendir(kh_path(k, "tokens"));
    assert_non_null(dir);
    for (struct dirent *token; (token = readdir(dir)) != NULL;) {
        char path[256];
        if (token->d_name[0] == '.') {
            continue;
        }
        snprintf(path, sizeof path, "%s/tokens/%.60s", k->dir, token->d_name);
        DIR *objects = opendir(path);
        assert_non_null(objects);
        for (struct dirent *object; (object = readdir(objects)) != NULL;) {
            size_t len = strlen(object->d_name);
            count += len > 7 && strcmp(object->d_name + len - 7, ".object") == 0 &&
                     strcmp(object->d_name, "token.object") != 0;
        }
        closedir(objects);
    }
    closedir(dir);
    return count;
}

static void assert_nothing_left(const struct kh *k)
{
    if (strcmp(current->module, "opensc") == 0) {
        assert_int_equal(real_keys(), 0);
        return;
    }
    if (is_real(current)) {
        assert_int_equal(softhsm_objects(k), 0);
        return;
    }
    kh_await(k, "mock.log", "finalized objects=0 sessions=0 logged_in=0");
    assert_int_equal(kh_count(k, "mock.log", "two threads at once"), 0);
    assert_int_equal(kh_count(k, "mock.log", "two derived keys in one session"), 0);
    assert_int_equal(kh_count(k, "mock.log", "a second object"), 0);
}

static void prepare(struct kh *k)
{
    kh_prepare(k, current->module);
    if (current->persistent && !is_real(current)) {
        kh_env(k, "MOCK_STORE", kh_path(k, "store"));
    }
}

static void start(struct kh *k)
{
    prepare(k);
    if (!kh_start(k)) {
        fail_msg("%s: %s", current->module, k->report);
    }
}

static void finish(struct kh *k)
{
    assert_int_equal(kh_stop(k), KEYIPC_EXIT_OK);
    assert_nothing_left(k);
    kh_remove(k);
}

static void test_keys_and_derives(void **state)
{
    struct kh k;
    struct kh_peer model, server;
    uint8_t join[KEYIPC_JOIN_BYTES], point[POINT_BYTES], other_point[POINT_BYTES];
    uint64_t key, other;
    struct keyipc_status_answer status;
    start(&k);
    kh_peer_new(&model);
    assert_true(hash_random(join, sizeof join, NULL));
    int control = kh_control(&k, join), worker = kh_worker(&k, join);
    kh_open(&k, control, &model, &key, point);
    kh_open(&k, control, &model, &other, other_point);
    assert_true(key != other && key != 0);
    assert_memory_not_equal(point, other_point, POINT_BYTES);
    for (uint64_t i = 0; i < 30; i++) {
        kh_peer_new(&server);
        assert_int_equal(kh_derive(&k, worker, key, i % 3, &server, point, NULL), ERR_NONE);
        assert_int_equal(kh_derive(&k, worker, other, i % 3, &server, other_point, NULL), ERR_NONE);
        kh_peer_free(&server);
    }
    kh_status(&k, worker, &status);
    assert_int_equal(status.token_state, KEYIPC_TOKEN_READY);
    assert_int_equal(status.keys_live, 2);
    assert_int_equal(status.derives, 62);
    assert_int_equal(status.generates, 2);
    assert_int_equal(status.failures, 0);
    if (current->label == NULL) {
        real_assert_label(status.tokens[0].label);
    } else {
        assert_string_equal(status.tokens[0].label, current->label);
    }
    kh_close_key(&k, control, key);
    kh_close_key(&k, control, key); /* twice is once */
    kh_peer_new(&server);
    assert_int_equal(kh_derive(&k, worker, key, 1, &server, point, NULL), ERR_KEY_GONE);
    assert_int_equal(kh_derive(&k, worker, other, 1, &server, other_point, NULL), ERR_NONE);
    kh_status(&k, control, &status);
    assert_int_equal(status.keys_live, 1);
    kh_peer_free(&server);
    kh_peer_free(&model);
    close(control);
    close(worker);
    finish(&k);
}

/* Many at once on several connections and streams: every answer belongs to its request. */
static void test_pipelined(void **state)
{
    enum { SERVERS = 40, WORKERS = 3, ROUNDS = 2 };
    struct kh k;
    struct kh_peer model, servers[SERVERS];
    uint8_t join[KEYIPC_JOIN_BYTES] = {1}, point[POINT_BYTES];
    uint64_t key;
    int workers[WORKERS];
    struct secret expected[SERVERS];
    start(&k);
    kh_peer_new(&model);
    int control = kh_control(&k, join);
    kh_open(&k, control, &model, &key, point);
    for (int i = 0; i < SERVERS; i++) {
        struct secret z;
        kh_peer_new(&servers[i]);
        assert_true(point_ecdh(&z, &servers[i].scalar, point, NULL));
        assert_true(hash_protocol_key(&expected[i], &z, NULL));
        secret_free(&z);
    }
    for (int w = 0; w < WORKERS; w++) {
        workers[w] = kh_worker(&k, join);
    }
    for (int i = 0; i < SERVERS * ROUNDS; i++) {
        struct keyipc_message m = {.op = KEYIPC_DERIVE, .request_id = (uint32_t)i};
        m.u.derive.key_id = key;
        m.u.derive.stream_id = (uint64_t)i % 5;
        memcpy(m.u.derive.server_point, servers[i % SERVERS].point, POINT_BYTES);
        for (int w = 0; w < WORKERS; w++) {
            kh_send(workers[w], &m);
        }
    }
    for (int w = 0; w < WORKERS; w++) {
        bool seen[SERVERS * ROUNDS] = {false};
        for (int i = 0; i < SERVERS * ROUNDS; i++) {
            struct keyipc_message m;
            assert_true(kh_receive(workers[w], &m));
            assert_int_equal(m.op, KEYIPC_DERIVE | KEYIPC_ANSWER);
            assert_true(m.request_id < SERVERS * ROUNDS && !seen[m.request_id]);
            seen[m.request_id] = true;
            assert_true(secret_equal(&m.u.derive_answer.response_key, &expected[m.request_id % SERVERS]));
            keyipc_message_clear(&m);
        }
        close(workers[w]);
    }
    for (int i = 0; i < SERVERS; i++) {
        secret_free(&expected[i]);
        kh_peer_free(&servers[i]);
    }
    kh_peer_free(&model);
    close(control);
    finish(&k);
}

/* The client vanishes: its keys go, another's stay. */
static void test_client_vanishes(void **state)
{
    struct kh k;
    struct kh_peer model;
    uint8_t join[KEYIPC_JOIN_BYTES] = {2}, point[POINT_BYTES], other_point[POINT_BYTES];
    uint64_t key, other;
    struct keyipc_status_answer status;
    start(&k);
    kh_peer_new(&model);
    int first = kh_control(&k, join), worker = kh_worker(&k, join), second = kh_control(&k, NULL);
    kh_open(&k, first, &model, &key, point);
    kh_open(&k, first, &model, &key, point);
    kh_open(&k, second, &model, &other, other_point);
    close(first);
    assert_true(kh_closed(worker));
    for (int i = 0; i < 200; i++) {
        kh_status(&k, second, &status);
        if (status.keys_live == 1) {
            break;
        }
        usleep(20000);
    }
    assert_int_equal(status.keys_live, 1);
    assert_int_equal(kh_derive(&k, second, other, 1, &model, other_point, NULL), ERR_INVALID); /* reflected */
    close(worker);
    close(second);
    kh_peer_free(&model);
    finish(&k);
}

/* Killed with keys alive; the next start removes what it left. */
static void test_killed(void **state)
{
    struct kh k;
    struct kh_peer model;
    uint8_t point[POINT_BYTES];
    uint64_t key;
    start(&k);
    kh_peer_new(&model);
    int control = kh_control(&k, NULL);
    kh_open(&k, control, &model, &key, point);
    kh_open(&k, control, &model, &key, point);
    assert_int_equal(kill(k.pid, SIGKILL), 0);
    assert_int_equal(kh_wait(&k), -SIGKILL);
    close(control);
    close(k.channel);
    assert_true(kh_start(&k));
    assert_int_equal(kh_count(&k, "log", "left-over"), current->persistent ? 1 : 0);
    kh_peer_free(&model);
    finish(&k);
}

/* A terminal or a service manager signals the whole group: the supervisor ends its keyholder itself, and last. */
static void test_signals_are_the_supervisors(void **state)
{
    struct kh k;
    struct kh_peer model;
    struct keyipc_status_answer status;
    uint8_t point[POINT_BYTES];
    uint64_t key;
    start(&k);
    kh_peer_new(&model);
    int control = kh_control(&k, NULL);
    kh_open(&k, control, &model, &key, point);
    assert_int_equal(kill(k.pid, SIGHUP), 0);
    assert_int_equal(kill(k.pid, SIGTERM), 0);
    kh_open(&k, control, &model, &key, point);
    kh_status(&k, control, &status);
    assert_int_equal(status.keys_live, 2);
    assert_int_equal(kh_stop(&k), KEYIPC_EXIT_OK); /* with a client there and its keys alive */
    assert_nothing_left(&k);
    close(control);
    kh_peer_free(&model);
    kh_remove(&k);
}

/* On its own, with a socket, SIGTERM ends it and SIGHUP does not. */
static void test_sigterm_without_supervisor(void **state)
{
    struct kh k;
    char path[sizeof k.dir + 8];
    prepare(&k);
    snprintf(path, sizeof path, "%s/socket", k.dir);
    kh_arg(&k, "--socket", path);
    kh_spawn(&k, -1);
    for (int i = 0; i < 1000 && kh_count(&k, "log", "ready") == 0; i++) {
        usleep(20000);
    }
    assert_int_equal(kill(k.pid, SIGHUP), 0);
    usleep(100000);
    assert_int_equal(waitpid(k.pid, NULL, WNOHANG), 0);
    assert_int_equal(kill(k.pid, SIGTERM), 0);
    assert_int_equal(kh_wait(&k), KEYIPC_EXIT_OK);
    assert_int_not_equal(access(path, F_OK), 0);
    assert_nothing_left(&k);
    kh_remove(&k);
}

/* Exit code 77 with the reason when the token's parts are not here; in CI all must be. */
static int left_out(const struct token *token, const char *why)
{
    bool ci = getenv("CI") != NULL;
    printf("%s: %s: %s\n", ci ? "FAILED" : "SKIPPED", token->module, why);
    return ci ? 1 : 77;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys_and_derives),
        cmocka_unit_test(test_pipelined),
        cmocka_unit_test(test_client_vanishes),
        cmocka_unit_test(test_killed),
        cmocka_unit_test(test_signals_are_the_supervisors),
        cmocka_unit_test(test_sigterm_without_supervisor),
    };
    struct err err = {0};
    int failed = 0;
    if (!secret_heap_init(&err)) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    for (size_t i = 0; i < TOKENS; i++) {
        current = &tokens[i];
        if (argc > 1 ? strcmp(argv[1], current->module) != 0 : is_real(current)) {
            continue;
        }
        const char *missing = real_is(current->module) ? real_begin(current->module) : NULL;
        if (missing != NULL) {
            return left_out(current, missing);
        }
        failed += _cmocka_run_group_tests(current->module, tests, sizeof tests / sizeof *tests, NULL, NULL);
        real_end();
    }
    return failed;
}
