/* One request to the upstream and its streamed answer. The loop's thread only.
 *
 * Callbacks come from the event loop, never from inside transfer_start, transfer_pause, transfer_resume or
 * transfer_cancel. Order: on_status once, on_data any number of times, on_done once; a request that fails early has
 * only on_done. Each callback may start, pause, resume or cancel any transfer of this loop, its own included. */
#ifndef E2EE_UPSTREAM_TRANSFER_H
#define E2EE_UPSTREAM_TRANSFER_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

struct upstream_loop;
struct transfer; /* valid until on_done returns or transfer_cancel */

struct transfer_header {
    const char *name;  /* RFC 9110 token; not one that the connection or config.h decides */
    const char *value; /* visible ASCII, spaces and tabs */
};

struct transfer_request {
    const char *path; /* below the base URL, begins with "/", values escaped (upstream_escape) */
    const struct transfer_header *headers;
    size_t header_count; /* LIMIT_UPSTREAM_HEADERS at most */
    bool anonymous;      /* without the API key */
    struct buf *
        body; /* NULL: GET. Else POST of at least one byte; moved from by transfer_start, also on failure; wiped as soon as it
                            is sent and the answer has begun, or the transfer ends. Content-Type is
                            application/json unless headers name another */
};

struct transfer_status {
    int status;               /* 200..299 or 400..599; 1xx is skipped, 3xx is an error of the transfer */
    int64_t retry_after_s;    /* -1: the answer names none */
    const char *content_type; /* "" when missing; valid during the callback */
};

struct transfer_result {
    struct err err; /* ERR_NONE when the answer came to its regular end, whatever its status:
                            ERR_UNREACHABLE: no connection (name, TCP, TLS, certificate), or lost before the answer began
                            ERR_TIMEOUT: connect, silence or first byte
                            ERR_UPSTREAM: redirect, cut answer, broken HTTP, oversized headers
                            ERR_MEMORY */
    int status;     /* 0 when none came */
    uint64_t bytes; /* of the body that on_data was given */
    bool reused;    /* went over a kept connection */
};

struct transfer_callbacks {
    void (*on_status)(void *arg, const struct transfer_status *status); /* may be NULL */
    /* Body bytes as they arrive, valid during the call; at most LIMIT_UPSTREAM_BUFFER_BYTES at once. */
    void (*on_data)(void *arg, const uint8_t *data, size_t len);
    void (*on_done)(void *arg, const struct transfer_result *result);
};

/* callbacks and what request points at are copied. NULL with ERR_INVALID for a malformed path or header,
 * ERR_TOO_LARGE for a long URL, ERR_MEMORY. */
struct transfer *transfer_start(struct upstream_loop *loop, const struct transfer_request *request,
                                const struct transfer_callbacks *callbacks, void *arg,
                                struct err *err) MUST_CHECK;

/* Back-pressure: no on_data after this until transfer_resume, and the time-outs stand still. The transfer holds at
 * most about LIMIT_UPSTREAM_BUFFER_BYTES meanwhile; the rest waits in the kernel and at the sender. on_done may still come when
 * nothing was left to deliver, or on an error. Idempotent. */
void transfer_pause(struct transfer *t);
/* on_data goes on from the event loop, soon. Idempotent. */
void transfer_resume(struct transfer *t);

/* Ends the transfer: no callback comes any more and t is gone. Its TCP connection is closed at once; from inside a
 * callback of this loop, as soon as that callback has returned. */
void transfer_cancel(struct transfer *t);
/* The answer has said all, though its body has not ended: no callback comes any more and t belongs to the loop. The
 * connection is kept for the next request when the end follows within LIMIT_UPSTREAM_LINGER_MS and
 * LIMIT_UPSTREAM_LINGER_BYTES, as a chunked body's last chunk does, often in a packet of its own; else it is closed. */
void transfer_release(struct transfer *t);

#endif
