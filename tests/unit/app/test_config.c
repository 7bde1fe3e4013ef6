#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "app/config.h"
#include "app/options.h"
#include "base/log.h"
#include "fault.h"

static char file_path[] = "/tmp/e2ee-config-XXXXXX";

static void write_file(const char *text)
{
    FILE *f = fopen(file_path, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

/* Loads `serve` with the given arguments, NULL-terminated. */
static bool load(struct config *config, struct err *err, ...)
{
    static char storage[32][128];
    char *argv[33];
    int argc = 0;
    va_list args;
    const char *arg = "serve";
    va_start(args, err);
    while (arg != NULL && argc < 32) {
        snprintf(storage[argc], sizeof storage[argc], "%s", arg);
        argv[argc] = storage[argc];
        argc++;
        arg = va_arg(args, const char *);
    }
    va_end(args);
    argv[argc] = NULL;
    err_clear(err);
    return config_load(config, argc, argv, err);
}

/* One file serves both programs. */
static void test_keys_of_the_keyholder(void **state)
{
    struct config c;
    struct err err;
    write_file("[token]\nsessions = 8\nallow_gid = daemon\npin_file = p\n");
    assert_true(load(&c, &err, "--config", file_path, NULL));
    assert_string_equal(c.pin_file, "p");
    config_free(&c);
    write_file("[server]\nsessions = 8\n");
    assert_false(load(&c, &err, "--config", file_path, NULL));
    config_free(&c);
}

/* `verify` judges saved evidence: where the proxy's collateral comes from is nothing to it. */
static void test_collateral_of_verify(void **state)
{
    struct config c;
    struct err err = {0};
    char verify[] = "verify", config[] = "--config", collateral[] = "--collateral", mine[] = "mine",
         path[] = "PATH";
    char *file[] = {verify, config, file_path, path, NULL};
    char *flag[] = {verify, config, file_path, collateral, mine, path, NULL};
    write_file("[attestation]\ncollateral = https://pccs.example\npolicy = p.ini\n");
    assert_true(config_load(&c, 4, file, &err));
    assert_null(c.collateral);
    assert_string_equal(c.policy, "p.ini");
    config_free(&c);
    assert_true(config_load(&c, 6, flag, &err));
    assert_string_equal(c.collateral, "mine");
    config_free(&c);
    assert_true(load(&c, &err, "--config", file_path, NULL)); /* serve */
    assert_string_equal(c.collateral, "https://pccs.example");
    config_free(&c);
}

static void test_defaults(void **state)
{
    struct config c;
    struct err err;
    assert_true(load(&c, &err, NULL));
    assert_string_equal(c.upstream, "https://api.venice.ai/api/v1");
    assert_int_equal(c.rotate, 3600);
    assert_int_equal(c.max_body, 10485760);
    assert_int_equal(c.max_inflight_bytes, 134217728);
    assert_int_equal(c.upstream_timeout, 60);
    assert_int_equal(c.first_byte_timeout, 300);
    assert_string_equal(c.custody, "token");
    assert_string_equal(c.log_level, "info");
    assert_null(c.pin_file);
    assert_int_equal(c.listen.count, 0);
    assert_false(c.unsafe_listen || c.http2 || c.unsafe_http_upstream);
    config_free(&c);
}

/* SIGHUP: what the command line says stays; what the file says is read again, and the default's when it says nothing. */
static void test_log_level_again(void **state)
{
    struct config c;
    struct err err;
    write_file("[server]\nlog_level = error\n");
    log_set_level(LOG_LEVEL_DEBUG);
    assert_true(load(&c, &err, "--config", file_path, "--log-level", "debug", NULL));
    config_reload_log_level(&c);
    assert_true(log_enabled(LOG_LEVEL_DEBUG));
    config_free(&c);
    assert_true(load(&c, &err, "--config", file_path, NULL));
    config_reload_log_level(&c);
    assert_false(log_enabled(LOG_LEVEL_WARN));
    write_file("[server]\nlog_level = much\n");
    config_reload_log_level(&c);
    assert_false(log_enabled(LOG_LEVEL_WARN));
    write_file("[server]\n");
    config_reload_log_level(&c);
    assert_true(log_enabled(LOG_LEVEL_INFO));
    assert_false(log_enabled(LOG_LEVEL_DEBUG));
    config_free(&c);
}

static void test_flag_wins_over_file(void **state)
{
    struct config c;
    struct err err;
    write_file("[server]\nlisten = 127.0.0.1:1\nlisten = 127.0.0.1:2\nmax_body = 2048\n"
               "[session]\nrotate = 120\n[upstream]\nhttp2 = on\n");
    assert_true(load(&c, &err, "--config", file_path, "--rotate=300", NULL));
    assert_int_equal(c.rotate, 300);
    assert_int_equal(c.max_body, 2048);
    assert_true(c.http2);
    assert_int_equal(c.listen.count, 2);
    config_free(&c);
    /* A list on the command line replaces the file's, and may itself be repeated. */
    assert_true(load(&c, &err, "--listen", "[::1]:3", "--config", file_path, "--listen", "[::1]:4", NULL));
    assert_int_equal(c.listen.count, 2);
    assert_string_equal(c.listen.items[0], "[::1]:3");
    assert_string_equal(c.listen.items[1], "[::1]:4");
    config_free(&c);
    setenv("E2EE_PROXY_CONFIG", file_path, 1);
    assert_true(load(&c, &err, NULL));
    assert_int_equal(c.rotate, 120);
    config_free(&c);
    unsetenv("E2EE_PROXY_CONFIG");
}

static void refuse(const char *arg, const char *value, const char *word)
{
    struct config c;
    struct err err;
    assert_false(load(&c, &err, arg, value, NULL));
    assert_int_equal(err.kind, ERR_CONFIG);
    assert_non_null(strstr(err.message, word));
    config_free(&c);
}

static void test_refusals(void **state)
{
    refuse("--rotate", "59", "rotate");
    refuse("--rotate", "3601", "rotate");
    refuse("--rotate", "1e3", "rotate");
    refuse("--rotate", NULL, "rotate");
    refuse("--custody", "cloud", "token|session");
    refuse("--log-level", "loud", "log-level");
    refuse("--nonsense", "1", "--nonsense");
    refuse("--http2=on", NULL, "takes no value");
    refuse("--pin-file", "", "pin-file");
    refuse("--nras", NULL, "unknown option"); /* a file key only */
    refuse("--api-key", "sk-secret", "unknown option");
    refuse("--max-body", "104857601", "max-body");
}

static void test_messages_hold_no_values(void **state)
{
    struct config c;
    struct err err;
    assert_false(load(&c, &err, "--rotate", "hunter2", NULL));
    assert_null(strstr(err.message, "hunter2"));
    config_free(&c);
    write_file("[session]\nrotate = hunter2\n");
    assert_false(load(&c, &err, "--config", file_path, NULL));
    assert_null(strstr(err.message, "hunter2"));
    config_free(&c);
}

static void test_bad_files(void **state)
{
    static const char *const files[] = {
        "[session]\nrotat = 60\n",      "[server]\nrotate = 60\n", "rotate = 60\n",
        "[session]\nrotate 60\n",       "[session\nrotate = 60\n", "[token]\njson = on\n",
        "[server]\nsupervised_fd = 4\n"};
    struct config c;
    struct err err;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        write_file(files[i]);
        assert_false(load(&c, &err, "--config", file_path, NULL));
        assert_int_equal(err.kind, ERR_CONFIG);
        assert_non_null(strstr(err.message, file_path));
        config_free(&c);
    }
    assert_false(load(&c, &err, "--config", "/nonexistent/e2ee.conf", NULL));
    config_free(&c);
}

static void test_every_option_of_the_interface(void **state)
{
    static const char *const names[] = {"config",
                                        "api-key-file",
                                        "listen",
                                        "client-token-file",
                                        "allow-host",
                                        "allow-origin",
                                        "upstream",
                                        "unsafe-http-upstream",
                                        "pkcs11-module",
                                        "token",
                                        "pin-file",
                                        "keyholder-socket",
                                        "custody",
                                        "rotate",
                                        "workers",
                                        "max-body",
                                        "upstream-timeout",
                                        "first-byte-timeout",
                                        "max-connections",
                                        "max-inflight-bytes",
                                        "http2",
                                        "collateral",
                                        "policy",
                                        "unsafe-attestation-root",
                                        "audit-log",
                                        "log-level",
                                        "log-format",
                                        "unsafe-listen"};
    char help[32768];
    FILE *out = fmemopen(help, sizeof help, "w");
    config_print_options(out, "serve");
    fclose(out);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char flag[64];
        snprintf(flag, sizeof flag, "--%s", names[i]);
        assert_non_null(strstr(help, flag));
    }
    assert_null(strstr(help, "supervised"));
    assert_null(strstr(help, "--nras"));
}

