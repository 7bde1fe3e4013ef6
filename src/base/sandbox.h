/* What a process of ours gives up for good before it meets hostile input: no_new_privs, a seccomp filter made of a list
 * of allowed calls, and Landlock where the kernel knows it. Linux only; elsewhere, and on kernels that lack a part,
 * the result says so and the process goes on. docs/THREAT-MODEL.md, "Sandbox", has the same in words. */
#ifndef E2EE_BASE_SANDBOX_H
#define E2EE_BASE_SANDBOX_H

#include <stdint.h>

#include "base/err.h"

#define SANDBOX_PATHS_MAX 48
#define SANDBOX_PORTS_MAX 16
#define SANDBOX_TEXT_MAX 16384
#define SANDBOX_SPLIT_MAX 12 /* folders deep that a hidden file may lie below an allowed one */

/* All zero: nothing is allowed but what every program needs. Fill the lists by the functions below. */
struct sandbox {
    char texts[SANDBOX_TEXT_MAX]; /* the paths, one after another */
    size_t texts_len;
    const char *read[SANDBOX_PATHS_MAX];   /* files and whole folders that may be read */
    const char *write[SANDBOX_PATHS_MAX];  /* folders (or files) in which all but execution is allowed */
    const char *hidden[SANDBOX_PATHS_MAX]; /* stay closed although they lie below one of those */
    size_t read_count, write_count, hidden_count;
    bool hidden_overflow;
    bool any_file; /* file access is not narrowed: what a vendor's module needs is not known */
    bool fork;     /* may make child processes (never execute a program), and signal others */
    bool
        unix_sockets; /* may make Unix sockets; without it only use and accept what it was given, and pairs */
    bool netlink;     /* may ask the kernel for devices and addresses; comes with network */
    bool network;     /* may make IP sockets */
    uint16_t
        ports[SANDBOX_PORTS_MAX]; /* with network: TCP goes out to these alone (any when there are none) */
    size_t port_count;
};

struct sandbox_result {
    bool seccomp;
    int landlock; /* the kernel's ABI: 0 none, 4 and above know TCP */
};

/* Each appends a copy; NULL and "" are left out. What does not fit is left out too, which only makes it stricter; a hidden
 * path that does not fit makes sandbox_enter fail. */
void sandbox_read(struct sandbox *s, const char *path);
void sandbox_write(struct sandbox *s, const char *path);
void sandbox_hide(struct sandbox *s, const char *path);
/* A file that somebody may replace while we run: its folder is allowed, for a rule belongs to the file and not to its
 * name; where it is a link, the folders of both. Where a folder is wide (/, /tmp, $HOME and their like) the file alone. */
void sandbox_read_beside(struct sandbox *s, const char *file);
/* Whether another file that takes file's place (a link: its target's) later can be read too: not in a wide folder, nor in
 * one that something hidden lies below. */
bool sandbox_follows(const struct sandbox *s, const char *file) MUST_CHECK;
/* What libc, OpenSSL and dlopen read: /usr, /lib, /etc, the process's own /proc, the CPUs, random devices. */
void sandbox_read_system(struct sandbox *s);

/* SoftHSM's configuration file, as it looks for it (SOFTHSM2_CONF, ~/.config, /etc); "" when there is none. */
void sandbox_softhsm_conf(char *out, size_t cap);
/* The folder of its tokens by that file. */
void sandbox_softhsm_tokens(char *out, size_t cap, const char *conf);

/* From now on, for this thread and those that it starts (the seccomp filter: for all there are): to be called before there are others. Refused calls get EPERM
 * (EACCES from Landlock), calls newer than the list ENOSYS or EPERM; nothing is killed. Paths that do not exist are
 * left out. Not to be undone. Fails (ERR_IO, ERR_MEMORY, ERR_CONFIG) only where the kernel has the means and they
 * could not be used: the process must not go on then. */
bool sandbox_enter(const struct sandbox *s, struct sandbox_result *result, struct err *err) MUST_CHECK;

/* Logs what holds, and warns of what does not. profile: whose sandbox it is, in a few words. */
void sandbox_announce(const struct sandbox_result *result, const char *profile);

/* Landlock's ABI on this kernel; 0: none. */
int sandbox_landlock_abi(void);
/* Are these builds' filters wider? True with sanitizers: they trace their own process when it ends. */
bool sandbox_is_wide(void);

/* The two halves, for sandbox_enter and its tests. */
bool sandbox_landlock(const struct sandbox *s, int *abi, struct err *err) MUST_CHECK;
bool sandbox_seccomp(const struct sandbox *s, bool *active, struct err *err) MUST_CHECK;

#endif
