/*
 * Faults of the transport and of the status line: the same on every endpoint.
 */
#ifndef SIM_TRANSPORT_H
#define SIM_TRANSPORT_H

#include "fault.h"
#include "http.h"

/* True when the fault was one of these and the connection is taken care of. F_DELAY is the caller's. */
bool transport_fault(struct event_base *base, struct http_conn *conn, const struct fault_use *use);
/* Calls again(conn, user) after ms; gone(user) instead when the client leaves first. */
void transport_later(struct event_base *base, struct http_conn *conn, long ms,
                     void (*again)(struct http_conn *conn, void *user), void (*gone)(void *user), void *user);

#endif
