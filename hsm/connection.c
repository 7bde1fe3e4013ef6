#include "hsm/connection.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "hsm/forked.h"
#include "hsm/record.h"

#define READ_BYTES 16384
#define HELLO_S 10

struct connection *connection_new(int fd, uint64_t id, struct err *err)
{
    struct ucred peer = {0};
    socklen_t len = sizeof peer;
    int flags = fcntl(fd, F_GETFL);
    struct connection *c = NULL;
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 ||
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0) {
        err_errno(err, ERR_IO, errno, "a new connection");
    } else if ((c = mem_calloc(1, sizeof *c)) == NULL) {
        err_set(err, ERR_MEMORY, "no memory for a connection");
    }
    if (c == NULL) {
        close(fd);
        return NULL;
    }
    c->fd = fd;
    forked_close(fd);
    c->id = id;
    c->pid = peer.pid;
    c->uid = peer.uid;
    c->gid = peer.gid;
    c->hello_due_s = clock_boot_s() + HELLO_S;
    buf_init(&c->in, CONNECTION_IN_BYTES);
    buf_init(&c->out, CONNECTION_OUT_BYTES);
    return c;
}

void connection_free(struct connection *c)
{
    forked_forget(c->fd);
    close(c->fd);
    buf_free(&c->in);
    buf_free(&c->out);
    mem_free_wipe(c);
}

bool connection_may_handle(const struct connection *c)
{
    return (c->state == CONNECTION_NEW || c->state == CONNECTION_READY) &&
           c->pending < LIMIT_KEYIPC_PENDING && c->out.len < CONNECTION_OUT_PAUSE_BYTES;
}

bool connection_wants_read(const struct connection *c)
{
    return c->in.len < CONNECTION_IN_BYTES && connection_may_handle(c);
}

bool connection_read(struct connection *c)
{
    size_t room = CONNECTION_IN_BYTES - c->in.len;
    room = room < READ_BYTES ? room : READ_BYTES;
    if (room == 0) {
        return true;
    }
    if (!buf_reserve(&c->in, room)) {
        connection_cut(c, "no memory to read from it");
        return true;
    }
    ssize_t n = recv(c->fd, c->in.data + c->in.len, room, MSG_DONTWAIT);
    if (n > 0) {
        c->in.len += (size_t)n;
    }
    return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

bool connection_write(struct connection *c)
{
    if (c->out.len == 0) {
        return true;
    }
    ssize_t n = send(c->fd, c->out.data, c->out.len, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n > 0) {
        buf_consume(&c->out, (size_t)n);
    }
    return n >= 0 || errno == EAGAIN || errno == EINTR;
}

void connection_cut(struct connection *c, const char *why)
{
    if (c->state != CONNECTION_DEAD) {
        log_warn("connection %llu (pid %ld, uid %lu) is cut: %s", (unsigned long long)c->id, (long)c->pid,
                 (unsigned long)c->uid, why);
        record_stranger(c->pid, c->uid, c->gid, why);
        c->state = CONNECTION_DEAD;
    }
}

void connection_answer(struct connection *c, const struct keyipc_message *m)
{
    struct err err = {0};
    if (c->state != CONNECTION_DEAD && !keyipc_encode(&c->out, m, &err)) {
        connection_cut(c, err.message);
    }
}

void connection_answer_empty(struct connection *c, uint8_t op, uint32_t request_id)
{
    struct keyipc_message m = {.op = op | KEYIPC_ANSWER, .request_id = request_id};
    connection_answer(c, &m);
}

void connection_answer_error(struct connection *c, uint32_t request_id, const struct err *why)
{
    struct keyipc_message m = {.op = KEYIPC_ERROR, .request_id = request_id};
    m.u.error.kind = (uint8_t)(why->kind != ERR_NONE ? why->kind : ERR_INTERNAL);
    snprintf(m.u.error.message, sizeof m.u.error.message, "%.*s", (int)sizeof m.u.error.message - 1,
             why->message);
    connection_answer(c, &m);
}
