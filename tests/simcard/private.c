/* Loaded before a pcscd of a test's own (LD_PRELOAD), so that nothing on the host is touched: its files and its socket, which it has in
 * /run/pcscd, are in $PCSCD_DIR, and where vpcd would listen on every address, port as configured, it listens on a free port of
 * the loopback, whose number is then in $PCSCD_DIR/port.CONFIGURED. */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define THEIRS "/run/pcscd"

/* The next definition of a function, into a pointer of its type. */
#define NEXT(pointer, name) (*(void **)(&(pointer)) = dlsym(RTLD_NEXT, name))

static const char *ours(const char *path, char *room)
{
    const char *dir = getenv("PCSCD_DIR");
    if (dir == NULL || strncmp(path, THEIRS, strlen(THEIRS)) != 0) {
        return path;
    }
    snprintf(room, PATH_MAX, "%s%s", dir, path + strlen(THEIRS));
    return room;
}

int mkdir(const char *path, mode_t mode)
{
    char room[PATH_MAX];
    int (*next)(const char *, mode_t);
    NEXT(next, "mkdir");
    return next(ours(path, room), mode);
}

int chmod(const char *path, mode_t mode)
{
    char room[PATH_MAX];
    int (*next)(const char *, mode_t);
    NEXT(next, "chmod");
    return next(ours(path, room), mode);
}

int remove(const char *path)
{
    char room[PATH_MAX];
    int (*next)(const char *);
    NEXT(next, "remove");
    return next(ours(path, room));
}

int stat(const char *restrict path, struct stat *restrict st)
{
    char room[PATH_MAX];
    int (*next)(const char *, struct stat *);
    NEXT(next, "stat");
    return next(ours(path, room), st);
}

int stat64(const char *restrict path, struct stat64 *restrict st)
{
    char room[PATH_MAX];
    int (*next)(const char *, struct stat64 *);
    NEXT(next, "stat64");
    return next(ours(path, room), st);
}

FILE *fopen(const char *restrict path, const char *restrict mode)
{
    char room[PATH_MAX];
    FILE *(*next)(const char *, const char *);
    NEXT(next, "fopen");
    return next(ours(path, room), mode);
}

int open(const char *path, int flags, ...)
{
    char room[PATH_MAX];
    mode_t mode = 0;
    int (*next)(const char *, int, ...);
    if ((flags & O_CREAT) != 0) {
        va_list rest;
        va_start(rest, flags);
        mode = va_arg(rest, mode_t);
        va_end(rest);
    }
    NEXT(next, "open");
    return next(ours(path, room), flags, mode);
}

/* What a pcscd that was built for large files calls, as Debian 13's is. */
int open64(const char *path, int flags, ...) __attribute__((alias("open")));
FILE *fopen64(const char *restrict path, const char *restrict mode) __attribute__((alias("fopen")));

static void note_port(int fd, unsigned configured)
{
    struct sockaddr_in bound;
    socklen_t len = sizeof bound;
    char path[PATH_MAX], partial[PATH_MAX + 8];
    const char *dir = getenv("PCSCD_DIR");
    if (dir == NULL || getsockname(fd, (struct sockaddr *)&bound, &len) != 0) {
        return;
    }
    snprintf(path, sizeof path, "%s/port.%u", dir, configured);
    snprintf(partial, sizeof partial, "%s.new", path);
    FILE *f = fopen(partial, "w");
    if (f != NULL) {
        fprintf(f, "port=%u\n", ntohs(bound.sin_port));
        fclose(f);
        rename(partial, path);
    }
}

int bind(int fd, const struct sockaddr *address, socklen_t len)
{
    int (*next)(int, const struct sockaddr *, socklen_t);
    NEXT(next, "bind");
    if (address->sa_family == AF_UNIX) {
        struct sockaddr_un moved;
        char room[PATH_MAX];
        const char *path = ours(((const struct sockaddr_un *)address)->sun_path, room);
        memset(&moved, 0, sizeof moved);
        moved.sun_family = AF_UNIX;
        snprintf(moved.sun_path, sizeof moved.sun_path, "%.*s", (int)sizeof moved.sun_path - 1, path);
        return next(fd, (const struct sockaddr *)&moved, sizeof moved);
    }
    if (address->sa_family == AF_INET) {
        struct sockaddr_in local = *(const struct sockaddr_in *)address;
        unsigned configured = ntohs(local.sin_port);
        local.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        local.sin_port = 0;
        int result = next(fd, (const struct sockaddr *)&local, sizeof local);
        if (result == 0) {
            note_port(fd, configured);
        }
        return result;
    }
    return next(fd, address, len);
}
