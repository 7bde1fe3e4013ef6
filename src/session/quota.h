/* How often something may leave this machine: at most BUDGET-many times in a window, counted for all processes that share the state
 * folder and over their restarts, in one small file under a lock (a killed process leaves none behind).
 *
 * Times are CLOCK_BOOTTIME with the boot's id beside them, so that nobody's clock matters. Those of an earlier boot count as of this
 * one's first moment: they were made before it. What cannot be read as such a file counts as full from now on, and is made one:
 * a minute's wait mends it. A file that cannot be opened, locked or written is warned of once, and this process counts for
 * itself. */
#ifndef E2EE_SESSION_QUOTA_H
#define E2EE_SESSION_QUOTA_H

#include <stdint.h>

#include "base/err.h"

struct quota;

/* count, at most BUDGET_MAX, in window_ns; path is copied, its folder exists. NULL: ERR_MEMORY. */
struct quota *quota_new(const char *path, unsigned count, int64_t window_ns, struct err *err) MUST_CHECK;
void quota_free(struct quota *quota);
/* Its file, which quota_new has made where that was possible: a sandbox can allow only what exists. */
const char *quota_path(const struct quota *quota);

/* Takes one. 0 when taken, else the nanoseconds until one is free (nothing taken). Waits for the lock, LOCK_WAIT_MS at most: never
 * on a loop. Any thread. */
int64_t quota_take(struct quota *quota);

#endif
