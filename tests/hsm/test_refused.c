/* Tokens that the keyholder must refuse at start, PINs above all: with which exit code, in which words, and without what. */
#include "harness.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct refusal {
    const char *module;
    int code;
    const char *word, *other;
    int logins; /* tries */
} refusals[] = {
    {"extractable_private_key", KEYIPC_EXIT_TOKEN, "lets private keys out", "CKA_EXTRACTABLE is true", 1},
    {"readable_private_key", KEYIPC_EXIT_TOKEN, "lets private keys out", "CKA_VALUE can be read", 1},
    {"no_ecdh", KEYIPC_EXIT_TOKEN, "has no CKM_ECDH1_DERIVE", "YubiHSM 2", 0},
    {"no_secp256k1", KEYIPC_EXIT_TOKEN, "cannot make secp256k1 keys", "SmartCard-HSM can", 1},
    {"derive_wrong_secret", KEYIPC_EXIT_TOKEN, "its answers are wrong", "self test", 1},
    {"always_authenticate", KEYIPC_EXIT_TOKEN, "CKA_ALWAYS_AUTHENTICATE", "asks once", 1},
    {"touch_key", KEYIPC_EXIT_TOKEN, "a touch", "CKR_FUNCTION_REJECTED", 1},
    {"two_tokens", KEYIPC_EXIT_FAILED, "two tokens match", "--token", 0},
    {"pin_locked", KEYIPC_EXIT_PIN, "is locked", "security officer", 0},
    {"pin_last_try", KEYIPC_EXIT_PIN, "one wrong PIN more", "nothing is tried", 0},
    {"pin_to_be_changed", KEYIPC_EXIT_PIN, "must be changed", "own tool", 0},
    {"pin_expired", KEYIPC_EXIT_PIN, "expired", "not tried again", 1},
};

static void expect(struct kh *k, int code, const char *word)
{
    if (kh_start(k)) {
        fail_msg("it started, and should have said: %s", word);
    }
    assert_int_equal(k->report[0], KEYIPC_START_FAILED);
    if (strstr(k->report, word) == NULL) {
        fail_msg("no \"%s\" in: %s", word, k->report);
    }
    assert_int_equal(kh_stop(k), code);
}

static void test_refused(void **state)
{
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        struct kh k;
        const struct refusal *r = &refusals[i];
        kh_prepare(&k, r->module);
        expect(&k, r->code, r->word);
        assert_non_null(strstr(k.report, r->other));
        assert_int_equal(kh_count(&k, "mock.log", "login "), r->logins);
        assert_true(kh_count(&k, "mock.log", "finalized objects=0 sessions=0") > 0);
        expect(&k, r->code, r->code == KEYIPC_EXIT_PIN && r->logins > 0 ? "refused the PIN" : r->word);
        kh_remove(&k);
    }
}

/* No secp256k1, in the words that different modules have for it: each time it is said which tokens have it. */
static void test_no_secp256k1(void **state)
{
    static const char *const codes[][2] = {
        {"0x13", "CKR_ATTRIBUTE_VALUE_INVALID"}, {"0xd1", "CKR_TEMPLATE_INCONSISTENT"},
        {"0xd0", "CKR_TEMPLATE_INCOMPLETE"},     {"0x12", "CKR_ATTRIBUTE_TYPE_INVALID"},
        {"0x130", "CKR_DOMAIN_PARAMS_INVALID"},  {"0x71", "CKR_MECHANISM_PARAM_INVALID"},
        {"0x54", "CKR_FUNCTION_NOT_SUPPORTED"},  {"0x62", "CKR_KEY_SIZE_RANGE"},
    };
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        struct kh k;
        kh_prepare(&k, "no_secp256k1");
        kh_env(&k, "MOCK_REFUSAL", codes[i][0]);
        expect(&k, KEYIPC_EXIT_TOKEN, codes[i][1]);
        assert_non_null(strstr(k.report, "secp256k1"));
        assert_non_null(strstr(k.report, "SoftHSM2, YubiHSM 2 and SmartCard-HSM"));
        kh_remove(&k);
    }
}

