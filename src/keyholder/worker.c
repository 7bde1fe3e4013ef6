#include "keyholder/worker.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <event2/event.h>
#include <event2/event_struct.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "keyholder/control_internal.h"
#include "keyholder/slots.h"

#define TICK_MS 250
#define RETRY_MS 500

struct keyholder_worker {
    struct event_base *base;
    struct keyholder_control *control;
    unsigned index;
    int wake;
    struct keyholder_conn conn;
    uint32_t generation; /* of conn while it is open */
    bool welcome;        /* HELLO was answered */
    int64_t since_ns;    /* of the connection, or of its loss */
    bool ticking;
    struct event wake_event, read_event, write_event, flush_event, tick_event;
    struct slots slots;
};

/* ---- connection ---- */

static void start_tick(struct keyholder_worker *w)
{
    if (!w->ticking) {
        int64_t ms = keyholder_control_call_ns(w->control) / CLOCK_NS_PER_MS / 8;
        ms = ms < 10 ? 10 : ms > TICK_MS ? TICK_MS : ms;
        w->ticking = true;
        event_add(&w->tick_event, &(struct timeval){0, ms * 1000});
    }
}

/* Never calls back: what was pending is failed by the flush event. */
static void lose(struct keyholder_worker *w)
{
    if (w->conn.fd < 0) {
        return;
    }
    event_del(&w->read_event);
    event_del(&w->write_event);
    keyholder_conn_close(&w->conn);
    enum err_kind kind = keyholder_control_generation(w->control) == w->generation ? ERR_TOKEN : ERR_KEY_GONE;
    slots_fail_all(&w->slots, kind);
    event_active(&w->flush_event, 0, 0); /* tells them */
    w->since_ns = clock_boot_ns();
    start_tick(w);
}

static void on_readable(evutil_socket_t fd, short what, void *arg);
static void on_writable(evutil_socket_t fd, short what, void *arg);

static bool join(struct keyholder_worker *w, struct err *err)
{
    if (!keyholder_control_join(w->control, w->index, &w->conn, &w->generation, err)) {
        keyholder_conn_close(&w->conn);
        return false;
    }
    w->welcome = false;
    w->since_ns = clock_boot_ns();
    event_assign(&w->read_event, w->base, w->conn.fd, EV_READ | EV_PERSIST, on_readable, w);
    event_assign(&w->write_event, w->base, w->conn.fd, EV_WRITE, on_writable, w);
    event_add(&w->read_event, NULL);
    event_active(&w->flush_event, 0, 0);
    start_tick(w);
    return true;
}

/* A connection to the live keyholder, or none. */
static void follow(struct keyholder_worker *w)
{
    uint32_t live = keyholder_control_generation(w->control);
    struct err err;
    if (w->conn.fd >= 0 && w->generation != live) {
        lose(w);
    }
    if (w->conn.fd < 0 && live != 0 && !join(w, &err)) {
        if (w->generation != live) {
            w->generation = live;
            w->since_ns = clock_boot_ns();
        }
        start_tick(w); /* tries again */
    }
}

static void flush(struct keyholder_worker *w)
{
    struct err err;
    if (w->conn.fd >= 0 && !keyholder_conn_flush(&w->conn, &err)) {
        lose(w);
    } else if (keyholder_conn_wants_write(&w->conn)) {
        event_add(&w->write_event, NULL);
    }
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    flush(arg);
}

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
    struct keyholder_worker *w = arg;
    uint64_t count;
    if (read(w->wake, &count, sizeof count) > 0) {
        follow(w);
    }
}

/* Everything that this turn of the loop has asked leaves at once, and what has failed is told. */
static void on_flush(evutil_socket_t fd, short what, void *arg)
{
    struct keyholder_worker *w = arg;
    flush(w);
    struct slot s;
    for (size_t n = w->slots.failed.count; n > 0 && slots_take_failed(&w->slots, &s); n--) {
        struct err err;
        err_set(&err, (enum err_kind)s.failure, "%s",
                s.failure == ERR_KEY_GONE ? "the keyholder that held the key is gone"
                                          : "the connection to the keyholder was lost");
        s.cb(s.arg, NULL, &err, clock_boot_ns() - s.start_ns);
    }
    if (w->slots.failed.count > 0) {
        event_active(&w->flush_event, 0, 0);
    }
}

/* ---- answers; false: cut the connection ---- */

