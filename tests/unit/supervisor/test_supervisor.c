/* What the supervisor is told, and the API key that it keeps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/limits.h"
#include "supervisor/kept_key.h"
#include "supervisor/options.h"

extern char **environ;

#define WORDS_MAX 32

/* The words of a line of text, split at spaces; a NULL ends them. */
static int split(char *line, char *argv[WORDS_MAX])
{
    int argc = 0;
    for (char *word; (word = strsep(&line, " ")) != NULL;) {
        assert_true(argc < WORDS_MAX - 1);
        argv[argc++] = word;
    }
    argv[argc] = NULL;
    return argc;
}

static void test_options(void **state)
{
    char line[] = "s --log-level debug --log-format json --workers 3 --reread /f --announce-fd 7 --api-key "
                  "--module-env A "
                  "--module-env B --keyholder 3 /k --proxy 2 --proxy 2 /p serve";
    char *argv[WORDS_MAX];
    struct supervisor_options o;
    int argc = split(line, argv);
    assert_true(supervisor_options_read(&o, argc, argv));
    assert_int_equal(o.log_level, LOG_LEVEL_DEBUG);
    assert_true(o.log_json && o.api_key);
    assert_int_equal(o.workers, 3);
    assert_string_equal(o.reread, "/f");
    assert_int_equal(o.announce_fd, 7);
    assert_int_equal(o.module_env_count, 2);
    assert_string_equal(o.module_env[1], "B");
    /* A child's words are its own, also one that looks like ours. */
    assert_string_equal(o.keyholder[0], "/k");
    assert_string_equal(o.keyholder[1], "--proxy");
    assert_string_equal(o.keyholder[2], "2");
    assert_null(o.keyholder[3]);
    assert_string_equal(o.proxy[0], "/p");
    assert_string_equal(o.proxy[1], "serve");
    assert_null(o.proxy[2]);
}

static void test_options_refused(void **state)
{
    static const char *const lines[] = {
        "s",
        "s --workers 1 --keyholder 1 /k",
        "s --workers 1 --proxy 1 /p",
        "s --keyholder 1 /k --proxy 1 /p",
        "s --workers 0 --keyholder 1 /k --proxy 1 /p",
        "s --workers 1 --keyholder 0 --proxy 1 /p",
        "s --workers 1 --keyholder 2 /k --proxy 1 /p",
        "s --workers 1 --keyholder 1 /k --proxy 2 /p",
        "s --workers 1 --keyholder 1 /k --proxy 1 /p more",
        "s --workers 1 --keyholder 99 /k --proxy 1 /p",
        "s --workers 1 --keyholder -1 /k --proxy 1 /p",
        "s --workers 1 --keyholder 1 /k --api-key --proxy 1 /p",
        "s --workers 1 --log-level loud --keyholder 1 /k --proxy 1 /p",
        "s --workers 1 --announce-fd 2 --keyholder 1 /k --proxy 1 /p",
        "s --workers 1 --keyholder 1 /k --proxy",
        "s --workers 1 --reread",
        "s serve",
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        char *line = strdup(lines[i]), *argv[WORDS_MAX];
        struct supervisor_options o;
        int argc = split(line, argv);
        if (supervisor_options_read(&o, argc, argv)) {
            fail_msg("accepted: %s", lines[i]);
        }
        free(line);
    }
}

static void test_too_many_names(void **state)
{
    static char self[] = "s", option[] = "--module-env", name[] = "NAME";
    char *argv[2 * SUPERVISOR_NAMES_MAX + 16] = {self};
    struct supervisor_options o;
    int argc = 1;
    for (int i = 0; i <= SUPERVISOR_NAMES_MAX; i++) {
        argv[argc++] = option;
        argv[argc++] = name;
    }
    assert_false(supervisor_options_read(&o, argc, argv));
}

/* The value where it lies, as /proc/PID/environ shows it. */
static char *in_environment(void)
{
    for (char **entry = environ; *entry != NULL; entry++) {
        if (strncmp(*entry, "VENICE_API_KEY=", 15) == 0) {
            return *entry + 15;
        }
    }
    return NULL;
}

