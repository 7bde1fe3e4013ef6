/* Landlock by its system calls: libc has no functions for them, and the headers of the oldest supported distribution
 * know only the first ABI's names. Numbers and rights: kernel documentation, userspace-api/landlock. */
#include "base/sandbox.h"

#ifdef __linux__

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/mem.h"

#define CREATE_RULESET 444
#define ADD_RULE 445
#define RESTRICT_SELF 446
#define ASK_VERSION 1
#define RULE_PATH 1
#define RULE_PORT 2

#define FS_EXECUTE (UINT64_C(1) << 0)
#define FS_WRITE_FILE (UINT64_C(1) << 1)
#define FS_READ_FILE (UINT64_C(1) << 2)
#define FS_READ_DIR (UINT64_C(1) << 3)
#define FS_REFER (UINT64_C(1) << 13)    /* ABI 2 */
#define FS_TRUNCATE (UINT64_C(1) << 14) /* ABI 3 */
#define FS_ABI_1 ((UINT64_C(1) << 13) - 1)
#define FS_OF_FILES (FS_WRITE_FILE | FS_READ_FILE | FS_TRUNCATE)
#define NET_CONNECT_TCP (UINT64_C(1) << 1)     /* ABI 4 */
#define SCOPE_ABSTRACT_UNIX (UINT64_C(1) << 0) /* ABI 6 */
#define SCOPE_SIGNAL (UINT64_C(1) << 1)

struct ruleset {
    uint64_t fs, net, scoped;
};
struct path_rule {
    uint64_t access;
    int32_t parent;
} __attribute__((packed));
struct port_rule {
    uint64_t access, port;
};

struct builder {
    int fd;
    uint64_t fs;
    char hidden[SANDBOX_PATHS_MAX][PATH_MAX]; /* resolved; "" when there is no such folder */
    size_t hidden_count;
    struct err *err;
};

static bool add_path(struct builder *b, const char *path, uint64_t access)
{
    struct stat st;
    int fd = open(path, O_PATH | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        return true; /* not there, or not for us: nothing to allow */
    }
    bool ok = true;
    if (fstat(fd, &st) == 0 && !S_ISLNK(st.st_mode)) {
        struct path_rule rule = {(S_ISDIR(st.st_mode) ? access : access & FS_OF_FILES) & b->fs, fd};
        ok = syscall(ADD_RULE, b->fd, RULE_PATH, &rule, 0) == 0 ||
             err_errno(b->err, ERR_IO, errno, "cannot allow a path to the sandbox");
    }
    close(fd);
    return ok;
}

/* 0: nothing hidden there; 1: something below; 2: it is hidden itself, or lies in what is. */
static int concerns(const struct builder *b, const char *path)
{
    int worst = 0;
    size_t len = strlen(path);
    len = len == 1 ? 0 : len; /* "/" */
    for (size_t i = 0; i < b->hidden_count; i++) {
        const char *h = b->hidden[i];
        size_t n = strlen(h);
        if (n == 0) {
            continue;
        }
        if (strncmp(path, h, n) == 0 && (path[n] == '/' || path[n] == '\0')) {
            return 2;
        }
        if (strncmp(h, path, len) == 0 && h[len] == '/') {
            worst = 1;
        }
    }
    return worst;
}

/* A rule reaches everything below its folder, so a folder with something hidden in it is allowed entry by entry, as it
 * is now. What is made in it later stays closed. */
static bool allow(struct builder *b, const char *path, uint64_t access, unsigned depth)
{
    int concern = concerns(b, path);
    if (concern == 2) {
        return true;
    }
    if (concern == 0) {
        return add_path(b, path, access);
    }
    DIR *dir = depth < SANDBOX_SPLIT_MAX ? opendir(path) : NULL;
    if (dir == NULL) {
        return true; /* stays closed */
    }
    bool ok = true;
    struct dirent *entry;
    char child[PATH_MAX];
    while (ok && (entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
            continue;
        }
        int n = snprintf(child, sizeof child, "%s/%s", strcmp(path, "/") == 0 ? "" : path, entry->d_name);
        ok = n >= (int)sizeof child || allow(b, child, access, depth + 1); /* too long: stays closed */
    }
    closedir(dir);
    return ok;
}

