/* The connections of one event loop. The app makes an event_base for each worker thread, puts the worker, curl and
 * the keyholder client on it and runs it; the listener hands connections over from its own thread. */
#ifndef E2EE_SERVER_WORKER_H
#define E2EE_SERVER_WORKER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/secret.h"
#include "server/call.h"
#include "server/inflight.h"
#include "server/origin.h"

struct event_base;
struct http_worker;

/* Read-only while workers run, and outlives them. */
struct http_config {
    struct inflight *inflight;           /* required, shared by all workers */
    const struct origin_policy *origins; /* required */
    const struct secret *client_token;   /* clients must send it as Bearer; NULL: Authorization is ignored */
    size_t max_body;                     /* bytes */
    size_t header_bytes;                 /* request line and headers */
    size_t queue_high, queue_low;        /* bytes queued for a client */
    unsigned header_ms, idle_ms, body_stall_ms, client_stall_ms, linger_ms;
    int sndbuf; /* SO_SNDBUF of a connection, bytes; 0: the system's */
};

/* Everything from base/limits.h; pointers NULL. */
void http_config_defaults(struct http_config *c);

/* Makes libevent allocate through functions that wipe what they free: request and response bodies pass through its
 * buffers. Once, before any other libevent call of the process. */
void http_wipe_libevent_memory(void);

/* A worker on base, whose thread need not run yet. config, handler and arg are kept by reference. NULL on failure. */
struct http_worker *http_worker_new(struct event_base *base, const struct http_config *config,
                                    const struct http_handler *handler, void *arg,
                                    struct err *err) MUST_CHECK;
/* Closes every connection (on_closed for live calls). On the loop's thread, or after it ended; not in a callback of
 * the worker. NULL is fine. */
void http_worker_free(struct http_worker *w);

/* Hands a connected, non-blocking socket over; any thread. False when the worker's queue is full: the caller keeps
 * fd. */
bool http_worker_adopt(struct http_worker *w, int fd) MUST_CHECK;
/* No more keep-alive: idle connections are closed, the others after the response they are in. Any thread,
 * async-signal-safe. Final. */
void http_worker_drain(struct http_worker *w);

/* Connections that are open, or adopted and not yet seen by the loop. Any thread. */
size_t http_worker_connections(const struct http_worker *w);
/* Those of them with a request in work (a fresh connection counts as one until its first answer). Any thread. */
size_t http_worker_busy(const struct http_worker *w);

#endif
