/* libcurl's multi handle on one libevent loop: sockets and the timer are events, nothing blocks. One for each
 * worker. All functions: the loop's thread only. Connections are kept alive and reused, LIMIT_UPSTREAM_CONNECTIONS
 * at most. */
#ifndef E2EE_UPSTREAM_LOOP_H
#define E2EE_UPSTREAM_LOOP_H

#include <stddef.h>

#include "base/err.h"

struct event_base;
struct upstream_config;
struct upstream_loop;

/* base and config are kept by reference and must outlive the loop. ERR_MEMORY, ERR_INTERNAL. */
struct upstream_loop *upstream_loop_new(struct event_base *base, struct upstream_config *config,
                                        struct err *err) MUST_CHECK;
/* Cancels what still runs (no callback is called) and closes every connection. Not from inside a transfer's
 * callback. NULL is fine. */
void upstream_loop_free(struct upstream_loop *loop);
/* Transfers started and neither done nor cancelled. */
size_t upstream_loop_active(const struct upstream_loop *loop);

#endif
