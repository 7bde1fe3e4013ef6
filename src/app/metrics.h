/* Counters of the proxy process, printed as Prometheus text by GET /metrics. Labels come from closed sets of ours:
 * error codes, and ids of the catalogue. Any thread: relaxed atomics. */
#ifndef E2EE_APP_METRICS_H
#define E2EE_APP_METRICS_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/histogram.h"

enum metric {
    METRIC_REQUESTS,          /* requests received, any path */
    METRIC_COMPLETIONS,       /* POST /v1/chat/completions accepted for sealing */
    METRIC_STREAMS_OPEN,      /* gauge: answers in progress */
    METRIC_CHUNKS,            /* events with content given to clients */
    METRIC_FIELDS_OPENED,     /* sealed fields opened */
    METRIC_BYTES_IN,          /* request bodies */
    METRIC_BYTES_OUT,         /* answer bytes */
    METRIC_DERIVES,           /* asked of the keyholder */
    METRIC_DERIVE_CACHE_HITS, /* answered by a response's own cache */
    METRIC_HANDSHAKES,        /* sessions opened */
    METRIC_HANDSHAKES_FAILED,
    METRIC_ROTATIONS,          /* of the handshakes: replaced a live session */
    METRIC_REPETITIONS,        /* requests repeated once after a re-attestation */
    METRIC_CLIENTS_GONE,       /* hung up before their answer ended */
    METRIC_NOT_ADMITTED,       /* refused because they would have waited too long for the token */
    METRIC_REPLAYS,            /* repeated (point, nonce) pairs refused */
    METRIC_SIGNATURES_VALID,   /* of answers: by the attested key */
    METRIC_SIGNATURES_WRONG,   /* malformed, or by another key */
    METRIC_SIGNATURES_MISSING, /* not to be had */
    METRIC_COLLATERAL_FETCHES, /* of Intel's collateral, tried */
    METRIC_COLLATERAL_FAILURES,
    METRIC_COUNT
};

void metrics_add(enum metric metric, int64_t n);
int64_t metrics_get(enum metric metric);
/* One failed answer of this kind. */
void metrics_error(enum err_kind kind);
/* One DERIVE answered after ns nanoseconds. */
void metrics_derive_time(int64_t ns);
/* Appends the rows of one histogram. label is empty or one `name="value"` of ours. */
void metrics_append_histogram(struct buf *out, const char *name, const char *label,
                              const struct histogram *h);
/* Appends everything above in Prometheus text format 0.0.4. */
bool metrics_append(struct buf *out);

#endif
