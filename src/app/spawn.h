/* Starting the two child processes of `serve`, each with its own short environment and only the descriptors meant
 * for it. Supervisor only. */
#ifndef E2EE_APP_SPAWN_H
#define E2EE_APP_SPAWN_H

#include <sys/types.h>

#include "app/config.h"
#include "base/err.h"
#include "base/secret.h"

#define SPAWN_ARGS_MAX 80

/* An argument vector under construction; strings are not copied. */
struct spawn_args {
    char *items[SPAWN_ARGS_MAX + 1]; /* NULL-terminated */
    size_t count;
    bool full;
};
void spawn_arg(struct spawn_args *args, const char *text);
/* Adds both when value is not NULL. */
void spawn_option(struct spawn_args *args, const char *name, const char *value);

/* Full path of a sibling of the running executable into path[cap]. */
bool spawn_sibling(char *path, size_t cap, const char *name, struct err *err) MUST_CHECK;

#define SPAWN_FDS_MAX 4

/* Starts path with args, the variables of our environment that allowed (NULL-terminated; NULL: all) and more (may be
 * NULL) name,
 * and fds[i] as descriptor first + i; all our other descriptors must be close-on-exec. */
bool spawn_process(pid_t *pid, const char *path, const struct spawn_args *args, const char *const *allowed,
                   const struct config_list *more, const int *fds, size_t fd_count, int first,
                   struct err *err) MUST_CHECK;

extern const char *const spawn_keyholder_variables[];
extern const char *const spawn_proxy_variables[];

#endif
