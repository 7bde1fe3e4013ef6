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
    [METRIC_REPLAYS] = {"replays_refused_total", "counter", "sealed fields refused because they came twice"},
};

/* Upper bounds in microseconds: a software token takes hundreds, a card tens of thousands. */
static const int64_t bounds_us[] = {100,   250,   500,    1000,   2500,   5000,    10000,
                                    25000, 50000, 100000, 250000, 500000, 1000000, 5000000};
#define BOUNDS (sizeof bounds_us / sizeof *bounds_us)

static atomic_llong values[METRIC_COUNT];
static atomic_llong errors[ERR_KIND_COUNT];
static atomic_llong derive_buckets[BOUNDS + 1];
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
    size_t i = 0;
    while (i < BOUNDS && ns > bounds_us[i] * 1000) {
        i++;
    }
    atomic_fetch_add_explicit(&derive_buckets[i], 1, memory_order_relaxed);
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

static void append_derive_times(struct buf *out)
{
    int64_t count = 0;
    buf_append_str(out, "# HELP e2ee_proxy_derive_seconds time from asking for a key to having it\n"
                        "# TYPE e2ee_proxy_derive_seconds histogram\n");
    for (size_t i = 0; i < BOUNDS; i++) {
        count += atomic_load_explicit(&derive_buckets[i], memory_order_relaxed);
        buf_appendf(out, "e2ee_proxy_derive_seconds_bucket{le=\"%g\"} %" PRId64 "\n",
                    (double)bounds_us[i] / 1e6, count);
    }
    count += atomic_load_explicit(&derive_buckets[BOUNDS], memory_order_relaxed);
    buf_appendf(out, "e2ee_proxy_derive_seconds_bucket{le=\"+Inf\"} %" PRId64 "\n", count);
    buf_appendf(out, "e2ee_proxy_derive_seconds_sum %g\n",
                (double)atomic_load_explicit(&derive_sum_ns, memory_order_relaxed) / 1e9);
    buf_appendf(out, "e2ee_proxy_derive_seconds_count %" PRId64 "\n", count);
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
