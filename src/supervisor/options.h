/* The command line of e2ee-supervisor, which app/serve.c writes: no person does.
 *   e2ee-supervisor --log-level LEVEL --log-format text|json --workers N [--reread FILE] [--announce-fd N] [--api-key]
 *       [--module-env NAME]... --keyholder COUNT ARGUMENT... --proxy COUNT ARGUMENT... */
#ifndef E2EE_SUPERVISOR_OPTIONS_H
#define E2EE_SUPERVISOR_OPTIONS_H

#include <stddef.h>

#include "base/attr.h"
#include "base/log.h"

#define SUPERVISOR_NAMES_MAX 16

struct supervisor_options {
    char **keyholder, **proxy; /* their arguments, NULL-terminated, each beginning with the program's path */
    char *module_env[SUPERVISOR_NAMES_MAX];
    size_t module_env_count;
    unsigned workers;   /* connections of the proxy's loops, each to the keyholder */
    const char *reread; /* file with the log level, for SIGHUP; NULL: none */
    int announce_fd;    /* the address is written here once the proxy listens; 0: nowhere */
    enum log_level log_level;
    bool log_json;
    bool api_key; /* VENICE_API_KEY is the proxy's; else a file that it reads itself */
};

/* Texts stay in argv, which gets a NULL where --proxy stood. False for anything but the above. */
bool supervisor_options_read(struct supervisor_options *o, int argc, char **argv) MUST_CHECK;

#endif
