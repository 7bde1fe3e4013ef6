/* The proxy's profile, entered as `serve` does, and everything that code which took it over might try. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <ftw.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "app/proxy_sandbox.h"
#include "attempts.h"

static char dir[] = "/tmp/e2ee-proxy-XXXXXX";
enum {
    STATE,
    PINS_STATE, /* attestation-…, the proxy's part of it */
    KEYS,
    CUSTODY, /* what is the token's, beside what is the proxy's */
    TOKENS,
    COLLATERAL,
    EVIDENCE,
    FOLDERS,
    API_KEY = FOLDERS,
    CONFIG,
    POLICY,
    SET,
    PIN,
    URI_PIN,
    OBJECT,
    MODULE,
    INSTANCE,
    CLIENT_TOKEN,
    OTHER,
    NAMES
};
static char names[NAMES][96];

static void name(int which, const char *text)
{
    snprintf(names[which], sizeof names[0], "%s/%s", dir, text);
}

static int setup(void **state)
{
    static const char *const texts[NAMES] = {"state",
                                             "state/attestation-0",
                                             "keys",
                                             "keys/custody",
                                             "keys/tokens",
                                             "collateral",
                                             "evidence",
                                             "keys/api-key",
                                             "keys/conf",
                                             "keys/policy.ini",
                                             "collateral/a",
                                             "keys/pin",
                                             "keys/custody/pin",
                                             "keys/tokens/object",
                                             "keys/module.so",
                                             "state/instance-0",
                                             "client-token",
                                             "other"};
    assert_non_null(mkdtemp(dir));
    for (int i = 0; i < NAMES; i++) {
        name(i, texts[i]);
        if (i < FOLDERS) {
            assert_int_equal(mkdir(names[i], 0700), 0);
            continue;
        }
        int fd = open(names[i], O_CREAT | O_WRONLY, 0600);
        assert_true(fd >= 0 && write(fd, "x", 1) == 1);
        close(fd);
    }
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

static int teardown(void **state)
{
    return nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* The worst lay-out: the PIN, the token and its module in the folder of the API key. */
static void fill(struct sandbox *s, bool socket)
{
    static char uri[256];
    static struct config c;
    c = (struct config){.api_key_file = names[API_KEY],
                        .config_file = names[CONFIG],
                        .policy = names[POLICY],
                        .collateral = names[COLLATERAL],
                        .evidence_dir = names[EVIDENCE],
                        .client_token_file = names[CLIENT_TOKEN],
                        .state_dir = names[STATE],
                        .pin_file = names[PIN],
                        .keyholder_socket = socket ? names[OTHER] : NULL};
    snprintf(uri, sizeof uri, "pkcs11:token=e2ee?module-path=%s&pin-source=file:%s/keys/%%63ustody/pin",
             names[MODULE], dir);
    c.token.items[c.token.count++] = uri;
    c.hide.items[c.hide.count++] = names[TOKENS];
    proxy_sandbox_fill(s, &c, names[PINS_STATE], NULL);
}

static void try_common(const struct sandbox *s)
{
    const struct attempt list[] = {
        {"exec", attempt_exec, NULL, MUST_FAIL},
        {"exec from memory", attempt_exec_memory, NULL, MUST_FAIL},
        {"fork", attempt_fork, NULL, FAILS_UNLESS_WIDE},
        {"trace", attempt_trace, NULL, FAILS_UNLESS_WIDE},
        {"another's memory", attempt_memory_of_parent, NULL, FAILS_BY_LANDLOCK},
        {"signal", attempt_signal, NULL, FAILS_UNLESS_WIDE},
        {"odd socket", attempt_odd_socket, NULL, MUST_FAIL},
        {"thread", attempt_thread, NULL, MUST_WORK},
        {"inet", attempt_inet, NULL, MUST_WORK},
        {"netlink", attempt_netlink, NULL, MUST_WORK},
        {"name", attempt_name, NULL, MUST_WORK},
        {"connect", attempt_connect, "47", MUST_WORK},
        /* the token's */
        {"read", attempt_read, names[PIN], FAILS_BY_LANDLOCK},
        {"read", attempt_read, names[URI_PIN], FAILS_BY_LANDLOCK},
        {"read", attempt_read, names[OBJECT], FAILS_BY_LANDLOCK},
        {"read", attempt_read, names[MODULE], FAILS_BY_LANDLOCK},
        {"read", attempt_read, "/usr/lib/softhsm/libsofthsm2.so", FAILS_BY_LANDLOCK},
        {"write", attempt_write, names[PIN], FAILS_BY_LANDLOCK},
        {"link", attempt_link, names[PIN], FAILS_BY_LANDLOCK},
        {"work in", attempt_work_in, names[TOKENS], FAILS_BY_LANDLOCK},
        {"read", attempt_read, names[INSTANCE], FAILS_BY_LANDLOCK},
        {"work in", attempt_work_in, names[STATE], FAILS_BY_LANDLOCK},
        /* nobody's business */
        {"read", attempt_read, names[OTHER], FAILS_BY_LANDLOCK},
        {"read", attempt_read, names[CLIENT_TOKEN], FAILS_BY_LANDLOCK},
        {"write", attempt_write, names[API_KEY], FAILS_BY_LANDLOCK},
        {"write", attempt_write, names[CONFIG], FAILS_BY_LANDLOCK},
        {"work in", attempt_work_in, "/tmp", FAILS_BY_LANDLOCK},
        /* its own */
        {"read", attempt_read, names[API_KEY], MUST_WORK},
        {"read", attempt_read, names[CONFIG], MUST_WORK},
        {"read", attempt_read, names[POLICY], MUST_WORK},
        {"read", attempt_read, names[SET], MUST_WORK},
        {"read", attempt_read, "/etc/ssl/certs", MUST_WORK},
        {"read", attempt_read, "/etc/resolv.conf", MUST_WORK},
        {"work in", attempt_work_in, names[PINS_STATE], MUST_WORK},
        {"work in", attempt_work_in, names[EVIDENCE], MUST_WORK},
    };
    assert_int_equal(attempts_run(s, list, sizeof list / sizeof *list), 0);
}

static void test_supervised(void **state)
{
    static struct sandbox s;
    const struct attempt list[] = {{"unix", attempt_unix, NULL, MUST_FAIL}};
    fill(&s, false);
    try_common(&s);
    assert_int_equal(attempts_run(&s, list, 1), 0);
}

static void test_with_socket(void **state)
{
    static struct sandbox s;
    const struct attempt list[] = {{"unix", attempt_unix, NULL, MUST_WORK}};
    fill(&s, true);
    try_common(&s);
    assert_int_equal(attempts_run(&s, list, 1), 0);
}

/* What is read again on SIGHUP is followed when it is replaced, unless the token lies beside it. */
static void test_follows(void **state)
{
    static struct sandbox s;
    struct config c = {.api_key_file = names[API_KEY]};
    proxy_sandbox_fill(&s, &c, names[PINS_STATE], NULL);
    assert_true(sandbox_follows(&s, names[API_KEY]));
    assert_true(sandbox_follows(&s, "/etc/hosts"));
    c.pin_file = names[PIN];
    proxy_sandbox_fill(&s, &c, names[PINS_STATE], NULL);
    assert_false(sandbox_follows(&s, names[API_KEY]));
}

static void test_uris(void **state)
{
    static const struct {
        const char *uri, *name, *file;
    } cases[] = {
        {"pkcs11:token=a?pin-source=/run/pin", "pin-source", "/run/pin"},
        {"pkcs11:token=a?module-path=/lib/m.so&pin-source=file:/run/pin", "pin-source", "/run/pin"},
        {"pkcs11:token=a?module-path=/lib/m.so&pin-source=file:///run/pin", "pin-source", "/run/pin"},
        {"pkcs11:?pin-source=file://localhost/run/pin", "pin-source", "/run/pin"},
        {"pkcs11:?pin-source=file:%2frun%2Fa%20b", "pin-source", "/run/a b"},
        {"pkcs11:?module-path=/lib/m.so&pin-source=/run/pin", "module-path", "/lib/m.so"},
        {"pkcs11:token=a", "pin-source", NULL},
        {"pkcs11:pin-source=/run/pin", "pin-source", NULL},
        {"pkcs11:?pin-source=relative", "pin-source", NULL},
        {"pkcs11:?pin-source=file://host", "pin-source", NULL},
        {"pkcs11:?pin-source=%", "pin-source", NULL},
        {"pkcs11:?pin-source", "pin-source", NULL},
    };
    char path[PATH_MAX], tight[4];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bool found = proxy_sandbox_uri_file(path, sizeof path, cases[i].uri, cases[i].name);
        assert_int_equal(found, cases[i].file != NULL);
        if (found) {
            assert_string_equal(path, cases[i].file);
        }
    }
    assert_false(proxy_sandbox_uri_file(tight, sizeof tight, cases[0].uri, "pin-source"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_supervised),
        cmocka_unit_test(test_with_socket),
        cmocka_unit_test(test_follows),
        cmocka_unit_test(test_uris),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