/* One of two tokens of the same label, by its serial number. */
static void test_serial_chooses(void **state)
{
    struct kh k;
    kh_prepare(&k, "two_tokens");
    kh_arg(&k, "--token", "pkcs11:token=mock;serial=0008");
    assert_true(kh_start(&k));
    assert_true(kh_count(&k, "log", "serial 0008") > 0);
    assert_int_equal(kh_stop(&k), KEYIPC_EXIT_OK);
    kh_remove(&k);
    kh_prepare(&k, "two_tokens");
    kh_arg(&k, "--token", "pkcs11:token=mock;serial=0009");
    expect(&k, KEYIPC_EXIT_TOKEN, "no token matches");
    kh_remove(&k);
}

/* A refused PIN is tried once, restarts included, until its file changes. */
static void wrong_pin(const char *module, const char *pin, const char *code, size_t tries)
{
    struct kh k;
    const char *right = strcmp(module, "yubihsm") == 0 ? HARNESS_YUBIHSM_PIN : "1234";
    char padded[32];
    kh_prepare(&k, module);
    kh_write(&k, "pin", pin);
    expect(&k, KEYIPC_EXIT_PIN, code);
    for (int i = 0; i < 3; i++) {
        expect(&k, KEYIPC_EXIT_PIN, "before; it is not tried again");
    }
    assert_int_equal(kh_count(&k, "mock.log", "login "), tries);
    snprintf(padded, sizeof padded, "%s ", right);
    kh_write(&k, "pin", padded); /* other bytes, and still wrong */
    expect(&k, KEYIPC_EXIT_PIN, "refused the PIN");
    snprintf(padded, sizeof padded, "%s\n\n", right);
    kh_write(&k, "pin", padded);
    kh_write(&k, "pin", right);
    assert_true(kh_start(&k));
    assert_int_equal(kh_count(&k, "mock.log", "login right"), 1);
    assert_int_equal(kh_stop(&k), KEYIPC_EXIT_OK);
    assert_true(kh_start(&k)); /* the marker is gone */
    assert_int_equal(kh_stop(&k), KEYIPC_EXIT_OK);
    assert_int_equal(kh_count(&k, "log", pin), 0);
    kh_remove(&k);
}

static void test_wrong_pin(void **state)
{
    wrong_pin("plain", "4711471147114711", "CKR_PIN_INCORRECT", 1);
    wrong_pin("yubihsm", "99994711471147", "CKR_OBJECT_HANDLE_INVALID", 1); /* no such key id */
    wrong_pin("yubihsm", "00104711471147", "CKR_PIN_INCORRECT", 1);
    wrong_pin("yubihsm", "00104711471", "CKR_ARGUMENTS_BAD", 1); /* a password of 7 */
    wrong_pin("yubihsm", "\001\002\003", "four hex digits", 1);  /* a short password: ARGUMENTS_BAD */
}

/* The PIN file of somebody else, or none at all: nothing is tried. */
static void test_pin_file(void **state)
{
    struct kh k;
    kh_prepare(&k, "plain");
    assert_int_equal(chmod(kh_path(&k, "pin"), 0644), 0);
    expect(&k, KEYIPC_EXIT_PIN, "by others");
    assert_int_equal(unlink(kh_path(&k, "pin")), 0);
    expect(&k, KEYIPC_EXIT_PIN, "PIN");
    kh_write(&k, "pin", "");
    expect(&k, KEYIPC_EXIT_PIN, "PIN");
    assert_int_equal(kh_count(&k, "mock.log", "login "), 0);
    kh_remove(&k);
}

/* The device's sessions are taken for a while after a crash: that is no refused PIN. */
static void test_sessions_taken(void **state)
{
    struct kh k;
    kh_prepare(&k, "yubihsm");
    kh_env(&k, "MOCK_FAIL_NAME", "C_Login");
    kh_env(&k, "MOCK_FAIL_AT", "1");
    kh_env(&k, "MOCK_FAIL_RV", "0xb1"); /* CKR_SESSION_COUNT */
    expect(&k, KEYIPC_EXIT_TOKEN, "after 30 s");
    kh_env(&k, "MOCK_FAIL_AT", "0");
    assert_true(kh_start(&k));
    assert_int_equal(kh_stop(&k), KEYIPC_EXIT_OK);
    kh_remove(&k);
}

static void test_no_configuration(void **state)
{
    struct kh k;
    kh_prepare(&k, "yubihsm");
    kh_env(&k, "MOCK_NO_CONF", "1");
    expect(&k, KEYIPC_EXIT_TOKEN, "YUBIHSM_PKCS11_CONF");
    kh_remove(&k);
}

