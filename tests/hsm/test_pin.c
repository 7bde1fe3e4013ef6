/* A PIN whose fate is not known: what was tried must not be tried for ever, and what was never judged must be. */
#include "harness.h"

#include <dirent.h>
#include <p11-kit/pkcs11.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct kh k;

static void set(const char *name, const char *value)
{
    assert_int_equal(setenv(name, value, 1), 0);
}

static void prepare(const char *module)
{
    static const char *const zero[] = {"MOCK_AFTER", "MOCK_FLAGS", "MOCK_DERIVES", "MOCK_FAIL_AT"};
    kh_prepare(&k, module);
    for (size_t i = 0; i < sizeof zero / sizeof *zero; i++) {
        kh_env(&k, zero[i], "0");
    }
    kh_env(&k, "MOCK_LOGIN_RV", "5"); /* CKR_GENERAL_ERROR */
    kh_env(&k, "MOCK_FAIL_NAME", "C_Login");
    kh_env(&k, "MOCK_FAIL_RV", "5");
    kh_arg(&k, "--token-timeout", "1");
}

static size_t tries(void)
{
    return kh_count(&k, "mock.log", "login ");
}

static int start_and_end(void)
{
    assert_false(kh_start(&k));
    return kh_stop(&k);
}

static void touch(void)
{
    kh_write(&k, "pin", "1234\n\n");
    kh_write(&k, "pin", "1234\n");
}

/* Whether a marker is left. */
static bool marked(void)
{
    DIR *dir = opendir(kh_path(&k, "state"));
    bool found = false;
    assert_non_null(dir);
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        found = found || strncmp(e->d_name, "pin-refused.", 12) == 0;
    }
    closedir(dir);
    return found;
}

static const char *marker(void)
{
    return kh_path(&k, "state/pin-refused.30303037"); /* serial 0007 */
}

/* However it breaks off, by crash, watchdog or an ambiguous code: one more try, then none until the file changes. */
static void test_broken_off(void **state)
{
    static const char *const modules[] = {"login_crashes", "login_hangs", "login_general_error"};
    for (size_t i = 0; i < 3; i++) {
        prepare(modules[i]);
        assert_int_not_equal(start_and_end(), KEYIPC_EXIT_PIN);
        assert_int_equal(tries(), 1);
        assert_int_not_equal(start_and_end(), KEYIPC_EXIT_PIN);
        for (int n = 0; n < 3; n++) {
            assert_int_equal(start_and_end(), KEYIPC_EXIT_PIN);
            assert_non_null(strstr(k.report, "broke off"));
        }
        assert_int_equal(tries(), 2);
        touch();
        assert_int_not_equal(start_and_end(), KEYIPC_EXIT_PIN);
        assert_int_equal(tries(), 3);
        kh_remove(&k);
    }
}

/* The token itself says that a try was lost. */
static void test_try_lost(void **state)
{
    prepare("login_crashes");
    assert_int_not_equal(start_and_end(), KEYIPC_EXIT_PIN);
    set("MOCK_FLAGS", "0x10000"); /* CKF_USER_PIN_COUNT_LOW */
    for (int n = 0; n < 3; n++) {
        assert_int_equal(start_and_end(), KEYIPC_EXIT_PIN);
        assert_non_null(strstr(k.report, "broke off"));
    }
    assert_int_equal(tries(), 1);
    kh_remove(&k);
}

/* An ordinary hiccup costs nothing: the second login is right, and the memory of the first goes. */
static void test_one_hiccup(void **state)
{
    prepare("plain");
    for (int n = 0; n < 4; n++) {
        set("MOCK_FAIL_AT", "1");
        assert_int_equal(start_and_end(), KEYIPC_EXIT_TOKEN);
        assert_true(marked());
        set("MOCK_FAIL_AT", "0");
        assert_true(kh_start(&k));
        assert_false(marked());
        assert_int_equal(kh_stop(&k), KEYIPC_EXIT_OK);
    }
    kh_remove(&k);
}

/* A token that is away, or full, has judged nothing: as often as it likes. */
static void test_not_judged(void **state)
{
    static const char *const codes[] = {"0x32", "0xe0", "0xb1", "0xb0", "0xb3"};
    for (size_t i = 0; i < 5; i++) {
        prepare("login_general_error");
        set("MOCK_LOGIN_RV", codes[i]);
        for (int n = 0; n < 4; n++) {
            assert_int_equal(start_and_end(), KEYIPC_EXIT_TOKEN);
        }
        assert_int_equal(tries(), 4);
        assert_int_equal(marked(), i == 0 || i == 3); /* it vanished while it judged, perhaps */
        set("MOCK_AFTER", "1");
        assert_true(kh_start(&k));
        assert_false(marked());
        assert_int_equal(kh_stop(&k), KEYIPC_EXIT_OK);
        kh_remove(&k);
    }
}

