/* The proxy process: assembles everything, runs the workers, handles signals. */
#ifndef E2EE_APP_PROXY_H
#define E2EE_APP_PROXY_H

#include "app/config.h"

/* Runs until SIGTERM or SIGINT, or until the supervisor is gone. Returns the exit code. */
int proxy_run(const struct config *config);

#endif