static void test_hangs_at_start(void **state)
{
    struct kh k;
    kh_prepare(&k, "initialize_hangs");
    kh_arg(&k, "--token-timeout", "1");
    assert_false(kh_start(&k));
    assert_int_equal(kh_stop(&k), KEYIPC_EXIT_TOKEN);
    assert_true(kh_count(&k, "log", "in C_Initialize for more than 1 s") > 0);
    kh_remove(&k);
}

/* Configuration in the working folder is not the keyholder's; relative paths of its own options are. */
static void test_working_folder(void **state)
{
    struct kh k;
    char before[4096];
    assert_non_null(getcwd(before, sizeof before));
    kh_prepare(&k, "reads_folder");
    kh_write(&k, "mock.conf", "connector = http://evil.example\n");
    assert_int_equal(chdir(k.dir), 0);
    kh_arg(&k, "--pin-file", "pin");
    kh_arg(&k, "--state-dir", "./here");
    bool started = kh_start(&k);
    assert_int_equal(chdir(before), 0);
    if (!started) {
        fail_msg("%s", k.report);
    }
    assert_int_equal(kh_stop(&k), KEYIPC_EXIT_OK);
    assert_int_equal(kh_count(&k, "mock.log", "configuration from"), 0);
    assert_int_equal(access(kh_path(&k, "here/instance-0"), F_OK), 0);
    kh_remove(&k);
}

/* A keyholder that is still waiting for its token has its socket already. */
static void test_one_socket(void **state)
{
    struct kh first, second, after;
    char path[96];
    kh_prepare(&first, "initialize_hangs");
    snprintf(path, sizeof path, "%s/socket", first.dir);
    kh_arg(&first, "--socket", path);
    kh_spawn(&first, -1);
    for (int i = 0; i < HARNESS_WAIT_S * 50 && access(path, F_OK) != 0; i++) {
        usleep(20000);
    }
    kh_prepare(&second, "plain");
    kh_arg(&second, "--socket", path);
    kh_spawn(&second, -1);
    assert_int_equal(kh_wait(&second), KEYIPC_EXIT_FAILED);
    assert_int_equal(kh_count(&second, "log", "another keyholder has"), 1);
    assert_int_equal(access(path, F_OK), 0);
    assert_int_equal(kill(first.pid, SIGKILL), 0);
    assert_int_equal(kh_wait(&first), -SIGKILL);
    kh_prepare(&after, "plain"); /* what it left is no obstacle */
    kh_arg(&after, "--socket", path);
    kh_spawn(&after, -1);
    close(kh_connect_socket(path));
    assert_int_equal(kill(after.pid, SIGTERM), 0);
    assert_int_equal(kh_wait(&after), KEYIPC_EXIT_OK);
    kh_remove(&after);
    kh_remove(&second);
    kh_remove(&first);
}

/* What a module prints must not get into a report. */
static void test_prints(void **state)
{
    struct kh k;
    int out[2];
    char text[65536];
    size_t len = 0;
    kh_prepare(&k, "bad_manners");
    kh_arg(&k, "--check", NULL);
    kh_arg(&k, "--json", NULL);
    assert_int_equal(pipe(out), 0);
    kh_spawn(&k, out[1]);
    close(out[1]);
    for (ssize_t n; (n = read(out[0], text + len, sizeof text - 1 - len)) > 0;) {
        len += (size_t)n;
    }
    text[len] = '\0';
    close(out[0]);
    assert_int_equal(kh_wait(&k), 0);
    assert_int_equal(text[0], '{');
    assert_null(strstr(text, "welcome"));
    assert_true(kh_count(&k, "log", "welcome to the mock token") > 0);
    kh_remove(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),          cmocka_unit_test(test_serial_chooses),
        cmocka_unit_test(test_no_secp256k1),     cmocka_unit_test(test_wrong_pin),
        cmocka_unit_test(test_pin_file),         cmocka_unit_test(test_sessions_taken),
        cmocka_unit_test(test_no_configuration), cmocka_unit_test(test_hangs_at_start),
        cmocka_unit_test(test_working_folder),   cmocka_unit_test(test_one_socket),
        cmocka_unit_test(test_prints),
    };
    struct err err = {0};
    if (!secret_heap_init(&err)) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
