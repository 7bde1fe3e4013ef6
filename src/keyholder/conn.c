#include "keyholder/conn.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define IN_BYTES 65536
#define OUT_FIRST 16384
#define OUT_MAX (1u << 20) /* LIMIT_KEYIPC_PENDING requests, twice over */

bool keyholder_conn_init(struct keyholder_conn *c, struct err *err)
{
    c->fd = -1;
    c->at = 0;
    c->gate = 0;
    buf_init(&c->in, IN_BYTES);
    buf_init(&c->out, OUT_MAX);
    if (!buf_reserve(&c->in, IN_BYTES) || !buf_reserve(&c->out, OUT_FIRST)) {
        keyholder_conn_free(c);
        return err_set(err, ERR_MEMORY, "no memory for a connection to the keyholder");
    }
    return true;
}

void keyholder_conn_free(struct keyholder_conn *c)
{
    keyholder_conn_close(c);
    buf_free(&c->in);
    buf_free(&c->out);
}

void keyholder_conn_open(struct keyholder_conn *c, int fd)
{
    keyholder_conn_close(c);
    c->fd = fd;
    c->gate = SIZE_MAX;
}

void keyholder_conn_close(struct keyholder_conn *c)
{
    if (c->fd >= 0) {
        close(c->fd);
    }
    c->fd = -1;
    c->at = 0;
    buf_reset(&c->in);
    buf_reset(&c->out);
}

/* By hand: a buffer that fails to grow loses what it holds, and with it requests that are counted as sent. */
static bool make_room(struct keyholder_conn *c, struct err *err)
{
    struct buf *out = &c->out, bigger;
    if (out->cap - out->len >= LIMIT_KEYIPC_FRAME_BYTES) {
        return true;
    }
    if (out->cap >= OUT_MAX) {
        return err_set(err, ERR_BUSY, "the keyholder takes no more requests");
    }
    buf_init(&bigger, OUT_MAX);
    if (!buf_reserve(&bigger, out->cap * 2)) {
        return err_set(err, ERR_MEMORY, "no memory for a request to the keyholder");
    }
    if (out->len > 0) {
        memcpy(bigger.data, out->data, out->len);
        bigger.len = out->len;
    }
    buf_move(out, &bigger);
    return true;
}

bool keyholder_conn_put(struct keyholder_conn *c, const struct keyipc_message *m, struct err *err)
{
    return make_room(c, err) && keyipc_encode(&c->out, m, err);
}

bool keyholder_conn_hello(struct keyholder_conn *c, uint8_t role, uint8_t custody, uint32_t max_key_age_s,
                          const uint8_t join[static KEYIPC_JOIN_BYTES], uint32_t request_id, struct err *err)
{
    struct keyipc_message m = {.op = KEYIPC_HELLO, .request_id = request_id};
    m.u.hello = (struct keyipc_hello){.role = role, .custody = custody, .max_key_age_s = max_key_age_s};
    memcpy(m.u.hello.join, join, KEYIPC_JOIN_BYTES);
    bool ok = keyholder_conn_put(c, &m, err);
    c->gate = c->out.len;
    keyipc_message_clear(&m);
    return ok;
}

bool keyholder_conn_wants_write(const struct keyholder_conn *c)
{
    return c->fd >= 0 && c->out.len > 0 && c->gate > 0;
}

bool keyholder_conn_flush(struct keyholder_conn *c, struct err *err)
{
    while (keyholder_conn_wants_write(c)) {
        size_t len = c->out.len < c->gate ? c->out.len : c->gate;
        ssize_t n = send(c->fd, c->out.data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            return true;
        }
        if (n < 0) {
            return err_errno(err, ERR_IO, errno, "cannot write to the keyholder");
        }
        buf_consume(&c->out, (size_t)n);
        if (c->gate != SIZE_MAX) {
            c->gate -= (size_t)n;
        }
    }
    return true;
}

bool keyholder_conn_fill(struct keyholder_conn *c, struct err *err)
{
    ssize_t n;
    do {
        n = recv(c->fd, c->in.data + c->in.len, IN_BYTES - c->in.len, MSG_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    if (n > 0) {
        c->in.len += (size_t)n;
        return true;
    }
    if (n == 0) {
        return err_set(err, ERR_IO, "the keyholder closed the connection");
    }
    return errno == EAGAIN || errno == EWOULDBLOCK ||
           err_errno(err, ERR_IO, errno, "cannot read from the keyholder");
}

static uint32_t be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

bool keyholder_conn_next(struct keyholder_conn *c, struct keyipc_message *m, bool *got, struct err *err)
{
    const uint8_t *frame = c->in.data + c->at;
    size_t used = 0, left = c->in.len - c->at;
    struct err why = {0};
    *got = false;
    if (keyipc_decode(m, &used, frame, left, true, &why)) {
        c->at += used;
        *got = used > 0;
        return true;
    }
    if (why.kind == ERR_MEMORY && left >= KEYIPC_HEADER_BYTES) {
        /* The frame is whole and well formed; only its key found no place. One request fails, not all. */
        memset(m, 0, sizeof *m);
        m->op = KEYIPC_ERROR;
        m->request_id = be32(frame + 8);
        m->u.error.kind = ERR_MEMORY;
        snprintf(m->u.error.message, sizeof m->u.error.message, "the locked heap for keys is full");
        c->at += 4 + (size_t)be32(frame);
        *got = true;
        return true;
    }
    if (err != NULL) {
        *err = why;
    }
    return false;
}

void keyholder_conn_compact(struct keyholder_conn *c)
{
    if (c->at > 0) {
        buf_consume(&c->in, c->at);
        c->at = 0;
    }
}

void keyholder_conn_error(const struct keyipc_error *from, struct err *err)
{
    enum err_kind kind = ERR_TOKEN;
    switch (from->kind) {
    case ERR_BUSY:
    case ERR_PIN:
    case ERR_KEY_GONE:
    case ERR_INVALID:
    case ERR_MEMORY:
    case ERR_UNSUPPORTED:
    case ERR_CONFIG:
        kind = (enum err_kind)from->kind;
        break;
    case ERR_EXPIRED:
    case ERR_NOT_FOUND:
        kind = ERR_KEY_GONE;
        break;
    default:
        break;
    }
    err_set(err, kind, "keyholder: %s", from->message);
}
