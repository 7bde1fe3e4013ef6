#include "base/clock.h"

#include <time.h>

#ifndef CLOCK_BOOTTIME /* not on every Unix; the monotonic clock is the nearest */
#define CLOCK_BOOTTIME CLOCK_MONOTONIC
#endif

int64_t clock_boot_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_BOOTTIME, &t);
    return (int64_t)t.tv_sec * CLOCK_NS_PER_S + t.tv_nsec;
}

int64_t clock_boot_s(void)
{
    return clock_boot_ns() / CLOCK_NS_PER_S;
}

int64_t clock_wall_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec;
}
