/* One blocking request, for handshake threads and commands, never on a loop. Any thread, any number at once. */
#ifndef E2EE_UPSTREAM_FETCH_H
#define E2EE_UPSTREAM_FETCH_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

struct upstream_config;

struct upstream_fetch_header {
    const char *name; /* of a response header */
    char *value;      /* set by upstream_fetch: terminated, mem_free it; NULL when missing */
};

struct upstream_fetch_request {
    const char *path; /* below the base URL, begins with "/"; or NULL and url */
    const char
        *url; /* absolute, for Intel's and NVIDIA's services: https, or http to a loopback host where the
                         upstream may be http too */
    bool authorize; /* send the API key: with path only (ERR_INTERNAL otherwise). Attestation goes without:
                         protocol.md section 1 */
    uint32_t timeout_s; /* for everything together */
    const void *body;   /* NULL: GET, else POST of body_len bytes */
    size_t body_len;
    const char *content_type;              /* of the body; NULL: application/json */
    struct upstream_fetch_header *headers; /* response headers wanted; one that comes twice is ERR_UPSTREAM */
    size_t header_count;
};

/* Whole body into out (emptied first; its maximum applies: ERR_UPSTREAM), *status the answer's status, 2xx or not.
 * True whenever a whole answer came. *retry_after_s (may be NULL) is -1 when the answer names none. On failure out,
 * *status (0) and all values are empty; errors as in struct transfer_result, and ERR_CANCELLED after
 * upstream_config_abort. */
bool upstream_fetch(struct upstream_config *config, const struct upstream_fetch_request *request,
                    struct buf *out, int *status, int64_t *retry_after_s, struct err *err) MUST_CHECK;

#endif