/* Nor does it make one forget that a try before was broken off. */
static void test_not_forgotten(void **state)
{
    prepare("login_general_error");
    assert_int_equal(start_and_end(), KEYIPC_EXIT_TOKEN);
    set("MOCK_LOGIN_RV", "0xb1");
    assert_int_equal(start_and_end(), KEYIPC_EXIT_TOKEN);
    set("MOCK_LOGIN_RV", "5");
    assert_int_equal(start_and_end(), KEYIPC_EXIT_TOKEN);
    assert_int_equal(start_and_end(), KEYIPC_EXIT_PIN);
    assert_int_equal(tries(), 3);
    kh_remove(&k);
}

/* The same within one process, where the token is brought back. */
static void test_recovery(void **state)
{
    struct kh_peer model, server;
    uint8_t point[POINT_BYTES];
    uint64_t key;
    prepare("login_general_error");
    set("MOCK_AFTER", "1");
    set("MOCK_DERIVES", "4"); /* the self test derives once, OPEN twice */
    assert_true(kh_start(&k));
    int control = kh_control(&k, NULL);
    kh_peer_new(&model);
    kh_peer_new(&server);
    kh_open(&k, control, &model, &key, point);
    assert_int_not_equal(kh_derive(&k, control, key, 1, &server, point, NULL), ERR_NONE);
    assert_int_equal(kh_wait(&k), KEYIPC_EXIT_PIN);
    assert_int_equal(kh_count(&k, "mock.log", "login broken off"), 2);
    close(control);
    close(k.channel);
    kh_peer_free(&server);
    kh_peer_free(&model);
    kh_remove(&k);
}

/* What cannot be remembered is not tried, and what cannot be read may have been a refusal. */
static void test_no_memory_of_it(void **state)
{
    prepare("plain");
    assert_true(kh_start(&k));
    assert_int_equal(kh_stop(&k), KEYIPC_EXIT_OK);
    size_t before = tries();
    assert_int_equal(mkdir(marker(), 0700), 0);
    assert_int_equal(start_and_end(), KEYIPC_EXIT_PIN);
    assert_int_equal(rmdir(marker()), 0);
    kh_write(&k, "state/pin-refused.30303037", "");
    assert_int_equal(start_and_end(), KEYIPC_EXIT_PIN);
    assert_non_null(strstr(k.report, "damaged"));
    assert_int_equal(unlink(marker()), 0);
    assert_int_equal(unlink(kh_path(&k, "state/pin-lock.30303037")), 0);
    assert_int_equal(mkdir(kh_path(&k, "state/pin-lock.30303037"), 0700), 0);
    assert_int_equal(start_and_end(), KEYIPC_EXIT_TOKEN); /* it may go better later */
    assert_int_equal(tries(), before);
    assert_int_equal(rmdir(kh_path(&k, "state/pin-lock.30303037")), 0);
    assert_true(kh_start(&k));
    assert_int_equal(kh_stop(&k), KEYIPC_EXIT_OK);
    kh_remove(&k);
}

/* A marker of the version before, which had one line only. */
static void test_old_marker(void **state)
{
    struct stat st;
    char text[128];
    prepare("plain");
    assert_true(kh_start(&k));
    assert_int_equal(kh_stop(&k), KEYIPC_EXIT_OK);
    assert_int_equal(stat(kh_path(&k, "pin"), &st), 0);
    snprintf(text, sizeof text, "inode=%llu mtime=%lld.%09ld size=%lld\n", (unsigned long long)st.st_ino,
             (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec, (long long)st.st_size);
    kh_write(&k, "state/pin-refused.30303037", text);
    assert_int_equal(start_and_end(), KEYIPC_EXIT_PIN);
    assert_non_null(strstr(k.report, "refused the PIN"));
    touch();
    assert_true(kh_start(&k));
    assert_int_equal(kh_stop(&k), KEYIPC_EXIT_OK);
    kh_remove(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_broken_off),      cmocka_unit_test(test_try_lost),
        cmocka_unit_test(test_one_hiccup),      cmocka_unit_test(test_not_judged),
        cmocka_unit_test(test_not_forgotten),   cmocka_unit_test(test_recovery),
        cmocka_unit_test(test_no_memory_of_it), cmocka_unit_test(test_old_marker),
    };
    return secret_heap_init(NULL) ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}
