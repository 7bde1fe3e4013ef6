#include "app/worker_count.h"

#include <sched.h>
#include <unistd.h>

#include "base/limits.h"

unsigned worker_count(const struct config *config)
{
    uint64_t count = config->workers;
    if (count == 0) {
#ifdef __linux__
        cpu_set_t cpus;
        count = sched_getaffinity(0, sizeof cpus, &cpus) == 0 ? (uint64_t)CPU_COUNT(&cpus) : 1;
#else
        long online = sysconf(_SC_NPROCESSORS_ONLN);
        count = online > 0 ? (uint64_t)online : 1;
#endif
    }
    if (count < 1) {
        count = 1;
    }
    return count < LIMIT_KEYHOLDER_WORKERS ? (unsigned)count : LIMIT_KEYHOLDER_WORKERS;
}
