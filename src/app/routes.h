/* Which path does what. */
#ifndef E2EE_APP_ROUTES_H
#define E2EE_APP_ROUTES_H

#include "server/call.h"

/* What a call's context points at, first member of whatever answers the call later. */
struct call_owner {
    void (*drained)(struct call_owner *owner); /* the client read what was queued; may be NULL */
    void (*closed)(struct call_owner *owner);  /* the client is gone: free everything */
};

/* For http_worker_new; its arg is the struct worker. */
extern const struct http_handler routes_handler;

#endif
