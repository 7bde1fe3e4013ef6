/* What a sandboxed process may try, each as a function that says whether it worked; and a child that enters a sandbox, tries a list and
 * reports. */
#ifndef E2EE_TESTS_ATTEMPTS_H
#define E2EE_TESTS_ATTEMPTS_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/sandbox.h"

enum attempt_result {
    MUST_FAIL,
    MUST_WORK,
    FAILS_UNLESS_WIDE, /* builds with sanitizers allow it */
    FAILS_BY_LANDLOCK, /* where the kernel has it */
    FAILS_BY_PORT      /* and knows TCP */
};

struct attempt {
    const char *name;
    bool (*works)(const char *path);
    const char *path;
    enum attempt_result want;
};

static inline bool attempt_exec(const char *path)
{
    static char name[] = "true";
    char *const argv[] = {name, NULL};
    execve("/bin/true", argv, NULL);
    syscall(SYS_execveat, AT_FDCWD, "/bin/true", argv, NULL, 0);
    return false; /* if it does, the report is missing */
}

/* A program that the process wrote itself, without a name. */
static inline bool attempt_exec_memory(const char *path)
{
    static char name[] = "x";
    char *const argv[] = {name, NULL};
    int fd = (int)syscall(SYS_memfd_create, "x", 0), from = open("/bin/true", O_RDONLY);
    char data[4096];
    for (ssize_t n; from >= 0 && (n = read(from, data, sizeof data)) > 0;) {
        if (write(fd, data, (size_t)n) != n) {
            break;
        }
    }
    syscall(SYS_execveat, fd, "", argv, NULL, AT_EMPTY_PATH);
    return false;
}

static inline bool attempt_fork(const char *path)
{
    pid_t pid = fork();
    if (pid == 0) {
        _exit(0);
    }
    return pid > 0 && waitpid(pid, NULL, 0) == pid;
}

static inline void *attempt_nothing(void *arg)
{
    return arg;
}

static inline bool attempt_thread(const char *path)
{
    pthread_t thread;
    return pthread_create(&thread, NULL, attempt_nothing, NULL) == 0 && pthread_join(thread, NULL) == 0;
}

static inline bool attempt_trace(const char *path)
{
    return ptrace(PTRACE_ATTACH, getppid(), NULL, NULL) == 0;
}

static inline bool attempt_memory_of_parent(const char *path)
{
    char name[64];
    snprintf(name, sizeof name, "/proc/%ld/mem", (long)getppid());
    int fd = open(name, O_RDWR);
    return fd >= 0 && close(fd) == 0;
}

static inline bool attempt_signal(const char *path)
{
    return kill(getppid(), 0) == 0 || syscall(SYS_tgkill, getppid(), getppid(), 0) == 0;
}

static inline bool attempt_socket(int family, int type)
{
    int fd = socket(family, type, 0);
    return fd >= 0 && close(fd) == 0;
}

static inline bool attempt_unix(const char *path)
{
    return attempt_socket(AF_UNIX, SOCK_STREAM);
}

static inline bool attempt_inet(const char *path)
{
    return attempt_socket(AF_INET, SOCK_STREAM) && attempt_socket(AF_INET6, SOCK_STREAM) &&
           attempt_socket(AF_INET, SOCK_DGRAM);
}

static inline bool attempt_any_inet(const char *path)
{
    return attempt_socket(AF_INET, SOCK_STREAM) || attempt_socket(AF_INET6, SOCK_STREAM) ||
           attempt_socket(AF_INET, SOCK_DGRAM) || attempt_socket(AF_INET6, SOCK_DGRAM);
}

static inline bool attempt_netlink(const char *path)
{
    return attempt_socket(AF_NETLINK, SOCK_RAW);
}

static inline bool attempt_odd_socket(const char *path)
{
    return attempt_socket(AF_PACKET, SOCK_RAW) || attempt_socket(38, SOCK_SEQPACKET) /* AF_ALG */ ||
           attempt_socket(40, SOCK_STREAM) /* AF_VSOCK */;
}

