/* Each case in a child that enters the sandbox and reports by its exit code: what a sandbox forbids is tried there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/sandbox.h"

static char dir[] = "/tmp/e2ee-sandbox-XXXXXX";
static char secret_file[128], open_file[128], outside[128], module[128];

static void write_file(char *path, size_t cap, const char *folder, const char *name)
{
    snprintf(path, cap, "%s/%s", folder, name);
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    assert_true(fd >= 0 && write(fd, "x", 1) == 1);
    close(fd);
}

static int setup(void **state)
{
    char allowed[64], deep[80];
    assert_non_null(mkdtemp(dir));
    snprintf(allowed, sizeof allowed, "%s/allowed", dir);
    snprintf(deep, sizeof deep, "%s/deep", allowed);
    assert_int_equal(mkdir(allowed, 0700), 0);
    assert_int_equal(mkdir(deep, 0700), 0);
    write_file(secret_file, sizeof secret_file, deep, "pin");
    write_file(module, sizeof module, allowed, "module.so");
    write_file(open_file, sizeof open_file, deep, "other");
    write_file(outside, sizeof outside, dir, "outside");
    return 0;
}

static int teardown(void **state)
{
    char path[128];
    unlink(secret_file);
    unlink(module);
    unlink(open_file);
    unlink(outside);
    snprintf(path, sizeof path, "%s/allowed/deep", dir);
    rmdir(path);
    snprintf(path, sizeof path, "%s/allowed", dir);
    rmdir(path);
    return rmdir(dir);
}

static bool kernel_has_landlock(void)
{
    return syscall(444, NULL, 0, 1) > 0;
}

/* Runs body in a child after sandbox_enter; body returns 0 or the number of the line that went wrong. */
static void in_sandbox(const struct sandbox *s, int (*body)(const struct sandbox_result *))
{
    int status, pipes[2];
    int line = -1;
    assert_int_equal(pipe(pipes), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct sandbox_result result;
        struct err err = {0};
        line = sandbox_enter(s, &result, &err) ? body(&result) : -2;
        _exit(write(pipes[1], &line, sizeof line) == (ssize_t)sizeof line ? 0 : 1);
    }
    close(pipes[1]);
    assert_int_equal(read(pipes[0], &line, sizeof line), (int)sizeof line);
    close(pipes[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (line != 0) {
        print_message("line %d\n", line);
    }
    assert_int_equal(line, 0);
    assert_int_equal(status, 0);
}

#define CHECK(condition)                                                                                     \
    if (!(condition)) {                                                                                      \
        return __LINE__;                                                                                     \
    }

static bool opens(const char *path, int flags)
{
    int fd = open(path, flags, 0600);
    if (fd >= 0) {
        close(fd);
    }
    return fd >= 0;
}

static int no_exec(const struct sandbox_result *r)
{
    static char name[] = "true";
    char *const argv[] = {name, NULL};
    CHECK(r->seccomp);
    CHECK(execve("/bin/true", argv, NULL) == -1 && (errno == EPERM || errno == EACCES));
    CHECK(syscall(SYS_execveat, AT_FDCWD, "/bin/true", argv, NULL, 0) == -1 && errno == EPERM);
    return 0;
}

static int no_fork(const struct sandbox_result *r)
{
    pid_t pid = fork();
    if (pid == 0) {
        _exit(0);
    }
    CHECK(sandbox_is_wide() || (pid == -1 && errno == EPERM));
    CHECK(syscall(SYS_clone3, NULL, 0) == -1 && errno == ENOSYS);
    return no_exec(r);
}

static int may_fork(const struct sandbox_result *r)
{
    int status;
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        _exit(no_exec(r) == 0 ? 7 : 1); /* inherited */
    }
    CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 7);
    return 0;
}

static void *thread(void *arg)
{
    static char name[] = "true";
    return execve("/bin/true", (char *const[]){name, NULL}, NULL) == -1 ? arg : NULL;
}

static int threads(const struct sandbox_result *r)
{
    pthread_t t;
    void *out = NULL;
    CHECK(pthread_create(&t, NULL, thread, (void *)r) == 0);
    CHECK(pthread_join(t, &out) == 0 && out == r);
    return 0;
}

