#include "base/histogram.h"

const int64_t histogram_bounds_us[HISTOGRAM_BUCKETS - 1] = {
    100, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 500000, 1000000, 5000000};

size_t histogram_bucket(int64_t ns)
{
    size_t i = 0;
    while (i < HISTOGRAM_BUCKETS - 1 && ns > histogram_bounds_us[i] * 1000) {
        i++;
    }
    return i;
}

void histogram_add(struct histogram *h, int64_t ns)
{
    h->counts[histogram_bucket(ns)]++;
    h->sum_ns += ns > 0 ? (uint64_t)ns : 0;
}

void histogram_merge(struct histogram *to, const struct histogram *from)
{
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        to->counts[i] += from->counts[i];
    }
    to->sum_ns += from->sum_ns;
}
