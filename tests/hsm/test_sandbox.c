/* The real keyholder with a module that tries what it should not: loaded under the name of each module that is known, and under none of
 * these. */
#include "harness.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/sandbox.h"
#include "base/secret.h"

static struct {
    int fds[2];
    char ports[2][8];
} listeners;

static void listen_on(int i)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof at;
    listeners.fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listeners.fds[i], (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(listeners.fds[i], 64), 0);
    assert_int_equal(getsockname(listeners.fds[i], (struct sockaddr *)&at, &len), 0);
    snprintf(listeners.ports[i], sizeof listeners.ports[0], "%u", ntohs(at.sin_port));
}

static void copy(const char *from, const char *to)
{
    static char data[1 << 16];
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
    assert_true(in != NULL && out != NULL);
    for (size_t n; (n = fread(data, 1, sizeof data, in)) > 0;) {
        assert_int_equal(fwrite(data, 1, n, out), n);
    }
    fclose(in);
    assert_int_equal(fclose(out), 0);
}

/* Its log lies where it may write in every profile. */
static void prepare(struct kh *k, const char *name)
{
    static char module[128], log[128];
    kh_prepare(k, "intruder");
    snprintf(module, sizeof module, "%s/%s", k->dir, name);
    snprintf(log, sizeof log, "%s/state/mock.log", k->dir);
    copy(E2EE_MOCK_DIR "/mock_intruder.so", module);
    assert_string_equal(k->args[2], "--pkcs11-module"); /* after --module-env MOCK_LOG */
    k->args[3] = module;
    kh_env(k, "MOCK_LOG", log);
    kh_env(k, "MOCK_PORT", listeners.ports[0]);
    kh_env(k, "MOCK_OTHER_PORT", listeners.ports[1]);
    kh_env(k, "MOCK_FORBIDDEN", E2EE_BUILD_DIR "/CMakeCache.txt");
}

static void assert_status(const struct kh *k, const char *line)
{
    char path[64], text[8192];
    snprintf(path, sizeof path, "/proc/%ld/status", (long)k->pid);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    fclose(f);
    if (strstr(text, line) == NULL) {
        fail_msg("no \"%s\" in %s", line, path);
    }
}

enum { EXEC, FORK, UNIX, INET, AT_PORT, OTHER_PORT, FORBIDDEN, TRIES };
static const char *const tries[TRIES] = {"exec", "fork",       "unix socket",   "inet socket",
                                         "port", "other port", "forbidden file"};

/* Runs it through a key's life; works[i]: whether try i may succeed. */
static void run(struct kh *k, const bool works[TRIES])
{
    static const char *const where[] = {"load", "C_Initialize", "C_DeriveKey"};
    struct kh_peer model, server;
    uint8_t point[POINT_BYTES];
    uint64_t key;
    if (!kh_start(k)) {
        fail_msg("%s", k->report);
    }
    assert_status(k, "Seccomp:\t2\n");
    assert_status(k, "NoNewPrivs:\t1\n");
    kh_peer_new(&model);
    kh_peer_new(&server);
    int control = kh_control(k, NULL);
    kh_open(k, control, &model, &key, point);
    assert_int_equal(kh_derive(k, control, key, 1, &server, point, NULL), ERR_NONE);
    kh_peer_free(&model);
    kh_peer_free(&server);
    close(control);
    assert_int_equal(kh_stop(k), KEYIPC_EXIT_OK);
    for (size_t i = 0; i < 3; i++) {
        for (int t = 0; t < TRIES; t++) {
            char line[64], other[64];
            bool wide = t == FORK && sandbox_is_wide();
            snprintf(line, sizeof line, "%s: %s %s\n", where[i], tries[t],
                     works[t] || wide ? "worked" : "failed");
            snprintf(other, sizeof other, "%s: %s %s\n", where[i], tries[t],
                     works[t] || wide ? "failed" : "worked");
            if (kh_count(k, "state/mock.log", line) == 0 || kh_count(k, "state/mock.log", other) != 0) {
                fail_msg("not %s", line);
            }
        }
    }
}