static inline bool attempt_pair(const char *path)
{
    int pair[2];
    return socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0 && close(pair[0]) == 0 && close(pair[1]) == 0;
}

/* To the port on this machine that path says. */
static inline bool attempt_connect(const char *path)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int port = 0, fd = socket(AF_INET, SOCK_STREAM, 0);
    if (sscanf(path, "%d", &port) != 1) {
        return false;
    }
    to.sin_port = htons((uint16_t)port);
    bool ok = fd >= 0 && (connect(fd, (struct sockaddr *)&to, sizeof to) == 0 || errno == ECONNREFUSED);
    if (fd >= 0) {
        close(fd);
    }
    return ok;
}

static inline bool attempt_name(const char *path)
{
    struct addrinfo *found = NULL, hints = {.ai_socktype = SOCK_STREAM};
    bool ok = getaddrinfo("localhost", "443", &hints, &found) == 0;
    if (ok) {
        freeaddrinfo(found);
    }
    return ok;
}

static inline bool attempt_open(const char *path, int flags)
{
    int fd = open(path, flags, 0600);
    return fd >= 0 && close(fd) == 0;
}

static inline bool attempt_read(const char *path)
{
    return attempt_open(path, O_RDONLY);
}

static inline bool attempt_write(const char *path)
{
    return attempt_open(path, O_WRONLY | O_CREAT);
}

/* path: a folder, in which a file is made, renamed and removed. */
static inline bool attempt_work_in(const char *path)
{
    char one[256], two[256];
    snprintf(one, sizeof one, "%s/attempt-1", path);
    snprintf(two, sizeof two, "%s/attempt-2", path);
    return attempt_write(one) && rename(one, two) == 0 && attempt_read(two) && unlink(two) == 0;
}

/* path becomes readable by another name. */
static inline bool attempt_link(const char *path)
{
    char to[256];
    snprintf(to, sizeof to, "%s.link", path);
    return link(path, to) == 0;
}

static inline bool attempt_is_right(const struct attempt *a, const struct sandbox_result *r, bool works)
{
    switch (a->want) {
    case MUST_FAIL:
        return !works;
    case MUST_WORK:
        return works;
    case FAILS_UNLESS_WIDE:
        return !works || sandbox_is_wide();
    case FAILS_BY_LANDLOCK:
        return !works || r->landlock == 0;
    case FAILS_BY_PORT:
        return !works || r->landlock < 4;
    }
    return false;
}

/* A child enters *s and tries all. The number of wrong ones; -1: it could not, or did not come to its end. */
static inline int attempts_run(const struct sandbox *s, const struct attempt *list, size_t count)
{
    int pipes[2], status, wrong = -1;
    pid_t pid = pipe(pipes) == 0 ? fork() : -1;
    if (pid == 0) {
        struct sandbox_result result;
        struct err err = {0};
        int bad = sandbox_enter(s, &result, &err) ? 0 : 1000;
        for (size_t i = 0; bad < 1000 && i < count; i++) {
            bool works = list[i].works(list[i].path);
            int code = errno;
            if (!attempt_is_right(&list[i], &result, works)) {
                dprintf(STDERR_FILENO, "%s %s: %s (%s)\n", list[i].name,
                        list[i].path != NULL ? list[i].path : "", works ? "worked" : "failed",
                        works ? "" : strerror(code));
                bad++;
            }
        }
        _exit(write(pipes[1], &bad, sizeof bad) == (ssize_t)sizeof bad ? 0 : 1);
    }
    if (pid > 0) {
        close(pipes[1]);
        if (read(pipes[0], &wrong, sizeof wrong) != (ssize_t)sizeof wrong) {
            wrong = -1;
        }
        close(pipes[0]);
        waitpid(pid, &status, 0);
    }
    return wrong;
}

#endif
