/* A connection: its descriptor, its output, its time-outs, its way from one request to the next. */
#include "server/conn.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/buffer.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/secret.h"

#define WRITE_VECTORS 32

size_t conn_queued(const struct conn *c)
{
    return evbuffer_get_length(c->out);
}

void conn_touch(struct conn *c)
{
    if (c->is_dirty) {
        return;
    }
    struct http_worker *w = c->worker;
    if (TAILQ_EMPTY(&w->dirty)) {
        /* Behind every event that is active now: their writes all leave together. */
        event_active(w->flush_ev, EV_WRITE, 1);
    }
    TAILQ_INSERT_TAIL(&w->dirty, c, dirty);
    c->is_dirty = true;
}

void conn_doom(struct conn *c)
{
    c->doomed = true;
    conn_touch(c);
}

static void set_busy(struct conn *c, bool busy)
{
    if (busy != c->busy) {
        c->busy = busy;
        if (busy) {
            atomic_fetch_add(&c->worker->busy, 1);
        } else {
            atomic_fetch_sub(&c->worker->busy, 1);
        }
    }
}

/* Queues are charged when they outlive a write, so that a stream whose client keeps up costs no atomics. */
static void settle_charge(struct conn *c)
{
    size_t now = conn_queued(c) + c->pending.len;
    if (now > c->charged) {
        inflight_force(c->worker->config->inflight, now - c->charged);
    } else if (now < c->charged) {
        inflight_give(c->worker->config->inflight, c->charged - now);
    }
    c->charged = now;
}

void conn_queue(struct conn *c, const void *data, size_t len)
{
    if (c->doomed || len == 0) {
        return;
    }
    if (conn_queued(c) == 0) {
        c->write_ns = clock_boot_ns();
    }
    if (evbuffer_add(c->out, data, len) != 0) {
        conn_doom(c);
    }
}

void conn_write(struct conn *c)
{
    struct evbuffer_iovec parts[WRITE_VECTORS];
    while (!c->doomed && conn_queued(c) > 0) {
        /* Asked for all, it fills what there is room for. */
        int count = evbuffer_peek(c->out, -1, NULL, parts, WRITE_VECTORS);
        struct msghdr msg;
        memset(&msg, 0, sizeof msg);
        /* struct evbuffer_iovec is struct iovec where the system has it. */
        msg.msg_iov = (struct iovec *)parts;
        msg.msg_iovlen = (size_t)count;
        size_t offered = 0;
        for (int i = 0; i < count; i++) {
            offered += parts[i].iov_len;
        }
        ssize_t n = sendmsg(c->fd, &msg, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK) {
            c->doomed = true;
            break;
        }
        if (n > 0) {
            evbuffer_drain(c->out, (size_t)n);
            c->write_ns = clock_boot_ns();
        }
        if (n < 0 || (size_t)n < offered) {
            break;
        }
    }
    bool waiting = !c->doomed && conn_queued(c) > 0;
    if (waiting != c->write_armed) {
        if ((waiting ? event_add(&c->write_ev, NULL) : event_del(&c->write_ev)) != 0) {
            c->doomed = true;
        }
        c->write_armed = waiting;
    }
    settle_charge(c);
}

/* When the connection's patience ends, or 0. */
static int64_t deadline(const struct conn *c)
{
    const struct http_config *config = c->worker->config;
    int64_t state = 0, stall = 0;
    if (c->state == CONN_HEAD) {
        bool idle = c->call == NULL && c->served;
        state = c->since_ns + (idle ? config->idle_ms : config->header_ms) * CLOCK_NS_PER_MS;
    } else if (c->state == CONN_BODY) {
        state = c->since_ns + config->body_stall_ms * CLOCK_NS_PER_MS;
    } else if (c->state == CONN_LINGER) {
        state = c->since_ns + config->linger_ms * CLOCK_NS_PER_MS;
    }
    if (conn_queued(c) > 0) {
        stall = c->write_ns + config->client_stall_ms * CLOCK_NS_PER_MS;
    }
    return state == 0 || (stall != 0 && stall < state) ? stall : state;
}

