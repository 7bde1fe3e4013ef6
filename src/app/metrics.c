#include "app/metrics.h"

#include <inttypes.h>

#include "wire/openai_error.h"

static const struct {
    const char *name, *type, *help;
} descriptions[METRIC_COUNT] = {
    [METRIC_REQUESTS] = {"requests_total", "counter", "HTTP requests received"},
    [METRIC_COMPLETIONS] = {"completions_total", "counter", "chat completions accepted for sealing"},
    [METRIC_STREAMS_OPEN] = {"streams_open", "gauge", "answers in progress"},
    [METRIC_CHUNKS] = {"chunks_total", "counter", "events given to clients"},
    [METRIC_FIELDS_OPENED] = {"fields_opened_total", "counter", "sealed fields opened"},
    [METRIC_BYTES_IN] = {"request_bytes_total", "counter", "bytes of request bodies"},
    [METRIC_BYTES_OUT] = {"answer_bytes_total", "counter", "bytes of answers"},
    [METRIC_DERIVES] = {"derives_total", "counter", "key derivations asked of the keyholder"},
    [METRIC_DERIVE_CACHE_HITS] = {"derive_cache_hits_total", "counter", "fields under a key known already"},
    [METRIC_HANDSHAKES] = {"handshakes_total", "counter", "model sessions opened"},
    [METRIC_HANDSHAKES_FAILED] = {"handshakes_failed_total", "counter",
                                  "model sessions that could not be opened"},
    [METRIC_ROTATIONS] = {"rotations_total", "counter", "model sessions replaced in the background"},
    [METRIC_REPETITIONS] = {"repetitions_total", "counter", "requests repeated after a re-attestation"},
    [METRIC_CLIENTS_GONE] = {"clients_gone_total", "counter",
                             "clients that hung up before their answer ended"},
    [METRIC_NOT_ADMITTED] = {"not_admitted_total", "counter",
                             "requests refused because the token is too busy"},
    [METRIC_REPLAYS] = {"replays_refused_total", "counter", "sealed fields refused because they came twice"},
    [METRIC_SIGNATURES_VALID] = {"signatures_valid_total", "counter",
                                 "signatures of answers that the attested key made"},
    [METRIC_SIGNATURES_WRONG] = {"signatures_wrong_total", "counter",
                                 "signatures of answers that are malformed or by another key"},
    [METRIC_SIGNATURES_MISSING] = {"signatures_missing_total", "counter",
                                   "answers whose signature was not to be had"},
    [METRIC_COLLATERAL_FETCHES] = {"collateral_fetches_total", "counter",
                                   "attempts to fetch Intel's collateral"},
    [METRIC_COLLATERAL_FAILURES] = {"collateral_fetch_failures_total", "counter", "those that failed"},
};

static atomic_llong values[METRIC_COUNT];
static atomic_llong errors[ERR_KIND_COUNT];
static atomic_llong derive_buckets[HISTOGRAM_BUCKETS];
static atomic_llong derive_sum_ns;

void metrics_add(enum metric metric, int64_t n)
{
    atomic_fetch_add_explicit(&values[metric], n, memory_order_relaxed);
}

int64_t metrics_get(enum metric metric)
{
    return atomic_load_explicit(&values[metric], memory_order_relaxed);
}

void metrics_error(enum err_kind kind)
{
    if (kind > ERR_NONE && kind < ERR_KIND_COUNT) {
        atomic_fetch_add_explicit(&errors[kind], 1, memory_order_relaxed);
    }
}

void metrics_derive_time(int64_t ns)
{
    atomic_fetch_add_explicit(&derive_buckets[histogram_bucket(ns)], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&derive_sum_ns, ns, memory_order_relaxed);
}

static void append_errors(struct buf *out)
{
    buf_append_str(out, "# HELP e2ee_proxy_errors_total answers that failed, by kind\n"
                        "# TYPE e2ee_proxy_errors_total counter\n");
    for (int kind = ERR_NONE + 1; kind < ERR_KIND_COUNT; kind++) {
        struct openai_error row = openai_error_of_kind((enum err_kind)kind);
        buf_appendf(out, "e2ee_proxy_errors_total{kind=\"%s\",code=\"%s\"} %lld\n",
                    err_kind_name((enum err_kind)kind), row.code != NULL ? row.code : "",
                    atomic_load_explicit(&errors[kind], memory_order_relaxed));
    }
}

void metrics_append_histogram(struct buf *out, const char *name, const char *label, const struct histogram *h)
{
    const char *comma = *label != '\0' ? "," : "";
    uint64_t count = 0;
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        count += h->counts[i];
        buf_appendf(out, "e2ee_proxy_%s_bucket{%s%sle=\"", name, label, comma);
        if (i < HISTOGRAM_BUCKETS - 1) {
            buf_appendf(out, "%g", (double)histogram_bounds_us[i] / 1e6);
        } else {
            buf_append_str(out, "+Inf");
        }
        buf_appendf(out, "\"} %" PRIu64 "\n", count);
    }
    const char *open = *label != '\0' ? "{" : "", *end = *label != '\0' ? "}" : "";
    buf_appendf(out, "e2ee_proxy_%s_sum%s%s%s %g\n", name, open, label, end, (double)h->sum_ns / 1e9);
    buf_appendf(out, "e2ee_proxy_%s_count%s%s%s %" PRIu64 "\n", name, open, label, end, count);
}

static void append_derive_times(struct buf *out)
{
    struct histogram h;
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        h.counts[i] = (uint64_t)atomic_load_explicit(&derive_buckets[i], memory_order_relaxed);
    }
    h.sum_ns = (uint64_t)atomic_load_explicit(&derive_sum_ns, memory_order_relaxed);
    buf_append_str(out, "# HELP e2ee_proxy_derive_seconds time from asking for a key to having it\n"
                        "# TYPE e2ee_proxy_derive_seconds histogram\n");
    metrics_append_histogram(out, "derive_seconds", "", &h);
}

bool metrics_append(struct buf *out)
{
    for (int i = 0; i < METRIC_COUNT; i++) {
        buf_appendf(out, "# HELP e2ee_proxy_%s %s\n# TYPE e2ee_proxy_%s %s\ne2ee_proxy_%s %" PRId64 "\n",
                    descriptions[i].name, descriptions[i].help, descriptions[i].name, descriptions[i].type,
                    descriptions[i].name, metrics_get((enum metric)i));
    }
    append_errors(out);
    append_derive_times(out);
    return !out->failed;
}
