/* e2ee-keyholder with the options that concern it: for the supervisor, which starts it again and again, and for `check`. */
#ifndef E2EE_APP_KEYHOLDER_START_H
#define E2EE_APP_KEYHOLDER_START_H

#include <limits.h>
#include <sys/types.h>

#include "app/config.h"
#include "base/spawn.h"

/* A command line and the storage of what is not config's. */
struct keyholder_command {
    struct spawn_args args;
    char path[PATH_MAX], number[24];
};

/* Fills *command, which must not move, with what the options of config say. */
bool keyholder_arguments(const struct config *config, struct keyholder_command *command,
                         struct err *err) MUST_CHECK;
/* Starts `e2ee-keyholder --check --json` with out as its standard output. */
bool keyholder_spawn_check(const struct config *config, int out, pid_t *pid, struct err *err) MUST_CHECK;

#endif
