/* How often something may happen: at most count times in any window of time. */
#ifndef E2EE_SESSION_BUDGET_H
#define E2EE_SESSION_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

#define BUDGET_MAX 16

/* A zeroed struct with count and window set is a fresh budget. The caller locks. */
struct budget {
    unsigned count;           /* at most BUDGET_MAX */
    int64_t window_ns;        /* length of the window */
    int64_t used[BUDGET_MAX]; /* ring of the last uses */
    unsigned next;
    unsigned filled;
};

/* Takes one use at now_ns. 0 when taken, else the nanoseconds until one is free (nothing taken). */
int64_t budget_take(struct budget *budget, int64_t now_ns);

#endif