static void test_profiles(void **state)
{
    bool files = sandbox_landlock_abi() == 0, ports = sandbox_landlock_abi() < 4;
    const struct {
        const char *module, *said;
        bool network, works[TRIES];
    } cases[] = {
        {"libsofthsm2.so", "sandbox (SoftHSM; no sockets)", false, {[FORBIDDEN] = files}},
        {"opensc-pkcs11.so", "sandbox (OpenSC; no network)", false, {[UNIX] = true, [FORBIDDEN] = files}},
        {"yubihsm_pkcs11.so", "sandbox (YubiHSM; no sockets)", false, {[FORBIDDEN] = files}},
        {"yubihsm_pkcs11.so",
         "sandbox (YubiHSM; network by --token-network)",
         true,
         {[INET] = true, [AT_PORT] = true, [OTHER_PORT] = ports, [FORBIDDEN] = files}},
        {"vendor.so",
         "what this PKCS#11 module needs is not known",
         false,
         {[FORK] = true, [UNIX] = true, [FORBIDDEN] = true}},
        {"vendor.so",
         "sandbox (unknown module; network by --token-network)",
         true,
         {[FORK] = true,
          [UNIX] = true,
          [INET] = true,
          [AT_PORT] = true,
          [OTHER_PORT] = ports,
          [FORBIDDEN] = true}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct kh k;
        char network[32];
        prepare(&k, cases[i].module);
        snprintf(network, sizeof network, "127.0.0.1:%s", listeners.ports[0]);
        if (cases[i].network) {
            kh_arg(&k, "--token-network", network);
        }
        run(&k, cases[i].works);
        assert_true(kh_count(&k, "log", cases[i].said) > 0);
        kh_remove(&k);
    }
}

/* `check` tries the token in the same sandbox. */
static void test_check(void **state)
{
    struct kh k;
    int out[2];
    char text[4096];
    prepare(&k, "libsofthsm2.so");
    kh_arg(&k, "--check", NULL);
    kh_arg(&k, "--sessions", "1");
    assert_int_equal(pipe(out), 0);
    kh_spawn(&k, out[1]);
    close(out[1]);
    while (read(out[0], text, sizeof text) > 0) {
    }
    close(out[0]);
    assert_int_equal(kh_wait(&k), KEYIPC_EXIT_OK);
    assert_true(kh_count(&k, "log", "sandbox (SoftHSM; no sockets)") > 0);
    assert_true(kh_count(&k, "state/mock.log", "C_Initialize: inet socket failed") > 0);
    assert_int_equal(kh_count(&k, "state/mock.log", "exec worked"), 0);
    kh_remove(&k);
}

/* The socket is made before the sandbox, taken into use after the token is there, and removed at the end. */
static void test_socket(void **state)
{
    struct kh k;
    kh_prepare(&k, "softhsm");
    kh_arg(&k, "--socket", kh_path(&k, "socket"));
    kh_spawn(&k, -1);
    kh_await(&k, "log", "ready");
    int fd = kh_connect_socket(kh_path(&k, "socket"));
    assert_true(fd >= 0);
    close(fd);
    kill(k.pid, SIGTERM);
    assert_int_equal(kh_wait(&k), KEYIPC_EXIT_OK);
    assert_int_equal(access(kh_path(&k, "socket"), F_OK), -1);
    assert_true(kh_count(&k, "log", "sandbox (SoftHSM; no sockets)") > 0);
    kh_remove(&k);
}

static int setup(void **state)
{
    struct err err;
    assert_true(secret_heap_init(&err));
    listen_on(0);
    listen_on(1);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_profiles),
        cmocka_unit_test(test_check),
        cmocka_unit_test(test_socket),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
