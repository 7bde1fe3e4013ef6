/* Durations counted in buckets: one table of bounds for the token's operations, wherever they are measured or shown. */
#ifndef E2EE_BASE_HISTOGRAM_H
#define E2EE_BASE_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

#define HISTOGRAM_BUCKETS 15 /* the last one has no upper bound */

/* Upper bounds in microseconds: a software token takes hundreds, a card tens of thousands. */
extern const int64_t histogram_bounds_us[HISTOGRAM_BUCKETS - 1];

struct histogram {
    uint64_t counts[HISTOGRAM_BUCKETS]; /* of each bucket alone, not summed up */
    uint64_t sum_ns;
};

/* Which bucket a duration belongs to. */
size_t histogram_bucket(int64_t ns);
/* No lock: the caller's thread, or the caller's lock. */
void histogram_add(struct histogram *h, int64_t ns);
/* to += from. */
void histogram_merge(struct histogram *to, const struct histogram *from);

#endif
