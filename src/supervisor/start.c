#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/spawn.h"
#include "keyholder/link.h"
#include "keyipc/start.h"
#include "supervisor/supervisor_internal.h"

static bool make_pair(int pair[static 2], int type, struct err *err)
{
    return socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair) == 0 ||
           err_errno(err, ERR_IO, errno, "cannot make a socket pair");
}

bool supervisor_start_keyholder(struct supervisor *s, struct err *err)
{
    int pair[2];
    if (!make_pair(pair, SOCK_SEQPACKET, err)) {
        return false;
    }
    bool ok = spawn_process(&s->keyholder.pid,
                            &(struct spawn){.argv = s->options->keyholder,
                                            .allowed = spawn_keyholder_variables,
                                            .more = s->options->module_env,
                                            .more_count = s->options->module_env_count,
                                            .fds = &pair[1],
                                            .fd_count = 1,
                                            .first = SUPERVISOR_KEYHOLDER_FD},
                            err);
    close(pair[1]);
    if (!ok) {
        close(pair[0]);
        return false;
    }
    s->keyholder.fd = pair[0];
    s->keyholder.ready = false;
    s->keyholder.started_ns = clock_boot_ns();
    s->keyholder.restart_ns = 0;
    s->announced = false;
    return true;
}

bool supervisor_start_proxy(struct supervisor *s, struct err *err)
{
    int channel[2], start[2];
    if (!make_pair(channel, SOCK_SEQPACKET, err)) {
        return false;
    }
    if (!make_pair(start, SOCK_STREAM, err)) {
        close(channel[0]);
        close(channel[1]);
        return false;
    }
    int fds[2] = {channel[1], start[1]};
    bool ok = spawn_process(&s->proxy.pid,
                            &(struct spawn){.argv = s->options->proxy,
                                            .allowed = spawn_proxy_variables,
                                            .fds = fds,
                                            .fd_count = 2,
                                            .first = SUPERVISOR_CHANNEL_FD},
                            err);
    close(channel[1]);
    close(start[1]);
    if (!ok || !kept_key_send(&s->api_key, start[0], err)) {
        close(channel[0]);
        close(start[0]);
        return false;
    }
    fcntl(channel[0], F_SETFL, O_NONBLOCK);
    s->proxy_channel = channel[0];
    s->proxy.fd = start[0];
    s->proxy.ready = false;
    s->proxy.started_ns = clock_boot_ns();
    s->proxy.restart_ns = 0;
    s->announced = false;
    return true;
}

/* Gives the keyholder its end of a connection; the caller closes its own copy. */
static bool send_connection(int channel, int connection, struct err *err)
{
    char byte = KEYIPC_START_CONNECTION;
    struct iovec data = {&byte, 1};
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1};
    memset(&control, 0, sizeof control);
    message.msg_control = control.bytes;
    message.msg_controllen = sizeof control.bytes;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof connection);
    memcpy(CMSG_DATA(header), &connection, sizeof connection);
    ssize_t n;
    do {
        n = sendmsg(channel, &message, MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    return n == 1 || err_errno(err, ERR_IO, errno, "cannot hand a connection to the keyholder");
}

void supervisor_introduce(struct supervisor *s)
{
    struct keyholder_channel_message up = {.type = KEYHOLDER_CHANNEL_UP, .fd_count = 1 + s->options->workers};
    struct err err = {0};
    bool ok = true;
    unsigned made = 0;
    if (!s->keyholder.ready || s->proxy.pid == 0 || s->announced || s->stopping) {
        return;
    }
    for (; ok && made < up.fd_count; made += ok) {
        int pair[2];
        ok = make_pair(pair, SOCK_STREAM, &err);
        if (!ok) {
            break;
        }
        up.fds[made] = pair[0];
        ok = send_connection(s->keyholder.fd, pair[1], &err);
        close(pair[1]);
        if (!ok) {
            close(pair[0]);
        }
    }
    up.generation = ++s->generation;
    s->announced = ok && keyholder_channel_send(s->proxy_channel, &up, &err);
    if (!s->announced) {
        log_error("cannot connect proxy and keyholder: %s", err.message);
    }
    for (unsigned i = 0; i < made; i++) {
        close(up.fds[i]);
    }
}
