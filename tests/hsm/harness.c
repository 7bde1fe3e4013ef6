#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "real.h"

#define CHANNEL_FD 9

const char *kh_path(const struct kh *k, const char *name)
{
    static char paths[8][128];
    static unsigned next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", k->dir, name);
    return path;
}

void kh_write(const struct kh *k, const char *name, const char *text)
{
    int fd = open(kh_path(k, name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

size_t kh_count(const struct kh *k, const char *name, const char *text)
{
    FILE *f = fopen(kh_path(k, name), "rb");
    static char data[1 << 20];
    size_t n = 0, found = 0;
    if (f == NULL) {
        return 0;
    }
    n = fread(data, 1, sizeof data - 1, f);
    data[n] = '\0';
    fclose(f);
    for (const char *at = data; (at = strstr(at, text)) != NULL; at += strlen(text)) {
        found++;
    }
    return found;
}

static void pause_ms(long ms)
{
    struct timespec time = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&time, NULL);
}

void kh_await(const struct kh *k, const char *name, const char *text)
{
    for (int i = 0; i < HARNESS_WAIT_S * 50; i++) {
        if (kh_count(k, name, text) > 0) {
            return;
        }
        pause_ms(20);
    }
    fail_msg("\"%s\" never came in %s", text, kh_path(k, name));
}

/* Runs a program to its end, silently. */
static int run(const char *const *argv)
{
    int status = 0;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        int null = open("/dev/null", O_WRONLY);
        dup2(null, STDOUT_FILENO);
        dup2(null, STDERR_FILENO);
        execvp(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void kh_softhsm_folder(struct kh *k)
{
    char text[256];
    assert_int_equal(mkdir(kh_path(k, "tokens"), 0700), 0);
    snprintf(text, sizeof text,
             "directories.tokendir = %s/tokens\nobjectstore.backend = file\nlog.level = ERROR\n", k->dir);
    kh_write(k, "softhsm.conf", text);
    setenv("SOFTHSM2_CONF", kh_path(k, "softhsm.conf"), 1);
}

void kh_softhsm_token(struct kh *k, const char *label, const char *pin)
{
    const char *const init[] = {"softhsm2-util", "--init-token", "--free", "--label", label,
                                "--so-pin",      "12345678",     "--pin",  pin,       NULL};
    assert_int_equal(run(init), 0);
}

void kh_softhsm_key(struct kh *k, const char *token, const char *pin, const char *type, const char *label,
                    const char *id, const char *option)
{
    const char *const argv[] = {"pkcs11-tool",   "--module", HARNESS_SOFTHSM,
                                "--token-label", token,      "--login",
                                "--pin",         pin,        "--keypairgen",
                                "--key-type",    type,       "--label",
                                label,           "--id",     id,
                                option,          NULL};
    assert_int_equal(run(argv), 0);
}

int kh_shell(const char *command)
{
    const char *const argv[] = {"sh", "-c", command, NULL};
    return run(argv);
}

size_t kh_softhsm_objects(struct kh *k, const char *token, const char *pin, const char *label)
{
    char command[512], wanted[128];
    snprintf(command, sizeof command,
             "pkcs11-tool --module " HARNESS_SOFTHSM " --token-label '%s' --login --pin %s --list-objects "
             "2>/dev/null >'%s'",
             token, pin, kh_path(k, "objects"));
    assert_int_equal(kh_shell(command), 0);
    snprintf(wanted, sizeof wanted, "label:      %s\n", label);
    return kh_count(k, "objects", wanted);
}

void kh_prepare(struct kh *k, const char *module)
{
    static char paths[64][128];
    static unsigned next;
    memset(k, 0, sizeof *k);
    k->channel = -1;
    snprintf(k->dir, sizeof k->dir, "/tmp/e2ee-hsm-XXXXXX");
    assert_non_null(mkdtemp(k->dir));
    kh_write(k, "pin", strcmp(module, "yubihsm") == 0 ? HARNESS_YUBIHSM_PIN "\n" : "1234\n");
    char *path = paths[next++ % 64];
    if (strcmp(module, "softhsm") == 0) {
        kh_softhsm_folder(k);
        kh_softhsm_token(k, "e2ee", "1234");
        snprintf(path, sizeof paths[0], HARNESS_SOFTHSM);
    } else if (real_is(module)) {
        real_prepare(k, module);
        snprintf(path, sizeof paths[0], "%s", real_module(module));
    } else {
        snprintf(path, sizeof paths[0], E2EE_MOCK_DIR "/mock_%s.so", module);
        kh_env(k, "MOCK_LOG", kh_path(k, "mock.log"));
    }
    kh_arg(k, "--pkcs11-module", path);
    static char texts[64][2][128];
    snprintf(texts[next % 64][0], sizeof texts[0][0], "%s/pin", k->dir);
    snprintf(texts[next % 64][1], sizeof texts[0][1], "%s/state", k->dir);
    kh_arg(k, "--pin-file", texts[next % 64][0]);
    kh_arg(k, "--state-dir", texts[next % 64][1]);
    kh_arg(k, "--log-level", "debug");
}

void kh_arg(struct kh *k, const char *name, const char *value)
{
    assert_true(k->arg_count + 2 <= HARNESS_ARGS);
    k->args[k->arg_count++] = name;
    if (value != NULL) {
        k->args[k->arg_count++] = value;
    }
}

void kh_env(struct kh *k, const char *name, const char *value)
{
    setenv(name, value, 1);
    kh_arg(k, "--module-env", name);
}

static void child(struct kh *k, int channel, int stdout_fd)
{
    const char *argv[HARNESS_ARGS + 5] = {k->program != NULL ? k->program : E2EE_BUILD_DIR "/e2ee-keyholder"};
    int log = open(kh_path(k, "log"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    dup2(log, STDERR_FILENO); /* first: log may be CHANNEL_FD */
    memcpy(argv + 1, k->args, k->arg_count * sizeof *argv);
    if (channel >= 0) {
        argv[k->arg_count + 1] = "--connections-fd";
        argv[k->arg_count + 2] = "9";
        dup2(channel, CHANNEL_FD);
        fcntl(CHANNEL_FD, F_SETFD, 0); /* dup2 onto itself leaves close-on-exec set */
    }
    if (stdout_fd >= 0) {
        dup2(stdout_fd, STDOUT_FILENO);
    }
    execv(argv[0], (char *const *)(uintptr_t)argv);
    _exit(127);
}

void kh_spawn(struct kh *k, int stdout_fd)
{
    k->pid = fork();
    assert_true(k->pid >= 0);
    if (k->pid == 0) {
        child(k, -1, stdout_fd);
    }
}

bool kh_start(struct kh *k)
{
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    k->pid = fork();
    assert_true(k->pid >= 0);
    if (k->pid == 0) {
        child(k, pair[1], -1);
    }
    close(pair[1]);
    k->channel = pair[0];
    struct timeval patience = {HARNESS_WAIT_S, 0};
    setsockopt(k->channel, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    ssize_t n = recv(k->channel, k->report, sizeof k->report - 1, 0);
    k->report[n > 0 ? n : 0] = '\0';
    return k->report[0] == KEYIPC_START_READY;
}

int kh_wait(struct kh *k)
{
    int status = 0;
    for (int i = 0; i < HARNESS_WAIT_S * 100; i++) {
        pid_t pid = waitpid(k->pid, &status, WNOHANG);
        if (pid == k->pid) {
            k->pid = 0;
            return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
        }
        pause_ms(10);
    }
    kill(k->pid, SIGKILL);
    waitpid(k->pid, &status, 0);
    fail_msg("the keyholder did not end");
    return -1;
}

int kh_stop(struct kh *k)
{
    if (k->channel >= 0) {
        close(k->channel);
        k->channel = -1;
    }
    return kh_wait(k);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

void kh_remove(struct kh *k)
{
    static const char *const names[] = {"MOCK_LOG",
                                        "MOCK_STORE",
                                        "MOCK_SECRETS",
                                        "MOCK_DERIVE_MS",
                                        "MOCK_SESSIONS",
                                        "MOCK_FAIL_AT",
                                        "MOCK_FAIL_COUNT",
                                        "MOCK_FAIL_RV",
                                        "MOCK_AFTER",
                                        "MOCK_GENERATE_MS",
                                        "MOCK_FAIL_LATE",
                                        "MOCK_FAIL_NAME",
                                        "MOCK_NO_CONF",
                                        "MOCK_ROOM",
                                        "MOCK_WRONG",
                                        "MOCK_PAD_MS",
                                        "MOCK_REFUSAL",
                                        "MOCK_FAIL_HANG",
                                        "MOCK_DESTROY_MS",
                                        "MOCK_DEVICE",
                                        "MOCK_DEVICE_SESSIONS",
                                        "MOCK_DEVICE_IDLE_MS",
                                        "MOCK_GONE",
                                        "XDG_CONFIG_HOME",
                                        "MOCK_PORT",
                                        "MOCK_OTHER_PORT",
                                        "MOCK_FORBIDDEN"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        unsetenv(names[i]);
    }
    nftw(k->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}
