/* Each of the keyholder's profiles, entered as the keyholder does, and everything that a module in it might try. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "attempts.h"
#include "hsm/profile.h"

#define OTHER "48"

static char dir[] = "/tmp/e2ee-profile-XXXXXX";
enum {
    STATE,
    TOKENS,
    AUDIT,
    SOCKETS,
    PINS,
    OTHERS,
    PIN,
    CONF,
    LOG,
    SOCKET,
    API_KEY,
    STATE_FILE,
    MODULE,
    NAMES
};
static char names[NAMES][96];

static void make_file(int which, const char *name, const char *text)
{
    snprintf(names[which], sizeof names[0], "%s/%s", dir, name);
    int fd = open(names[which], O_CREAT | O_WRONLY, 0600);
    assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
}

static int setup(void **state)
{
    static const char *const folders[] = {"state", "tokens", "audit", "sockets", "pins", "others"};
    char text[160];
    assert_non_null(mkdtemp(dir));
    for (int i = 0; i < 6; i++) {
        snprintf(names[i], sizeof names[0], "%s/%s", dir, folders[i]);
        assert_int_equal(mkdir(names[i], 0700), 0);
    }
    snprintf(text, sizeof text, "directories.tokendir = %s\n", names[TOKENS]);
    make_file(PIN, "pins/pin", "1234\n");
    make_file(CONF, "pins/softhsm2.conf", text);
    make_file(API_KEY, "others/api-key", "sk\n");
    make_file(STATE_FILE, "state/instance-0", "x");
    snprintf(names[LOG], sizeof names[0], "%s/audit/custody.log", dir);
    snprintf(names[SOCKET], sizeof names[0], "%s/sockets/socket", dir);
    setenv("SOFTHSM2_CONF", names[CONF], 1);
    setenv("OPENSC_CONF", names[CONF], 1);
    return 0;
}

static int teardown(void **state)
{
    static const int files[] = {PIN, CONF, API_KEY, STATE_FILE};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        unlink(names[files[i]]);
    }
    for (int i = 0; i < 6; i++) {
        rmdir(names[i]);
    }
    return rmdir(dir);
}

/* Options as the keyholder has them for this module. */
static void options_for(struct options *o, const char *module)
{
    static char uri[160];
    *o = (struct options){.server = {.socket_path = names[SOCKET]}, .audit = {.path = names[LOG]}};
    snprintf(uri, sizeof uri, "pkcs11:token=e2ee?pin-source=file:%s", names[PIN]);
    snprintf(names[MODULE], sizeof names[0], "%s/pins/%s", dir, module);
    o->token = (struct token_options){.module_path = names[MODULE], .uris = {uri}, .uri_count = 1};
}

static void add_port(struct options *o)
{
    struct err err = {0};
    assert_true(options_token_network(o, "127.0.0.1:47", &err));
}

/* What is so in every profile. */
static void try_common(const struct sandbox *s)
{
    const struct attempt list[] = {
        {"exec", attempt_exec, NULL, MUST_FAIL},
        {"exec from memory", attempt_exec_memory, NULL, MUST_FAIL},
        {"trace", attempt_trace, NULL, FAILS_UNLESS_WIDE},
        {"another's memory", attempt_memory_of_parent, NULL, FAILS_BY_LANDLOCK},
        {"odd socket", attempt_odd_socket, NULL, MUST_FAIL},
        {"thread", attempt_thread, NULL, MUST_WORK},
        {"socket pair", attempt_pair, NULL, MUST_WORK},
        {"read", attempt_read, names[PIN], MUST_WORK},
        {"work in", attempt_work_in, names[STATE], MUST_WORK},
        {"work in", attempt_work_in, names[AUDIT], MUST_WORK},
        {"work in", attempt_work_in, names[SOCKETS], MUST_WORK},
        {"read", attempt_read, "/etc/passwd", MUST_WORK},
        {"read", attempt_read, "/proc/1/cgroup", MUST_WORK},
    };
    assert_int_equal(attempts_run(s, list, sizeof list / sizeof *list), 0);
}

/* And in those of modules that are known. */
static void try_known(const struct sandbox *s)
{
    const struct attempt list[] = {
        {"fork", attempt_fork, NULL, FAILS_UNLESS_WIDE},
        {"signal", attempt_signal, NULL, FAILS_UNLESS_WIDE},
        {"read", attempt_read, names[API_KEY], FAILS_BY_LANDLOCK},
        {"write", attempt_write, names[PIN], FAILS_BY_LANDLOCK},
        {"work in", attempt_work_in, names[PINS], FAILS_BY_LANDLOCK},
        {"work in", attempt_work_in, names[OTHERS], FAILS_BY_LANDLOCK},
        {"work in", attempt_work_in, "/tmp", FAILS_BY_LANDLOCK},
        {"link", attempt_link, names[API_KEY], FAILS_BY_LANDLOCK},
    };
    assert_int_equal(attempts_run(s, list, sizeof list / sizeof *list), 0);
}

static void fill(struct sandbox *s, const struct options *o, const char *words)
{
    char said[128];
    profile_fill(s, said, o, names[STATE]);
    assert_string_equal(said, words);
}

static void test_softhsm(void **state)
{
    static struct sandbox s;
    static struct options o;
    options_for(&o, "libsofthsm2.so");
    fill(&s, &o, "SoftHSM; no sockets");
    try_common(&s);
    try_known(&s);
    const struct attempt list[] = {
        {"unix", attempt_unix, NULL, MUST_FAIL},
        {"inet", attempt_any_inet, NULL, MUST_FAIL},
        {"netlink", attempt_netlink, NULL, MUST_FAIL},
        {"work in", attempt_work_in, names[TOKENS], MUST_WORK},
        {"read", attempt_read, names[CONF], MUST_WORK},
    };
    assert_int_equal(attempts_run(&s, list, sizeof list / sizeof *list), 0);
}

