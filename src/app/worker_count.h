/* How many event loops there are: the supervisor makes as many keyholder connections. */
#ifndef E2EE_APP_WORKER_COUNT_H
#define E2EE_APP_WORKER_COUNT_H

#include "app/config.h"

/* --workers, else one per core that this process may run on; at least 1, at most LIMIT_KEYHOLDER_WORKERS. */
unsigned worker_count(const struct config *config);

#endif
