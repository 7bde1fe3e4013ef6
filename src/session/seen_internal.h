/* Shared by the files of seen. */
#ifndef E2EE_SESSION_SEEN_INTERNAL_H
#define E2EE_SESSION_SEEN_INTERNAL_H

#include <limits.h>

#include "session/seen.h"

struct seen {
    char folder[PATH_MAX - 128]; /* room for a file's name behind it */
};

/* folder/NAME into path. */
void seen_path(const struct seen *seen, char path[static PATH_MAX], const char *name);
/* An exclusive lock among all processes, -1 on failure; close it to unlock. Waits for the holder. */
int seen_lock(const struct seen *seen, struct err *err);

#endif
