#include "hsm/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "hsm/forked.h"
#include "hsm/record.h"
#include "keyipc/start.h"

#define BACKLOG 64

static bool make_address(struct sockaddr_un *address, const char *path, struct err *err)
{
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    int n = snprintf(address->sun_path, sizeof address->sun_path, "%s", path);
    return (n > 0 && n < (int)sizeof address->sun_path) ||
           err_set(err, ERR_CONFIG, "a socket's path has 1 to %zu bytes", sizeof address->sun_path - 1);
}

/* Held from here to the process's end: a socket that is bound and not yet listened on looks as one that a crash has left. */
static bool take_lock(const char *socket_path, struct err *err)
{
    char path[sizeof((struct sockaddr_un *)0)->sun_path + sizeof ".lock"];
    snprintf(path, sizeof path, "%s.lock", socket_path);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return err_errno(err, ERR_IO, errno, "cannot make %s", path);
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        close(fd);
        return err_set(err, ERR_CONFIG, "another keyholder has %s", socket_path);
    }
    forked_close(fd);
    return true;
}

/* A socket file that nobody listens on any more is left from a crash. */
static bool remove_stale(int fd, const struct sockaddr_un *address, struct err *err)
{
    struct stat st;
    if (lstat(address->sun_path, &st) != 0) {
        return true;
    }
    if (!S_ISSOCK(st.st_mode)) {
        return err_set(err, ERR_CONFIG, "%s exists and is no socket", address->sun_path);
    }
    if (connect(fd, (const struct sockaddr *)address, sizeof *address) == 0 || errno != ECONNREFUSED) {
        return err_set(err, ERR_CONFIG, "another keyholder listens on %s", address->sun_path);
    }
    return unlink(address->sun_path) == 0 ||
           err_errno(err, ERR_IO, errno, "cannot remove %s", address->sun_path);
}

static bool set_access(const struct server_options *o, struct err *err)
{
    mode_t mode = 0600;
    if (o->allow_gid_count > 0) {
        mode = 0660;
        if (chown(o->socket_path, (uid_t)-1, o->allow_gid[0]) != 0) {
            return err_errno(err, ERR_CONFIG, errno, "cannot give %s to group %lu", o->socket_path,
                             (unsigned long)o->allow_gid[0]);
        }
    }
    if (o->allow_uid_count > 0) {
        mode = 0666;
    }
    return chmod(o->socket_path, mode) == 0 ||
           err_errno(err, ERR_IO, errno, "cannot set the mode of %s", o->socket_path);
}

int listen_open(const struct server_options *options, struct err *err)
{
    struct sockaddr_un address;
    if (!make_address(&address, options->socket_path, err)) {
        return -1;
    }
    int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool ok = probe >= 0 && fd >= 0;
    if (!ok) {
        err_errno(err, ERR_IO, errno, "cannot make a socket");
    }
    ok = ok && take_lock(options->socket_path, err) && remove_stale(probe, &address, err);
    /* The umask of process_harden (077) makes it 0600 from its first moment. */
    if (ok && bind(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        ok = err_errno(err, ERR_IO, errno, "cannot make the socket %s", options->socket_path);
    }
    ok = ok && set_access(options, err);
    if (probe >= 0) {
        close(probe);
    }
    if (!ok && fd >= 0) {
        close(fd);
        fd = -1;
    }
    forked_close(fd);
    return fd;
}

bool listen_begin(int fd, struct err *err)
{
    return fd < 0 || listen(fd, BACKLOG) == 0 || err_errno(err, ERR_IO, errno, "cannot listen on --socket");
}

void listen_close(const struct server_options *options, int fd)
{
    if (fd >= 0) {
        unlink(options->socket_path);
        forked_forget(fd);
        close(fd);
    }
}

static bool allowed(const struct server_options *o, const struct ucred *peer)
{
    bool ok = peer->uid == geteuid();
    for (size_t i = 0; i < o->allow_uid_count; i++) {
        ok = ok || peer->uid == o->allow_uid[i];
    }
    for (size_t i = 0; i < o->allow_gid_count; i++) {
        ok = ok || peer->gid == o->allow_gid[i];
    }
    return ok;
}

int listen_accept(const struct server_options *options, int fd)
{
    for (;;) {
        struct ucred peer;
        socklen_t len = sizeof peer;
        int accepted = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (accepted < 0) {
            return -1;
        }
        if (getsockopt(accepted, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 && allowed(options, &peer)) {
            return accepted;
        }
        log_warn("refused a connection of pid %ld, uid %lu: not an allowed client", (long)peer.pid,
                 (unsigned long)peer.uid);
        record_stranger(peer.pid, peer.uid, peer.gid, "not an allowed client");
        close(accepted);
    }
}

int listen_receive(int channel, bool *closed)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * 4)];
    } control;
    int fds[4], kept = -1;
    char type = 0;
    struct iovec part = {&type, 1};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    *closed = false;
    ssize_t n = recvmsg(channel, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n <= 0) {
        *closed = n == 0 || (errno != EAGAIN && errno != EINTR);
        return -1;
    }
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c != NULL; c = CMSG_NXTHDR(&message, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        count = count < sizeof fds / sizeof *fds ? count : sizeof fds / sizeof *fds;
        memcpy(fds, CMSG_DATA(c), count * sizeof(int));
        for (size_t i = 0; i < count; i++) {
            if (kept < 0 && type == KEYIPC_START_CONNECTION && count == 1) {
                kept = fds[i];
            } else {
                close(fds[i]);
            }
        }
    }
    return kept;
}