/* The timer is only ever moved forward in time when it fires: a stream does not touch it. */
static void arm_timer(struct conn *c)
{
    int64_t due = deadline(c);
    if (due == 0 || (c->timer_ns != 0 && c->timer_ns <= due)) {
        return;
    }
    int64_t wait = due - clock_boot_ns();
    if (wait < CLOCK_NS_PER_MS) {
        wait = CLOCK_NS_PER_MS;
    }
    struct timeval tv = {(time_t)(wait / CLOCK_NS_PER_S), (suseconds_t)(wait % CLOCK_NS_PER_S / 1000)};
    if (event_add(&c->timer_ev, &tv) != 0) {
        conn_doom(c);
        return;
    }
    c->timer_ns = due;
}

/* The answer to a request that is not coming; the head of a request that never began needs none. */
static void expire(struct conn *c)
{
    const struct http_config *config = c->worker->config;
    bool stalled =
        conn_queued(c) > 0 && clock_boot_ns() >= c->write_ns + config->client_stall_ms * CLOCK_NS_PER_MS;
    if (stalled || c->call == NULL || (c->state != CONN_HEAD && c->state != CONN_BODY)) {
        c->doomed = true;
        return;
    }
    const struct http_error e = {
        .status = 408,
        .code = "request_timeout",
        .message = c->state == CONN_HEAD ? "the request's head did not arrive in time"
                                         : "the request's body stalled",
    };
    call_refuse(c->call, &e);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct conn *c = arg;
    int64_t due = deadline(c);
    c->timer_ns = 0;
    if (due != 0 && clock_boot_ns() >= due) {
        expire(c);
    }
    conn_turn(c);
}

static void on_write(evutil_socket_t fd, short what, void *arg)
{
    conn_turn(arg);
}

/* Keeps what came while a request is in work, within bounds: past them nothing more is kept, and the connection ends
 * with the response. It is still read, as this is how a hang-up is seen. */
static void stash(struct conn *c, const uint8_t *data, size_t len)
{
    if (len == 0 || c->closing) {
        c->discarding = c->discarding || len > 0;
        return;
    }
    if (c->pending_off > 0) {
        buf_consume(&c->pending, c->pending_off);
        c->pending_off = 0;
    }
    if (!buf_append(&c->pending, data, len)) {
        buf_free(&c->pending);
        c->closing = c->discarding = true;
    }
    settle_charge(c);
}

static void use_pending(struct conn *c)
{
    c->pending_off += conn_input(c, c->pending.data + c->pending_off, c->pending.len - c->pending_off);
    if (c->pending_off == c->pending.len) {
        buf_free(&c->pending);
        c->pending_off = 0;
    }
    settle_charge(c);
}

static void input_ended(struct conn *c)
{
    if (c->state == CONN_FLUSH && conn_queued(c) > 0) {
        /* The client shut only its side down, and may still read; if not, writing fails. */
        c->closing = c->read_closed = true;
        buf_free(&c->pending);
        c->pending_off = 0;
        if (event_del(&c->read_ev) != 0) {
            c->doomed = true;
        }
        return;
    }
    c->doomed = true;
}

static void on_read(evutil_socket_t fd, short what, void *arg)
{
    struct conn *c = arg;
    uint8_t *scratch = c->worker->scratch;
    ssize_t n = recv(c->fd, scratch, LIMIT_HTTP_READ_BYTES, 0);
    if (n > 0) {
        size_t used = c->pending.len > 0 ? 0 : conn_input(c, scratch, (size_t)n);
        stash(c, scratch + used, (size_t)n - used);
        secret_wipe(scratch, (size_t)n);
    } else if (n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)) {
        input_ended(c);
    }
    conn_turn(c);
}

