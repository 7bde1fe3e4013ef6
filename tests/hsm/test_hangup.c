/* SIGHUP to a keyholder: its log level, by its file and its command line, under a supervisor and with a socket of its own. PINs are in
 * test_several.c. */
#include "harness.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct kh k;

/* Without the harness's --log-level, but with a file. */
static void prepare(bool flag)
{
    kh_prepare(&k, "plain");
    if (!flag) {
        assert_string_equal(k.args[k.arg_count - 2], "--log-level");
        k.arg_count -= 2;
    }
    kh_write(&k, "conf", "[server]\nlog_level = error\n");
    kh_arg(&k, "--config", kh_path(&k, "conf"));
}

static void hang_up(const char *conf)
{
    kh_write(&k, "conf", conf);
    assert_int_equal(kill(k.pid, SIGHUP), 0);
}

static void assert_rereads(void)
{
    assert_int_equal(kh_count(&k, "log", "ready"), 0);
    hang_up("[server]\nlog_level = info\n");
    kh_await(&k, "log", "SIGHUP: log level read again");
    hang_up("[server]\nlog_level = much\n");
    kh_await(&k, "log", "SIGHUP: the log level stays as it was: it must be");
    hang_up("what is this\n");
    kh_await(&k, "log", "SIGHUP: the log level stays as it was: cannot read");
}

static void test_supervised(void **state)
{
    prepare(false);
    assert_true(kh_start(&k));
    assert_rereads();
    assert_int_equal(kh_stop(&k), KEYIPC_EXIT_OK);
    kh_remove(&k);
}

/* The file by a relative path: the keyholder leaves its working folder. */
static void test_own_socket(void **state)
{
    char before[4096], path[128];
    prepare(false);
    k.args[k.arg_count - 1] = "conf";
    snprintf(path, sizeof path, "%s/socket", k.dir);
    kh_arg(&k, "--socket", path);
    assert_non_null(getcwd(before, sizeof before));
    assert_int_equal(chdir(k.dir), 0);
    kh_spawn(&k, -1);
    assert_int_equal(chdir(before), 0);
    close(kh_connect_socket(path));
    assert_rereads();
    assert_int_equal(kill(k.pid, SIGTERM), 0);
    assert_int_equal(kh_wait(&k), KEYIPC_EXIT_OK);
    kh_remove(&k);
}

/* The command line wins. */
static void test_flag(void **state)
{
    prepare(true);
    assert_true(kh_start(&k));
    hang_up("[server]\nlog_level = error\n");
    sleep(1);
    assert_int_equal(kh_stop(&k), KEYIPC_EXIT_OK);
    assert_int_equal(kh_count(&k, "log", "SIGHUP"), 0);
    assert_true(kh_count(&k, "log", "the supervisor is gone: ending") > 0);
    kh_remove(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_supervised),
        cmocka_unit_test(test_own_socket),
        cmocka_unit_test(test_flag),
    };
    return secret_heap_init(NULL) ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}
