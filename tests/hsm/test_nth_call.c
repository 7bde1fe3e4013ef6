/* Failure of the Nth call to the module, whichever it is, for N = 1 and on until one run has none, from start over
 * OPEN, DERIVE and CLOSE to the exit. Each time: no crash, an error with a reason, no wrong key, nothing of ours left, and,
 * when one call only has failed, the keyholder works again. */
#include "harness.h"

#include <p11-kit/pkcs11.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

#define CALLS_MAX 200 /* of one run: more means that it does not end */
#define FOR_EVER 1000000UL
#ifdef __SANITIZE_THREAD__
#define STEP 4 /* each run takes a second; the other builds take every call */
#else
#define STEP 1
#endif

static const struct fault {
    const char *module;
    unsigned long rv;
    bool late; /* the call has done its work */
    unsigned long count;
} faults[] = {
    {"plain", CKR_DEVICE_ERROR, false, 1},
    {"plain", CKR_SESSION_HANDLE_INVALID, false, 1},
    {"plain", CKR_OBJECT_HANDLE_INVALID, false, 1},
    {"plain", CKR_DEVICE_REMOVED, false, FOR_EVER},
    {"yubihsm", CKR_GENERAL_ERROR, false, 1},
    {"yubihsm", CKR_USER_NOT_LOGGED_IN, false, 1},
    {"yubihsm", CKR_GENERAL_ERROR, true, 1},
    {"token_objects_only", CKR_DEVICE_MEMORY, true, 1},
    {"token_objects_only", CKR_DEVICE_REMOVED, true, 1},
};

static const struct fault *fault;

static void assert_reason(const char *why)
{
    size_t len = strlen(why);
    assert_true(len > 10);
    for (size_t i = 0; i < len; i++) {
        assert_true((unsigned char)why[i] >= 0x20);
    }
}

/* May the request fail with this, and is it worth another try? */
static bool again(enum err_kind kind, const char *why, int64_t deadline)
{
    if (kind == ERR_NONE) {
        return false;
    }
    assert_reason(why);
    if (kind != ERR_TOKEN && kind != ERR_KEY_GONE) {
        fail_msg("kind %d: %s", (int)kind, why);
    }
    if (fault->count == FOR_EVER) {
        return false;
    }
    if (clock_boot_ns() > deadline) {
        fail_msg("one failed call, and still: %s", why);
    }
    nanosleep(&(struct timespec){0, 10 * CLOCK_NS_PER_MS}, NULL);
    return true;
}

static void use(struct kh *k)
{
    struct kh_peer model, server;
    uint8_t point[POINT_BYTES];
    uint64_t key = 0;
    char why[241];
    enum err_kind kind;
    int64_t deadline = clock_boot_ns() + 10 * CLOCK_NS_PER_S;
    kh_peer_new(&model);
    kh_peer_new(&server);
    int control = kh_control(k, NULL);
    for (int derived = 0; derived < 3;) {
        do {
            kind = kh_try_open(k, control, &model, &key, point, why);
        } while (again(kind, why, deadline));
        if (kind != ERR_NONE) {
            break;
        }
        /* A key that is gone is opened again, so a failed derive goes back to the start. */
        do {
            kind = kh_derive(k, control, key, 1, &server, point, why);
            derived += kind == ERR_NONE;
        } while (kind == ERR_NONE && derived < 3);
        kh_close_key(k, control, key);
        if (kind != ERR_NONE && !again(kind, why, deadline)) {
            break;
        }
    }
    close(control);
    kh_peer_free(&server);
    kh_peer_free(&model);
}

/* The mock's last word on what is left in it. */
static void assert_nothing_left(const struct kh *k, bool started)
{
    char line[256], last[256] = "";
    FILE *f = fopen(kh_path(k, "mock.log"), "r");
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        if (strncmp(line, "finalized", 9) == 0) {
            memcpy(last, line, sizeof last);
        }
    }
    if (f != NULL) {
        fclose(f);
    }
    if (started || last[0] != '\0') {
        if (strstr(last, "objects=0 ") == NULL) {
            fail_msg("left behind: %s", last);
        }
    }
    f = fopen(kh_path(k, "store"), "r");
    if (f != NULL) {
        assert_int_equal(fgetc(f), EOF);
        fclose(f);
    }
}

/* True when the Nth call came to pass. */
static bool run_with(unsigned long n)
{
    struct kh k;
    char at[24], rv[24], count[24];
    snprintf(at, sizeof at, "%lu", n);
    snprintf(rv, sizeof rv, "0x%lx", fault->rv);
    snprintf(count, sizeof count, "%lu", fault->count);
    kh_prepare(&k, fault->module);
    kh_env(&k, "MOCK_STORE", kh_path(&k, "store"));
    kh_env(&k, "MOCK_FAIL_AT", at);
    kh_env(&k, "MOCK_FAIL_RV", rv);
    kh_env(&k, "MOCK_FAIL_COUNT", count);
    kh_env(&k, "MOCK_FAIL_LATE", fault->late ? "1" : "0");
    kh_arg(&k, "--sessions", "2");
    bool started = kh_start(&k);
    if (started) {
        use(&k);
    } else {
        assert_int_equal(k.report[0], KEYIPC_START_FAILED);
        assert_reason(k.report + 1);
    }
    int code = kh_stop(&k);
    bool hit = kh_count(&k, "mock.log", "failed ") > 0;
    /* What a login answers that is no loss is taken for a refused PIN. */
    bool refused = code == KEYIPC_EXIT_PIN && kh_count(&k, "mock.log", " C_Login") > 0;
    if (started ? code != KEYIPC_EXIT_OK
                : code != KEYIPC_EXIT_TOKEN && code != KEYIPC_EXIT_FAILED && !refused) {
        fail_msg("call %lu: started %d, exit %d, see %s", n, started, code, k.dir);
    }
    if (fault->count == 1) {
        assert_nothing_left(&k, started);
    }
    assert_true(hit || started);
    kh_remove(&k);
    return hit;
}

static void test_nth_call(void **state)
{
    unsigned long n = 1;
    while (run_with(n)) {
        n += STEP;
        assert_true(n < CALLS_MAX);
    }
    assert_true(n > 30); /* start, work and exit are not done with fewer */
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_nth_call)};
    struct err err = {0};
    int failed = 0;
    if (!secret_heap_init(&err)) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        char name[64];
        fault = &faults[i];
        snprintf(name, sizeof name, "%s 0x%lx%s%s", fault->module, fault->rv, fault->late ? " late" : "",
                 fault->count == FOR_EVER ? " for ever" : "");
        if (argc <= 1 || strstr(name, argv[1]) != NULL) {
            failed += _cmocka_run_group_tests(name, tests, 1, NULL, NULL);
        }
    }
    return failed;
}
