#include "server/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "server/conn.h"

#define WAKE_DRAIN (-1)

void http_config_defaults(struct http_config *c)
{
    *c = (struct http_config){
        .max_body = 10485760,
        .header_bytes = LIMIT_HTTP_HEADER_BYTES,
        .queue_high = LIMIT_CLIENT_QUEUE_HIGH,
        .queue_low = LIMIT_CLIENT_QUEUE_LOW,
        .header_ms = LIMIT_HTTP_HEADER_S * 1000,
        .idle_ms = LIMIT_HTTP_IDLE_S * 1000,
        .body_stall_ms = LIMIT_HTTP_BODY_STALL_S * 1000,
        .client_stall_ms = LIMIT_CLIENT_STALL_S * 1000,
        .linger_ms = LIMIT_HTTP_LINGER_S * 1000,
        .sndbuf = LIMIT_CLIENT_SNDBUF,
    };
}

void http_wipe_libevent_memory(void)
{
    event_set_mem_functions(mem_wiping_malloc, mem_wiping_realloc, mem_wiping_free);
}

static void close_idle(struct http_worker *w)
{
    struct conn *c = TAILQ_FIRST(&w->conns);
    while (c != NULL) {
        struct conn *following = TAILQ_NEXT(c, all);
        if (c->state == CONN_HEAD && c->call == NULL) {
            conn_free(c);
        }
        c = following;
    }
}

/* The pipe is the queue between acceptor and loop: each int is a descriptor, and a write of one never splits. */
static void on_adopt(evutil_socket_t fd, short what, void *arg)
{
    struct http_worker *w = arg;
    int got[64];
    ssize_t n = read(fd, got, sizeof got);
    for (ssize_t i = 0; i < n / (ssize_t)sizeof(int); i++) {
        if (got[i] >= 0) {
            conn_new(w, got[i]);
        }
    }
    if (atomic_load(&w->draining)) {
        close_idle(w);
    }
}

static void on_flush(evutil_socket_t fd, short what, void *arg)
{
    struct http_worker *w = arg;
    struct conn *c;
    while ((c = TAILQ_FIRST(&w->dirty)) != NULL) {
        TAILQ_REMOVE(&w->dirty, c, dirty);
        c->is_dirty = false;
        conn_turn(c);
    }
}

struct http_worker *http_worker_new(struct event_base *base, const struct http_config *config,
                                    const struct http_handler *handler, void *arg, struct err *err)
{
    struct http_worker *w = mem_calloc(1, sizeof *w);
    if (w == NULL) {
        err_set(err, ERR_MEMORY, "no memory for an HTTP worker");
        return NULL;
    }
    w->base = base;
    w->config = config;
    w->handler = handler;
    w->arg = arg;
    TAILQ_INIT(&w->conns);
    TAILQ_INIT(&w->dirty);
    atomic_init(&w->connections, 0);
    atomic_init(&w->busy, 0);
    atomic_init(&w->draining, false);
    w->adopt_pipe[0] = w->adopt_pipe[1] = -1;
    if (pipe2(w->adopt_pipe, O_NONBLOCK | O_CLOEXEC) != 0) {
        err_errno(err, ERR_IO, errno, "cannot make the pipe of an HTTP worker");
        goto fail;
    }
    w->flush_ev = event_new(base, -1, 0, on_flush, w);
    w->adopt_ev = event_new(base, w->adopt_pipe[0], EV_READ | EV_PERSIST, on_adopt, w);
    if (w->flush_ev == NULL || w->adopt_ev == NULL || event_add(w->adopt_ev, NULL) != 0) {
        err_set(err, ERR_MEMORY, "cannot register an HTTP worker's events");
        goto fail;
    }
    return w;
fail:
    http_worker_free(w);
    return NULL;
}

static void drop_adopted(struct http_worker *w)
{
    int fd;
    while (w->adopt_pipe[0] >= 0 && read(w->adopt_pipe[0], &fd, sizeof fd) == (ssize_t)sizeof fd) {
        if (fd >= 0) {
            close(fd);
            atomic_fetch_sub(&w->connections, 1);
            atomic_fetch_sub(&w->busy, 1);
        }
    }
}

void http_worker_free(struct http_worker *w)
{
    if (w == NULL) {
        return;
    }
    struct conn *c;
    while ((c = TAILQ_FIRST(&w->conns)) != NULL) {
        conn_free(c);
    }
    if (w->adopt_ev != NULL) {
        event_free(w->adopt_ev);
    }
    if (w->flush_ev != NULL) {
        event_free(w->flush_ev);
    }
    drop_adopted(w);
    if (w->adopt_pipe[0] >= 0) {
        close(w->adopt_pipe[0]);
        close(w->adopt_pipe[1]);
    }
    mem_free_wipe(w);
}

bool http_worker_adopt(struct http_worker *w, int fd)
{
    /* Counted before the loop can see and close it. */
    atomic_fetch_add(&w->connections, 1);
    atomic_fetch_add(&w->busy, 1);
    if (write(w->adopt_pipe[1], &fd, sizeof fd) == (ssize_t)sizeof fd) {
        return true;
    }
    atomic_fetch_sub(&w->connections, 1);
    atomic_fetch_sub(&w->busy, 1);
    return false;
}

void http_worker_drain(struct http_worker *w)
{
    const int wake = WAKE_DRAIN;
    int saved = errno;
    atomic_store(&w->draining, true);
    /* A full pipe wakes the loop as well. */
    if (write(w->adopt_pipe[1], &wake, sizeof wake) < 0) {
        errno = saved;
    }
}

size_t http_worker_connections(const struct http_worker *w)
{
    return atomic_load(&w->connections);
}

size_t http_worker_busy(const struct http_worker *w)
{
    return atomic_load(&w->busy);
}
