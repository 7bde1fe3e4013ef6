/* The filter: a list of what our code, libc, OpenSSL, libcurl, libevent and PKCS#11 modules were seen to need and
 * their near relatives; everything else is EPERM. tests/unit/base/test_sandbox.c has what must be refused. */
#include "base/sandbox.h"

#ifdef E2EE_HAVE_SECCOMP

#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

static const char *const allowed[] = {
    /* descriptors */
    "read",
    "write",
    "readv",
    "writev",
    "pread64",
    "pwrite64",
    "preadv",
    "pwritev",
    "preadv2",
    "pwritev2",
    "lseek",
    "close",
    "close_range",
    "dup",
    "dup2",
    "dup3",
    "pipe",
    "pipe2",
    "fcntl",
    "sendfile",
    "copy_file_range",
    "splice",
    /* files */
    "open",
    "openat",
    "openat2",
    "creat",
    "stat",
    "lstat",
    "fstat",
    "newfstatat",
    "statx",
    "statfs",
    "fstatfs",
    "access",
    "faccessat",
    "faccessat2",
    "readlink",
    "readlinkat",
    "getcwd",
    "chdir",
    "fchdir",
    "getdents",
    "getdents64",
    "rename",
    "renameat",
    "renameat2",
    "unlink",
    "unlinkat",
    "mkdir",
    "mkdirat",
    "rmdir",
    "link",
    "linkat",
    "symlink",
    "symlinkat",
    "chmod",
    "fchmod",
    "fchmodat",
    "fchmodat2",
    "chown",
    "fchown",
    "lchown",
    "fchownat",
    "umask",
    "utime",
    "utimes",
    "utimensat",
    "futimesat",
    "ftruncate",
    "truncate",
    "fallocate",
    "fsync",
    "fdatasync",
    "sync_file_range",
    "flock",
    "fadvise64",
    "readahead",
    "inotify_init",
    "inotify_init1",
    "inotify_add_watch",
    "inotify_rm_watch",
    /* memory */
    "mmap",
    "munmap",
    "mremap",
    "mprotect",
    "madvise",
    "msync",
    "mincore",
    "brk",
    "mlock",
    "mlock2",
    "mlockall",
    "munlock",
    "munlockall",
    "membarrier",
    "pkey_alloc",
    "pkey_free",
    "pkey_mprotect",
    "memfd_create",
    /* threads, and what a process may know of itself */
    "exit",
    "exit_group",
    "wait4",
    "waitid",
    "getpid",
    "getppid",
    "gettid",
    "getpgrp",
    "getpgid",
    "getsid",
    "getuid",
    "geteuid",
    "getgid",
    "getegid",
    "getresuid",
    "getresgid",
    "getgroups",
    "set_tid_address",
    "set_robust_list",
    "get_robust_list",
    "rseq",
    "futex",
    "futex_waitv",
    "sched_yield",
    "sched_getaffinity",
    "sched_setaffinity",
    "sched_getparam",
    "sched_getscheduler",
    "sched_get_priority_max",
    "sched_get_priority_min",
    "getpriority",
    "getcpu",
    "arch_prctl",
    "getrlimit",
    "setrlimit",
    "prlimit64",
    "getrusage",
    "sysinfo",
    "uname",
    "times",
    "capget",
    "getrandom",
    "seccomp", /* only ever stricter */
    /* signals and time */
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "rt_sigpending",
    "rt_sigtimedwait",
    "rt_sigsuspend",
    "sigaltstack",
    "signalfd",
    "signalfd4",
    "pause",
    "restart_syscall",
    "alarm",
    "clock_gettime",
    "clock_getres",
    "clock_nanosleep",
    "nanosleep",
    "gettimeofday",
    "time",
    "getitimer",
    "setitimer",
    "timer_create",
    "timer_settime",
    "timer_gettime",
    "timer_getoverrun",
    "timer_delete",
    "timerfd_create",
    "timerfd_settime",
    "timerfd_gettime",
    /* events */
    "epoll_create",
    "epoll_create1",
    "epoll_ctl",
    "epoll_wait",
    "epoll_pwait",
    "epoll_pwait2",
    "poll",
    "ppoll",
    "select",
    "pselect6",
    "eventfd",
    "eventfd2",
    /* sockets that are there; making them is below */
    "socketpair",
    "connect",
    "accept",
    "accept4",
    "bind",
    "listen",
    "getsockname",
    "getpeername",
    "getsockopt",
    "setsockopt",
    "sendto",
    "recvfrom",
    "sendmsg",
    "recvmsg",
    "sendmmsg",
    "recvmmsg",
    "shutdown",
#ifdef E2EE_SANITIZED
    "tgkill",
    "ptrace",
    "process_vm_readv",
    "personality",
    "clone",
    "prctl",
    "kill",
#endif
};