static int no_dangerous_calls(const struct sandbox_result *r)
{
    CHECK(sandbox_is_wide() || (syscall(SYS_ptrace, 0, 0, 0, 0) == -1 && errno == EPERM));
    CHECK(sandbox_is_wide() || (prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) == -1 && errno == EPERM));
    CHECK(sandbox_is_wide() || (kill(getppid(), 0) == -1 && errno == EPERM));
    CHECK(sandbox_is_wide() || (syscall(SYS_tgkill, getppid(), getppid(), 0) == -1 && errno == EPERM));
    CHECK(syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), 0) == 0);
    CHECK(syscall(SYS_process_vm_writev, getpid(), NULL, 0, NULL, 0, 0) == -1 && errno == EPERM);
    CHECK(syscall(SYS_bpf, 0, NULL, 0) == -1 && errno == EPERM);
    CHECK(syscall(SYS_keyctl, 0, 0, 0, 0, 0) == -1 && errno == EPERM);
    CHECK(syscall(SYS_mount, NULL, NULL, NULL, 0, NULL) == -1 && errno == EPERM);
    CHECK(syscall(SYS_unshare, 0) == -1 && errno == EPERM);
    CHECK(syscall(SYS_setuid, 0) == -1 && errno == EPERM);
    CHECK(syscall(SYS_perf_event_open, NULL, 0, 0, 0, 0) == -1 && errno == EPERM);
    CHECK(syscall(SYS_io_uring_setup, 1, NULL) == -1 && errno == ENOSYS);
    CHECK(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
    return 0;
}

static int no_sockets(const struct sandbox_result *r)
{
    int pair[2];
    CHECK(socket(AF_INET, SOCK_STREAM, 0) == -1 && errno == EPERM);
    CHECK(socket(AF_INET6, SOCK_DGRAM, 0) == -1 && errno == EPERM);
    CHECK(socket(AF_UNIX, SOCK_STREAM, 0) == -1 && errno == EPERM);
    CHECK(socket(AF_PACKET, SOCK_RAW, 0) == -1 && errno == EPERM);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    return 0;
}

static int unix_only(const struct sandbox_result *r)
{
    CHECK(socket(AF_UNIX, SOCK_STREAM, 0) >= 0);
    CHECK(socket(AF_INET, SOCK_STREAM, 0) == -1 && errno == EPERM);
    return 0;
}

static int one_port(const struct sandbox_result *r)
{
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(9), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(fd >= 0);
    CHECK(socket(AF_PACKET, SOCK_RAW, 0) == -1 && errno == EPERM);
    if (r->landlock >= 4) {
        CHECK(connect(fd, (struct sockaddr *)&to, sizeof to) == -1 && errno == EACCES);
        to.sin_port = htons(10); /* allowed: nobody listens there */
        CHECK(connect(fd, (struct sockaddr *)&to, sizeof to) == 0 || errno == ECONNREFUSED);
    }
    return 0;
}

static int files(const struct sandbox_result *r)
{
    CHECK(r->landlock > 0);
    CHECK(opens(open_file, O_RDONLY));
    CHECK(!opens(open_file, O_WRONLY) && errno == EACCES);
    CHECK(!opens(secret_file, O_RDONLY) && errno == EACCES);
    CHECK(!opens(module, O_RDONLY) && errno == EACCES);
    CHECK(!opens(outside, O_RDONLY) && errno == EACCES);
    CHECK(!opens("/etc/passwd", O_RDONLY) && errno == EACCES);
    return 0;
}

/* Hidden, and not there when the rules were made: its folder is closed for new files. */
static int later(const struct sandbox_result *r)
{
    char path[160];
    snprintf(path, sizeof path, "%s.later", open_file);
    CHECK(!opens(path, O_RDWR | O_CREAT) && errno == EACCES);
    CHECK(opens(open_file, O_RDWR));
    return 0;
}

static int written(const struct sandbox_result *r)
{
    char path[160];
    snprintf(path, sizeof path, "%s.new", open_file);
    CHECK(opens(path, O_WRONLY | O_CREAT | O_TRUNC));
    CHECK(unlink(path) == 0);
    CHECK(!opens(outside, O_WRONLY) && errno == EACCES);
    return 0;
}

static int without_landlock(const struct sandbox_result *r)
{
    CHECK(r->landlock == 0 && r->seccomp);
    CHECK(opens(outside, O_RDONLY));
    return no_exec(r);
}

static void test_calls(void **state)
{
    struct sandbox s = {.any_file = true};
    in_sandbox(&s, no_exec);
    in_sandbox(&s, no_fork);
    in_sandbox(&s, threads);
    in_sandbox(&s, no_dangerous_calls);
    s.fork = true;
    in_sandbox(&s, may_fork);
}

static void test_sockets(void **state)
{
    struct sandbox s = {.any_file = true};
    in_sandbox(&s, no_sockets);
    s.unix_sockets = true;
    in_sandbox(&s, unix_only);
    s = (struct sandbox){.any_file = true, .network = true, .ports = {10}, .port_count = 1};
    in_sandbox(&s, one_port);
}