static void test_loopback_hosts(void **state)
{
    static const char *const yes[] = {"localhost", "LOCALHOST", "127.0.0.1", "127.255.0.3", "::1", "[::1]"};
    static const char *const no[] = {"127.0.0.1.example.com", "128.0.0.1", "0.0.0.0", "127.1",
                                     "localhost.evil",        "[::2]",     "",        "127.0.0.256"};
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++) {
        assert_true(config_host_is_loopback(yes[i]));
    }
    for (size_t i = 0; i < sizeof no / sizeof *no; i++) {
        assert_false(config_host_is_loopback(no[i]));
    }
}

static void test_allocation_failures(void **state)
{
    bool hit = true;
    write_file("[server]\nlisten = 127.0.0.1:1\nlog_format = json\n");
    for (size_t n = 1; hit; n++) {
        struct config c;
        struct err err;
        fault_alloc_at(n);
        bool ok = load(&c, &err, "--config", file_path, "--token", "pkcs11:token=a", NULL);
        hit = fault_alloc_hit();
        fault_alloc_at(0);
        assert_int_equal(ok, !hit);
        if (hit) {
            assert_int_equal(err.kind, ERR_MEMORY);
        }
        config_free(&c);
    }
}

static int set_up(void **state)
{
    unsetenv("E2EE_PROXY_CONFIG");
    int fd = mkstemp(file_path);
    return fd >= 0 ? close(fd) : -1;
}

static int tear_down(void **state)
{
    return unlink(file_path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys_of_the_keyholder),         cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_collateral_of_verify),          cmocka_unit_test(test_log_level_again),
        cmocka_unit_test(test_flag_wins_over_file),           cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_messages_hold_no_values),       cmocka_unit_test(test_bad_files),
        cmocka_unit_test(test_every_option_of_the_interface), cmocka_unit_test(test_loopback_hosts),
        cmocka_unit_test(test_allocation_failures),
    };
    return cmocka_run_group_tests_name("config", tests, set_up, tear_down);
}
