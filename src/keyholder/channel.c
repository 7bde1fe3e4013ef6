/* The channel between supervisor and proxy: link.h. A packet is type (1), reason (1), number of descriptors (2),
 * generation (4), big-endian. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "keyholder/link.h"

#define PACKET_BYTES 8

union ancillary {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(KEYHOLDER_CHANNEL_FDS * sizeof(int))];
};

static bool well_formed(const struct keyholder_channel_message *m)
{
    switch (m->type) {
    case KEYHOLDER_CHANNEL_UP:
        return m->fd_count >= 2 && m->fd_count <= KEYHOLDER_CHANNEL_FDS && m->generation > 0 &&
               m->reason == 0;
    case KEYHOLDER_CHANNEL_DOWN:
        return m->fd_count == 0 && (m->reason == ERR_TOKEN || m->reason == ERR_PIN);
    default:
        return m->type == KEYHOLDER_CHANNEL_HUNG && m->fd_count == 0 && m->reason == 0;
    }
}

bool keyholder_channel_send(int channel, const struct keyholder_channel_message *m, struct err *err)
{
    if (!well_formed(m)) {
        return err_set(err, ERR_INTERNAL, "message %u to the other end of the keyholder channel has no form",
                       m->type);
    }
    uint8_t packet[PACKET_BYTES] = {m->type,
                                    m->reason,
                                    (uint8_t)(m->fd_count >> 8),
                                    (uint8_t)m->fd_count,
                                    (uint8_t)(m->generation >> 24),
                                    (uint8_t)(m->generation >> 16),
                                    (uint8_t)(m->generation >> 8),
                                    (uint8_t)m->generation};
    union ancillary control;
    struct iovec part = {packet, sizeof packet};
    struct msghdr h = {.msg_iov = &part, .msg_iovlen = 1};
    if (m->fd_count > 0) {
        memset(&control, 0, sizeof control);
        h.msg_control = control.bytes;
        h.msg_controllen = CMSG_SPACE(m->fd_count * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&h);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(m->fd_count * sizeof(int));
        memcpy(CMSG_DATA(c), m->fds, m->fd_count * sizeof(int));
    }
    ssize_t n;
    do {
        n = sendmsg(channel, &h, MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    if (n == PACKET_BYTES) {
        return true;
    }
    bool full = n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
    return err_errno(err, full ? ERR_BUSY : ERR_IO, n < 0 ? errno : EMSGSIZE,
                     "cannot write to the keyholder channel");
}

/* Descriptors that came, into m; those past its room are closed. False: the message had more than rights. */
static bool take_fds(struct keyholder_channel_message *m, struct msghdr *h)
{
    bool ok = true;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c != NULL; c = CMSG_NXTHDR(h, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) {
            ok = false;
            continue;
        }
        size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
            if (m->fd_count < KEYHOLDER_CHANNEL_FDS) {
                m->fds[m->fd_count++] = fd;
            } else {
                close(fd);
                ok = false;
            }
        }
    }
    return ok;
}

bool keyholder_channel_receive(int channel, struct keyholder_channel_message *m, bool *got, struct err *err)
{
    uint8_t p[PACKET_BYTES + 1];
    union ancillary control;
    struct iovec part = {p, sizeof p};
    struct msghdr h = {.msg_iov = &part,
                       .msg_iovlen = 1,
                       .msg_control = control.bytes,
                       .msg_controllen = sizeof control.bytes};
    ssize_t n;
    memset(m, 0, sizeof *m);
    *got = false;
    do {
        n = recvmsg(channel, &h, MSG_CMSG_CLOEXEC);
    } while (n < 0 && errno == EINTR);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        return true;
    }
    if (n < 0) {
        return err_errno(err, ERR_IO, errno, "cannot read from the keyholder channel");
    }
    bool ok = take_fds(m, &h) && (h.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) == 0 && n == PACKET_BYTES;
    if (ok) {
        m->type = p[0];
        m->reason = p[1];
        m->generation = (uint32_t)p[4] << 24 | (uint32_t)p[5] << 16 | (uint32_t)p[6] << 8 | p[7];
        ok = m->fd_count == ((unsigned)p[2] << 8 | p[3]) && well_formed(m);
    }
    if (!ok) {
        for (unsigned i = 0; i < m->fd_count; i++) {
            close(m->fds[i]);
        }
        memset(m, 0, sizeof *m);
        return n == 0 ? err_set(err, ERR_IO, "the other end of the keyholder channel is gone")
                      : err_set(err, ERR_PROTOCOL, "a malformed message on the keyholder channel");
    }
    *got = true;
    return true;
}