static void test_card(void **state)
{
    static struct sandbox s;
    static struct options o;
    options_for(&o, "opensc-pkcs11.so");
    fill(&s, &o, "OpenSC; no network");
    try_common(&s);
    try_known(&s);
    const struct attempt list[] = {
        {"unix", attempt_unix, NULL, MUST_WORK},
        {"inet", attempt_any_inet, NULL, MUST_FAIL},
        {"netlink", attempt_netlink, NULL, MUST_FAIL},
        {"work in", attempt_work_in, names[TOKENS], FAILS_BY_LANDLOCK},
    };
    assert_int_equal(attempts_run(&s, list, sizeof list / sizeof *list), 0);
}

static void test_yubihsm(void **state)
{
    static struct sandbox s;
    static struct options o;
    options_for(&o, "yubihsm_pkcs11.so");
    fill(&s, &o, "YubiHSM; no sockets"); /* by USB */
    try_common(&s);
    try_known(&s);
    const struct attempt usb[] = {
        {"unix", attempt_unix, NULL, MUST_FAIL},
        {"inet", attempt_any_inet, NULL, MUST_FAIL},
        {"netlink", attempt_netlink, NULL, MUST_WORK},
    };
    assert_int_equal(attempts_run(&s, usb, sizeof usb / sizeof *usb), 0);
    add_port(&o);
    fill(&s, &o, "YubiHSM; network by --token-network");
    try_common(&s);
    try_known(&s);
    const struct attempt network[] = {
        {"unix", attempt_unix, NULL, MUST_FAIL},
        {"inet", attempt_inet, NULL, MUST_WORK},
        {"connect", attempt_connect, "47", MUST_WORK},
        {"connect", attempt_connect, OTHER, FAILS_BY_PORT},
    };
    assert_int_equal(attempts_run(&s, network, sizeof network / sizeof *network), 0);
}

static void test_unknown(void **state)
{
    static struct sandbox s;
    static struct options o;
    options_for(&o, "vendor.so");
    fill(&s, &o, "unknown module; no network");
    try_common(&s);
    const struct attempt list[] = {
        {"fork", attempt_fork, NULL, MUST_WORK},
        {"unix", attempt_unix, NULL, MUST_WORK},
        {"inet", attempt_any_inet, NULL, MUST_FAIL},
        {"read", attempt_read, names[API_KEY], MUST_WORK},
        {"work in", attempt_work_in, names[OTHERS], MUST_WORK},
    };
    assert_int_equal(attempts_run(&s, list, sizeof list / sizeof *list), 0);
    add_port(&o);
    fill(&s, &o, "unknown module; network by --token-network");
    try_common(&s);
    const struct attempt network[] = {
        {"inet", attempt_inet, NULL, MUST_WORK},
        {"name", attempt_name, NULL, MUST_WORK},
        {"connect", attempt_connect, "47", MUST_WORK},
        {"connect", attempt_connect, OTHER, FAILS_BY_PORT},
    };
    assert_int_equal(attempts_run(&s, network, sizeof network / sizeof *network), 0);
}

/* Several modules in one process: what one needs all have. And a PIN that is typed needs the terminal. */
static void test_several(void **state)
{
    static struct sandbox s;
    static struct options o;
    options_for(&o, "libsofthsm2.so");
    o.token = (struct token_options){.uri_count = 2};
    o.token.uris[0] = "pkcs11:token=a?module-path=/usr/lib/softhsm/libsofthsm2.so";
    o.token.uris[1] = "pkcs11:token=b?module-path=/usr/lib/opensc-pkcs11.so";
    fill(&s, &o, "SoftHSM, OpenSC; no network");
    assert_true(s.unix_sockets && !s.fork && !s.any_file);
    bool terminal = false;
    for (size_t i = 0; i < s.write_count; i++) {
        terminal = terminal || strcmp(s.write[i], "/dev/tty") == 0;
    }
    assert_true(terminal);
    assert_int_equal(profile_kind("/usr/lib/softhsm/libsofthsm2.so"), PROFILE_SOFTHSM);
    assert_int_equal(profile_kind("/x/notopensc-pkcs11.so"), PROFILE_UNKNOWN);
}

static void test_network_option(void **state)
{
    static const char *const bad[] = {"value",      ":1",      "host:",      "host:0",
                                      "host:65536", "host:1x", "::1:80",     "http://host:80",
                                      "a b:1",      "[]:1",    "user@host:1"};
    static struct options o;
    struct err err = {0};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(options_token_network(&o, bad[i], &err));
        assert_int_equal(err.kind, ERR_CONFIG);
    }
    assert_int_equal(o.network_count, 0);
    assert_true(options_token_network(&o, "[::1]:12345", &err));
    assert_int_equal(o.network_ports[0], 12345);
    while (o.network_count < SANDBOX_PORTS_MAX) {
        assert_true(options_token_network(&o, "hsm.example:9000", &err));
    }
    assert_false(options_token_network(&o, "hsm.example:9000", &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_softhsm), cmocka_unit_test(test_card),    cmocka_unit_test(test_yubihsm),
        cmocka_unit_test(test_unknown), cmocka_unit_test(test_several), cmocka_unit_test(test_network_option),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