static bool allow_list(struct builder *b, const char *const *paths, size_t count, uint64_t access)
{
    char resolved[PATH_MAX];
    for (size_t i = 0; i < count; i++) {
        if (realpath(paths[i], resolved) != NULL && !allow(b, resolved, access, 0)) {
            return false;
        }
    }
    return true;
}

static bool allow_ports(struct builder *b, const struct sandbox *s)
{
    for (size_t i = 0; i < s->port_count; i++) {
        struct port_rule rule = {NET_CONNECT_TCP, s->ports[i]};
        if (syscall(ADD_RULE, b->fd, RULE_PORT, &rule, 0) != 0) {
            return err_errno(b->err, ERR_IO, errno, "cannot allow a port to the sandbox");
        }
    }
    return true;
}

/* A file that is not there yet is hidden by its folder and name. */
static void resolve_hidden(char out[static PATH_MAX], const char *path)
{
    char folder[PATH_MAX], real[PATH_MAX];
    const char *slash = strrchr(path, '/');
    if (realpath(path, out) != NULL) {
        return;
    }
    *out = '\0';
    if (slash == NULL || slash - path >= PATH_MAX) {
        return;
    }
    snprintf(folder, sizeof folder, "%.*s", slash == path ? 1 : (int)(slash - path), path);
    if (realpath(folder, real) == NULL ||
        snprintf(out, PATH_MAX, "%s%s", strcmp(real, "/") == 0 ? "" : real, slash) >= PATH_MAX) {
        *out = '\0';
    }
}

static bool fill(struct builder *b, const struct sandbox *s, bool net)
{
    b->hidden_count = s->hidden_count;
    for (size_t i = 0; i < s->hidden_count; i++) {
        resolve_hidden(b->hidden[i], s->hidden[i]);
    }
    return (s->any_file || (allow_list(b, s->read, s->read_count, FS_READ_FILE | FS_READ_DIR) &&
                            allow_list(b, s->write, s->write_count, b->fs & ~FS_EXECUTE))) &&
           (!net || allow_ports(b, s));
}

int sandbox_landlock_abi(void)
{
    long version = syscall(CREATE_RULESET, NULL, 0, ASK_VERSION);
    return version > 0 ? (int)version : 0; /* ENOSYS, or EOPNOTSUPP: switched off at boot */
}

static bool enter(struct builder *b, const struct sandbox *s, const struct ruleset *rules, size_t size)
{
    b->fs = rules->fs;
    b->fd = (int)syscall(CREATE_RULESET, rules, size, 0);
    if (b->fd < 0) {
        return err_errno(b->err, ERR_IO, errno, "cannot make Landlock rules");
    }
    bool ok = fill(b, s, rules->net != 0);
    if (ok && syscall(RESTRICT_SELF, b->fd, 0) != 0) {
        ok = err_errno(b->err, ERR_IO, errno, "cannot enter Landlock");
    }
    close(b->fd);
    return ok;
}

bool sandbox_landlock(const struct sandbox *s, int *abi, struct err *err)
{
    int version = sandbox_landlock_abi();
    *abi = 0;
    if (version == 0) {
        return true;
    }
    bool net = version >= 4 && s->network && s->port_count > 0;
    struct ruleset rules = {.fs = s->any_file ? FS_EXECUTE : FS_ABI_1};
    if (!s->any_file) {
        rules.fs |= (version >= 2 ? FS_REFER : 0) | (version >= 3 ? FS_TRUNCATE : 0);
    }
    rules.net = net ? NET_CONNECT_TCP : 0;
    rules.scoped = version >= 6 ? SCOPE_ABSTRACT_UNIX | SCOPE_SIGNAL : 0;
    size_t size = version >= 6 ? sizeof rules : version >= 4 ? 16 : 8;
    struct builder *b = mem_calloc(1, sizeof *b); /* 200 kB, for a moment */
    if (b == NULL) {
        return err_set(err, ERR_MEMORY, "no memory for Landlock rules");
    }
    b->err = err;
    bool ok = enter(b, s, &rules, size);
    mem_free(b);
    *abi = ok ? version : 0;
    return ok;
}

#else

int sandbox_landlock_abi(void)
{
    return 0;
}

bool sandbox_landlock(const struct sandbox *s, int *abi, struct err *err)
{
    *abi = 0;
    return true;
}

#endif