static void test_key_is_kept(void **state)
{
    static char entry[] = "VENICE_API_KEY=canary-of-a-key";
    struct kept_key key;
    struct err err = {0};
    int pair[2];
    uint8_t got[64];
    assert_int_equal(putenv(entry), 0);
    assert_true(kept_key_take(&key, &err));
    assert_null(getenv("VENICE_API_KEY"));
    for (size_t i = 15; i < sizeof entry; i++) {
        assert_int_equal(entry[i], 0); /* overwritten where it lay */
    }
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    for (int i = 0; i < 2; i++) { /* for each start of the proxy */
        assert_true(kept_key_send(&key, pair[0], &err));
        assert_int_equal(read(pair[1], got, sizeof got), 2 + 15);
        assert_memory_equal(got, "\0\017canary-of-a-key", 17);
    }
    kept_key_drop(&key);
    assert_null(key.page);
    close(pair[1]);
    assert_false(kept_key_send(&key, pair[0], &err));
    assert_int_equal(err.kind, ERR_IO);
    close(pair[0]);
}

static void test_no_key(void **state)
{
    struct kept_key key;
    struct err err = {0};
    int pair[2];
    uint8_t got[8];
    unsetenv("VENICE_API_KEY");
    assert_true(kept_key_take(&key, &err));
    assert_null(key.page);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    assert_true(kept_key_send(&key, pair[0], &err));
    assert_int_equal(read(pair[1], got, sizeof got), 2);
    assert_memory_equal(got, "\0\0", 2);
    close(pair[0]);
    close(pair[1]);
}

static void test_key_too_long(void **state)
{
    static char value[LIMIT_API_KEY_BYTES + 2];
    struct kept_key key;
    struct err err = {0};
    memset(value, 'k', sizeof value - 1);
    assert_int_equal(setenv("VENICE_API_KEY", value, 1), 0);
    char *there = in_environment();
    assert_false(kept_key_take(&key, &err));
    assert_int_equal(err.kind, ERR_CONFIG);
    assert_null(strstr(err.message, "kkk"));
    assert_null(getenv("VENICE_API_KEY"));
    assert_int_equal(there[0], 0);
    value[LIMIT_API_KEY_BYTES] = '\0';
    assert_int_equal(setenv("VENICE_API_KEY", value, 1), 0);
    assert_true(kept_key_take(&key, &err));
    assert_int_equal(key.len, LIMIT_API_KEY_BYTES);
    kept_key_drop(&key);
}

/* The exit status of serve, started from a folder that has only these programs of ours. */
static int serve_with(const char *const *programs, size_t count)
{
    char folder[] = E2EE_BUILD_DIR "/serve-XXXXXX", from[512], to[512], proxy[512];
    int status;
    assert_non_null(mkdtemp(folder));
    for (size_t i = 0; i < count; i++) {
        snprintf(from, sizeof from, "%s/%s", E2EE_BUILD_DIR, programs[i]);
        snprintf(to, sizeof to, "%s/%s", folder, programs[i]);
        assert_int_equal(link(from, to), 0);
    }
    snprintf(proxy, sizeof proxy, "%s/e2ee-hsm-proxy", folder);
    pid_t pid = fork();
    if (pid == 0) {
        execl(proxy, proxy, "serve", "--pkcs11-module", "/nowhere.so", "--token", "label=x", "--pin-file",
              "/dev/null", (char *)NULL);
        _exit(127);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    for (size_t i = 0; i < count; i++) {
        snprintf(to, sizeof to, "%s/%s", folder, programs[i]);
        unlink(to);
    }
    rmdir(folder);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* 2 would tell systemd never to try again. */
static void test_missing_programs(void **state)
{
    const char *const programs[] = {"e2ee-hsm-proxy", "e2ee-supervisor"};
    assert_int_equal(serve_with(programs, 1), 1);
    assert_int_equal(serve_with(programs, 2), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options),          cmocka_unit_test(test_options_refused),
        cmocka_unit_test(test_too_many_names),   cmocka_unit_test(test_key_is_kept),
        cmocka_unit_test(test_no_key),           cmocka_unit_test(test_key_too_long),
        cmocka_unit_test(test_missing_programs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