static void test_files(void **state)
{
    struct sandbox s = {0};
    char allowed[80];
    if (!kernel_has_landlock()) {
        print_message("skip: this kernel has no Landlock\n");
        skip();
    }
    snprintf(allowed, sizeof allowed, "%s/allowed", dir);
    sandbox_read(&s, allowed);
    sandbox_read(&s, "/nonexistent");
    sandbox_read(&s, NULL);
    sandbox_hide(&s, secret_file);
    sandbox_hide(&s, module);
    in_sandbox(&s, files);
    s = (struct sandbox){0};
    sandbox_write(&s, allowed);
    in_sandbox(&s, written);
    char hidden[160];
    snprintf(hidden, sizeof hidden, "%s.later", open_file);
    sandbox_hide(&s, hidden);
    in_sandbox(&s, later);
}

static void test_too_many_hidden(void **state)
{
    struct sandbox s = {0};
    struct sandbox_result result;
    struct err err = {0};
    for (size_t i = 0; i <= SANDBOX_PATHS_MAX; i++) {
        sandbox_hide(&s, secret_file);
    }
    assert_false(sandbox_enter(&s, &result, &err));
    assert_int_equal(err.kind, ERR_CONFIG);
}

static int replaced(const struct sandbox_result *r)
{
    char path[160];
    snprintf(path, sizeof path, "%s.new", open_file);
    int fd = open(path, O_RDONLY); /* made after the rules */
    CHECK(fd == -1 && errno == ENOENT);
    CHECK(opens(open_file, O_RDONLY));
    CHECK(opens(secret_file, O_RDONLY)); /* beside it */
    CHECK(!opens(module, O_RDONLY) && errno == EACCES);
    CHECK(opens("/etc/nsswitch.conf", O_RDONLY) || errno == ENOENT);
    return 0;
}

static void test_beside_and_system(void **state)
{
    struct sandbox s = {0};
    if (!kernel_has_landlock()) {
        skip();
    }
    sandbox_read_beside(&s, open_file);
    sandbox_read_beside(&s, "/nonexistent");
    sandbox_read_system(&s);
    in_sandbox(&s, replaced);
    assert_int_equal(setenv("HOME", dir, 1), 0);
    s = (struct sandbox){0};
    sandbox_read_beside(&s, outside);
    assert_int_equal(s.read_count, 1); /* the home folder is too wide */
}

static void test_follows(void **state)
{
    struct sandbox s = {0};
    char absent[160], link[128];
    sandbox_read_beside(&s, open_file);
    assert_true(sandbox_follows(&s, open_file));
    assert_false(sandbox_follows(&s, outside));
    assert_false(sandbox_follows(&s, "/nonexistent/file"));
    sandbox_hide(&s, secret_file); /* beside it */
    assert_false(sandbox_follows(&s, open_file));
    /* A file that is not there yet, and a link: both folders. */
    s = (struct sandbox){0};
    snprintf(absent, sizeof absent, "%s.absent", open_file);
    sandbox_read_beside(&s, absent);
    assert_int_equal(s.read_count, 1);
    s = (struct sandbox){0};
    snprintf(link, sizeof link, "%s/allowed/link", dir);
    assert_int_equal(symlink(open_file, link), 0);
    sandbox_read_beside(&s, link);
    assert_int_equal(s.read_count, 3);
    assert_true(sandbox_follows(&s, link));
    unlink(link);
}

static void test_softhsm(void **state)
{
    char conf[160], found[160];
    snprintf(conf, sizeof conf, "%s/softhsm2.conf", dir);
    assert_int_equal(setenv("SOFTHSM2_CONF", conf, 1), 0);
    sandbox_softhsm_conf(found, sizeof found);
    assert_string_equal(found, conf);
    sandbox_softhsm_tokens(found, sizeof found, conf); /* no such file */
    assert_string_equal(found, "/var/lib/softhsm/tokens");
    FILE *file = fopen(conf, "w");
    assert_non_null(file);
    fputs("# directories.tokendir = /wrong\nlog.level = ERROR\n directories.tokendir =  /some/folder \n",
          file);
    fclose(file);
    sandbox_softhsm_tokens(found, sizeof found, conf);
    assert_string_equal(found, "/some/folder");
    unlink(conf);
    unsetenv("SOFTHSM2_CONF");
}

/* A kernel that lacks Landlock, played by a filter that says so. */
static void test_old_kernel(void **state)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 444, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    struct sock_fprog program = {4, code};
    struct sandbox s = {0};
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct sandbox_result result;
        struct err err = {0};
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
            prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
            _exit(77);
        }
        _exit(sandbox_enter(&s, &result, &err) && without_landlock(&result) == 0 ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WEXITSTATUS(status) == 77) {
        skip();
    }
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_calls),      cmocka_unit_test(test_sockets),
        cmocka_unit_test(test_files),      cmocka_unit_test(test_too_many_hidden),
        cmocka_unit_test(test_old_kernel), cmocka_unit_test(test_beside_and_system),
        cmocka_unit_test(test_follows),    cmocka_unit_test(test_softhsm),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
