/* What all request bodies, sealed copies and queues together may occupy: one counter for the process, shared by
 * the server (which charges bodies and client queues by itself) and the app (which charges its own copies).
 * interface.md, --max-inflight-bytes. Any thread, lock-free. */
#ifndef E2EE_SERVER_INFLIGHT_H
#define E2EE_SERVER_INFLIGHT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/attr.h"

struct inflight {
    atomic_size_t used; /* bytes charged now */
    size_t max;
};

void inflight_init(struct inflight *f, size_t max);
/* Charges n bytes, or charges nothing and returns false when they do not fit. */
bool inflight_take(struct inflight *f, size_t n) MUST_CHECK;
/* Charges n bytes that exist already and cannot be refused any more. */
void inflight_force(struct inflight *f, size_t n);
/* Gives n charged bytes back. */
void inflight_give(struct inflight *f, size_t n);
size_t inflight_used(struct inflight *f);

#endif