static bool on_hello(struct keyholder_worker *w, const struct keyipc_message *m)
{
    if (w->welcome || m->op != (KEYIPC_HELLO | KEYIPC_ANSWER)) {
        return false;
    }
    w->welcome = true;
    w->conn.gate = SIZE_MAX;
    event_active(&w->flush_event, 0, 0);
    return true;
}

static bool on_derived(struct keyholder_worker *w, struct keyipc_message *m, int64_t now)
{
    struct slot s;
    if ((m->op != (KEYIPC_DERIVE | KEYIPC_ANSWER) && m->op != KEYIPC_ERROR) ||
        !slots_take_answered(&w->slots, m->request_id, &s)) {
        return false;
    }
    keyholder_control_progress(w->control, now);
    if (s.state == SLOT_SILENT) {
        return true;
    }
    if (m->op == KEYIPC_ERROR) {
        struct err err;
        keyholder_conn_error(&m->u.error, &err);
        s.cb(s.arg, NULL, &err, now - s.start_ns);
    } else {
        s.cb(s.arg, &m->u.derive_answer.response_key, NULL, now - s.start_ns);
    }
    return true;
}

static bool on_answer(struct keyholder_worker *w, struct keyipc_message *m, int64_t now)
{
    if (m->request_id == KEYHOLDER_ID_HELLO) {
        return on_hello(w, m);
    }
    if (m->request_id == KEYHOLDER_ID_SILENT) {
        return m->op == (KEYIPC_CANCEL | KEYIPC_ANSWER) || m->op == KEYIPC_ERROR;
    }
    return on_derived(w, m, now);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct keyholder_worker *w = arg;
    struct keyipc_message m;
    struct err err = {0};
    int64_t now = clock_boot_ns();
    bool ok = keyholder_conn_fill(&w->conn, &err), got = true;
    /* A callback may lose the connection. */
    while (ok && got && w->conn.fd == fd) {
        ok = keyholder_conn_next(&w->conn, &m, &got, &err);
        if (ok && got) {
            ok = on_answer(w, &m, now) ||
                 err_set(&err, ERR_PROTOCOL, "worker %u: an answer of the keyholder that nobody asked for",
                         w->index);
            keyipc_message_clear(&m);
        }
    }
    if (ok) {
        keyholder_conn_compact(&w->conn);
        return;
    }
    if (err.kind == ERR_PROTOCOL) {
        log_error("cut the keyholder off: %s", err.message);
    }
    lose(w);
}

/* ---- time ---- */

static void expire(struct keyholder_worker *w, int64_t now, uint32_t *hung)
{
    int64_t call = keyholder_control_call_ns(w->control);
    /* A slow token with many in the queue is no hung one: as long as it answers anything, its turn is awaited. */
    bool stuck = keyholder_control_stuck(w->control, now);
    int64_t limit = stuck ? call : keyholder_control_wait_ns(w->control);
    struct slot s;
    while (slots_take_expired(&w->slots, now - limit, &s)) {
        struct err err;
        err_set(&err, ERR_TOKEN, "the keyholder did not answer within %lld ms",
                (long long)(limit / CLOCK_NS_PER_MS));
        *hung = stuck ? w->generation : *hung;
        s.cb(s.arg, NULL, &err, now - s.start_ns);
    }
    if (w->conn.fd >= 0 && !w->welcome && now - w->since_ns >= call) {
        *hung = w->generation;
        lose(w);
    }
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    struct keyholder_worker *w = arg;
    int64_t now = clock_boot_ns();
    uint32_t live = keyholder_control_generation(w->control), hung = 0;
    struct err err;
    expire(w, now, &hung);
    if (w->conn.fd < 0 && live != 0 && now - w->since_ns >= RETRY_MS * CLOCK_NS_PER_MS && !join(w, &err)) {
        w->since_ns = now;
        if (err.kind == ERR_TOKEN && keyholder_link_is_channel(w->control->link)) {
            hung = live; /* a channel has no second connection: only the next keyholder has one for us */
        }
    }
    if (hung != 0) {
        keyholder_control_hung(w->control, hung);
    }
    if (w->slots.live.count == 0 && (w->conn.fd >= 0 ? w->welcome : live == 0)) {
        w->ticking = false;
        event_del(&w->tick_event);
    }
}

/* ---- the public side ---- */

