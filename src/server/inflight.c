#include "server/inflight.h"

void inflight_init(struct inflight *f, size_t max)
{
    atomic_init(&f->used, 0);
    f->max = max;
}

bool inflight_take(struct inflight *f, size_t n)
{
    size_t used = atomic_load_explicit(&f->used, memory_order_relaxed);
    do {
        /* Forced charges may have carried used past max. */
        if (used > f->max || n > f->max - used) {
            return false;
        }
    } while (!atomic_compare_exchange_weak_explicit(&f->used, &used, used + n, memory_order_relaxed,
                                                    memory_order_relaxed));
    return true;
}

void inflight_force(struct inflight *f, size_t n)
{
    atomic_fetch_add_explicit(&f->used, n, memory_order_relaxed);
}

void inflight_give(struct inflight *f, size_t n)
{
    atomic_fetch_sub_explicit(&f->used, n, memory_order_relaxed);
}

size_t inflight_used(struct inflight *f)
{
    return atomic_load_explicit(&f->used, memory_order_relaxed);
}