/* Helpers of vendor modules, which keep state in shared memory and fork. */
static const char *const with_children[] = {
    "fork",   "vfork",  "clone",     "setsid",          "setpgid",
    "kill",   "tkill",  "tgkill",    "rt_sigqueueinfo", "rt_tgsigqueueinfo",
    "shmget", "shmat",  "shmctl",    "shmdt",           "semget",
    "semop",  "semctl", "semtimedop"};

/* Newer than libc's fallback: the answer must be "no such call". clone's flags can be judged, clone3's cannot. */
static const char *const unknown[] = {"clone3", "io_uring_setup"};

static bool add_names(scmp_filter_ctx filter, uint32_t action, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int number = seccomp_syscall_resolve_name(names[i]);
        if (number == __NR_SCMP_ERROR) {
            continue; /* unknown to this libseccomp, so refused */
        }
        int result = seccomp_rule_add(filter, action, number, 0);
        if (result != 0 && result != -EDOM) { /* EDOM: not of this architecture */
            return false;
        }
    }
    return true;
}
#define ADD_NAMES(filter, action, names) add_names(filter, action, names, sizeof names / sizeof *names)

static bool allow_family(scmp_filter_ctx filter, int family)
{
    return seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
                            SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)family, 0)) == 0;
}

static bool add_sockets(scmp_filter_ctx filter, const struct sandbox *s)
{
    return (!s->unix_sockets || allow_family(filter, AF_UNIX)) &&
           (!s->network || (allow_family(filter, AF_INET) && allow_family(filter, AF_INET6))) &&
           (!(s->netlink || s->network) || allow_family(filter, AF_NETLINK)); /* getaddrinfo, libusb */
}

/* Calls that are judged by an argument. */
static bool add_judged(scmp_filter_ctx filter, const struct sandbox *s)
{
    bool ok = /* typing into the terminal that started us */
        seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1, SCMP_A1(SCMP_CMP_NE, TIOCSTI, 0)) == 0;
    if (!sandbox_is_wide()) {
        ok = ok && seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 1,
                                    SCMP_A0(SCMP_CMP_NE, PR_SET_DUMPABLE, 0)) == 0;
    }
    if (!sandbox_is_wide() && !s->fork) {
        ok = ok &&
             seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
                              SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD)) == 0 &&
             /* abort, pthread_kill: signals to itself */
             seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
                              SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid(), 0)) == 0;
    }
    return ok;
}

bool sandbox_seccomp(const struct sandbox *s, bool *active, struct err *err)
{
    *active = false;
    if (prctl(PR_GET_SECCOMP, 0, 0, 0, 0) < 0) {
        return true; /* a kernel without */
    }
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    if (filter == NULL) {
        return err_set(err, ERR_MEMORY, "no memory for the seccomp filter");
    }
    /* TSYNC: sanitizers have threads of their own already. OPTIMIZE 2: a tree, not a chain of 200 comparisons. */
    bool ok = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1) == 0 &&
              ADD_NAMES(filter, SCMP_ACT_ALLOW, allowed) &&
              ADD_NAMES(filter, SCMP_ACT_ERRNO(ENOSYS), unknown) && add_sockets(filter, s) &&
              add_judged(filter, s) && (!s->fork || ADD_NAMES(filter, SCMP_ACT_ALLOW, with_children));
    if (ok && seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2) != 0) {
        /* older than 2.5: the chain then */
    }
    int result = ok ? seccomp_load(filter) : -ENOMEM;
    seccomp_release(filter);
    *active = result == 0;
    return *active || err_errno(err, ERR_IO, -result, "cannot load the seccomp filter");
}

#else

bool sandbox_seccomp(const struct sandbox *s, bool *active, struct err *err)
{
    *active = false;
    return true;
}

#endif
