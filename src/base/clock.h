/* Time. Lifetimes count CLOCK_BOOTTIME, so that a suspended laptop's keys age too. Any thread. */
#ifndef E2EE_BASE_CLOCK_H
#define E2EE_BASE_CLOCK_H

#include <stdint.h>

#define CLOCK_NS_PER_S INT64_C(1000000000)
#define CLOCK_NS_PER_MS INT64_C(1000000)

/* Nanoseconds since boot, suspend included. Never goes back. */
int64_t clock_boot_ns(void);
/* Seconds since boot, suspend included. */
int64_t clock_boot_s(void);
/* Seconds since 1970 UTC: certificates and log stamps only. */
int64_t clock_wall_s(void);

#endif