/* After a response: the next request, a lingering close, or a close. True when there is more to do. */
static bool finish_response(struct conn *c)
{
    if (atomic_load_explicit(&c->worker->draining, memory_order_relaxed)) {
        c->closing = true;
    }
    if (conn_queued(c) > (c->closing ? 0 : c->worker->config->queue_low)) {
        return false;
    }
    call_free(c->call);
    c->call = NULL;
    c->since_ns = clock_boot_ns();
    if (c->closing) {
        if (c->read_closed || (!c->discarding && c->pending.len == 0) || shutdown(c->fd, SHUT_WR) != 0) {
            c->doomed = true;
            return true;
        }
        buf_free(&c->pending);
        c->pending_off = 0;
        c->state = CONN_LINGER;
        settle_charge(c);
        return false;
    }
    c->state = CONN_HEAD;
    c->served = true;
    c->scan = HEAD_SCAN_START;
    if (c->pending.len > 0) {
        use_pending(c);
    }
    set_busy(c, c->call != NULL);
    return c->state == CONN_FLUSH || c->doomed || conn_queued(c) > 0;
}

void conn_turn(struct conn *c)
{
    bool more = true;
    while (more) {
        conn_write(c);
        if (c->doomed) {
            conn_free(c);
            return;
        }
        more = c->state == CONN_FLUSH && finish_response(c);
    }
    if (c->call != NULL) {
        set_busy(c, true);
    }
    arm_timer(c);
    struct http_call *call = c->call;
    if (call != NULL && call->announced && call->full && conn_queued(c) <= c->worker->config->queue_low) {
        call->full = false;
        if (c->worker->handler->on_drained != NULL) {
            c->worker->handler->on_drained(call, c->worker->arg);
        }
    }
}

static bool set_up(struct conn *c)
{
    struct http_worker *w = c->worker;
    int on = 1;
    /* Not a TCP socket in tests: these may fail. */
    (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (w->config->sndbuf > 0) {
        (void)setsockopt(c->fd, SOL_SOCKET, SO_SNDBUF, &w->config->sndbuf, sizeof w->config->sndbuf);
    }
    c->out = evbuffer_new();
    return c->out != NULL &&
           event_assign(&c->read_ev, w->base, c->fd, EV_READ | EV_PERSIST, on_read, c) == 0 &&
           event_assign(&c->write_ev, w->base, c->fd, EV_WRITE | EV_PERSIST, on_write, c) == 0 &&
           event_assign(&c->timer_ev, w->base, -1, 0, on_timer, c) == 0 && event_add(&c->read_ev, NULL) == 0;
}

void conn_new(struct http_worker *w, int fd)
{
    struct conn *c = mem_calloc(1, sizeof *c);
    if (c == NULL) {
        close(fd);
        atomic_fetch_sub(&w->connections, 1);
        atomic_fetch_sub(&w->busy, 1);
        return;
    }
    c->worker = w;
    c->fd = fd;
    c->busy = true;
    c->since_ns = clock_boot_ns();
    c->scan = HEAD_SCAN_START;
    buf_init(&c->pending, LIMIT_HTTP_PIPELINE_BYTES);
    TAILQ_INSERT_TAIL(&w->conns, c, all);
    if (!set_up(c)) {
        conn_free(c);
        return;
    }
    arm_timer(c);
}

void conn_free(struct conn *c)
{
    struct http_worker *w = c->worker;
    struct http_call *call = c->call;
    c->doomed = true;
    if (call != NULL && call->announced) {
        call->announced = false;
        w->handler->on_closed(call, w->arg);
    }
    call_free(call);
    /* event_assign may not have happened; event_initialized tells. */
    if (event_initialized(&c->read_ev)) {
        event_del(&c->read_ev);
    }
    if (event_initialized(&c->write_ev)) {
        event_del(&c->write_ev);
    }
    if (event_initialized(&c->timer_ev)) {
        event_del(&c->timer_ev);
    }
    if (c->is_dirty) {
        TAILQ_REMOVE(&w->dirty, c, dirty);
    }
    TAILQ_REMOVE(&w->conns, c, all);
    if (c->charged > 0) {
        inflight_give(w->config->inflight, c->charged);
    }
    if (c->out != NULL) {
        evbuffer_free(c->out);
    }
    buf_free(&c->pending);
    close(c->fd);
    set_busy(c, false);
    atomic_fetch_sub(&w->connections, 1);
    mem_free(c);
}