struct keyholder_worker *keyholder_worker_new(struct event_base *base, struct keyholder_control *control,
                                              unsigned index, struct err *err)
{
    if (index >= LIMIT_KEYHOLDER_WORKERS) {
        err_set(err, ERR_CONFIG, "more than %d workers", LIMIT_KEYHOLDER_WORKERS);
        return NULL;
    }
    struct keyholder_worker *w = mem_calloc(1, sizeof *w);
    if (w == NULL) {
        err_set(err, ERR_MEMORY, "no memory for a worker's keyholder client");
        return NULL;
    }
    w->base = base;
    w->control = control;
    w->index = index;
    w->conn.fd = -1;
    w->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    bool ok =
        w->wake >= 0 || err_errno(err, ERR_IO, errno, "no event descriptor for a worker's keyholder client");
    event_assign(&w->wake_event, base, w->wake, EV_READ | EV_PERSIST, on_wake, w);
    event_assign(&w->read_event, base, -1, 0, on_readable, w);
    event_assign(&w->write_event, base, -1, 0, on_writable, w);
    event_assign(&w->flush_event, base, -1, 0, on_flush, w);
    event_assign(&w->tick_event, base, -1, EV_PERSIST, on_tick, w);
    ok = ok && keyholder_conn_init(&w->conn, err) && slots_init(&w->slots, err);
    if (ok && event_add(&w->wake_event, NULL) != 0) {
        ok = err_set(err, ERR_MEMORY, "no memory for a worker's keyholder client");
    }
    if (!ok) {
        keyholder_worker_free(w);
        return NULL;
    }
    keyholder_control_subscribe(control, index, w->wake); /* wakes at once */
    return w;
}

void keyholder_worker_free(struct keyholder_worker *w)
{
    if (w == NULL) {
        return;
    }
    if (w->wake >= 0) {
        keyholder_control_subscribe(w->control, w->index, -1);
        event_del(&w->wake_event);
        close(w->wake);
    }
    event_del(&w->read_event);
    event_del(&w->write_event);
    event_del(&w->flush_event);
    event_del(&w->tick_event);
    keyholder_conn_free(&w->conn);
    slots_free(&w->slots);
    mem_free(w);
}

static bool put_derive(struct keyholder_worker *w, struct keyholder_key key, uint64_t stream_id,
                       const uint8_t *server_point, uint32_t request_id, struct err *err)
{
    struct keyipc_message m = {.op = KEYIPC_DERIVE, .request_id = request_id};
    m.u.derive.key_id = key.id;
    m.u.derive.stream_id = stream_id;
    memcpy(m.u.derive.server_point, server_point, POINT_BYTES);
    return keyholder_conn_put(&w->conn, &m, err);
}

bool keyholder_derive(struct keyholder_worker *w, struct keyholder_key key, uint64_t stream_id,
                      const uint8_t server_point[static POINT_BYTES], keyholder_derive_cb cb, void *arg,
                      struct err *err)
{
    uint32_t live = keyholder_control_generation(w->control);
    if (live == 0) {
        return err_set(err, ERR_TOKEN, "no keyholder is there");
    }
    if (key.generation != live) {
        return err_set(err, ERR_KEY_GONE, "the keyholder that held the key is gone");
    }
    if (w->conn.fd < 0 || w->generation != live) {
        follow(w); /* its wake-up is still to come */
        if (w->conn.fd < 0 || w->generation != live) {
            return err_set(err, ERR_TOKEN, "no connection to the keyholder");
        }
    }
    struct slot *s = slots_next(&w->slots, err);
    if (s == NULL || !put_derive(w, key, stream_id, server_point, s->request_id, err)) {
        return false;
    }
    s->cb = cb;
    s->arg = arg;
    s->stream_id = stream_id;
    s->start_ns = clock_boot_ns();
    slots_start(&w->slots, s);
    event_active(&w->flush_event, 0, 0);
    start_tick(w);
    return true;
}

void keyholder_cancel(struct keyholder_worker *w, uint64_t stream_id)
{
    bool asked = slots_silence(&w->slots, stream_id);
    struct keyipc_message m = {.op = KEYIPC_CANCEL, .request_id = KEYHOLDER_ID_SILENT};
    struct err err;
    m.u.stream_id = stream_id;
    /* Only a saving: without it the answers come and are dropped. */
    if (asked && w->conn.fd >= 0 && keyholder_conn_put(&w->conn, &m, &err)) {
        event_active(&w->flush_event, 0, 0);
    }
}

size_t keyholder_worker_pending(const struct keyholder_worker *w)
{
    return w->slots.live.count + w->slots.failed.count;
}
