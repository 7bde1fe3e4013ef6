/* Starting other programs of ours, each with its own short environment and only the descriptors meant for it. */
#ifndef E2EE_BASE_SPAWN_H
#define E2EE_BASE_SPAWN_H

#include <sys/types.h>

#include "base/err.h"

#define SPAWN_ARGS_MAX 256

/* An argument vector under construction; strings are not copied. */
struct spawn_args {
    char *items[SPAWN_ARGS_MAX + 1]; /* NULL-terminated */
    size_t count;
    bool full;
};
void spawn_arg(struct spawn_args *args, const char *text);
/* Adds both when value is not NULL. */
void spawn_option(struct spawn_args *args, const char *name, const char *value);

/* ERR_CONFIG when more was added than there is room for. */
bool spawn_args_fit(const struct spawn_args *args, struct err *err) MUST_CHECK;

/* Full path of a sibling of the running executable into path[cap]. */
bool spawn_sibling(char *path, size_t cap, const char *name, struct err *err) MUST_CHECK;

#define SPAWN_FDS_MAX 4

/* One start. */
struct spawn {
    char *const *argv;          /* NULL-terminated; the first is the program's path */
    const char *const *allowed; /* variables of our environment that it gets, NULL-terminated; NULL: all */
    char *const *more;          /* and these; may be NULL */
    size_t more_count;
    const int *fds; /* its descriptors first, first + 1, …; all our others must be close-on-exec */
    size_t fd_count;
    int first;
};
bool spawn_process(pid_t *pid, const struct spawn *s, struct err *err) MUST_CHECK;

extern const char *const spawn_keyholder_variables[];
extern const char *const spawn_proxy_variables[];

#endif
