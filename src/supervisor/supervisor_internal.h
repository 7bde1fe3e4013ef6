/* Inside of the supervisor: shared by supervisor.c and start.c only. */
#ifndef E2EE_SUPERVISOR_INTERNAL_H
#define E2EE_SUPERVISOR_INTERNAL_H

#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "supervisor/kept_key.h"
#include "supervisor/options.h"
#include "supervisor/supervisor.h"

/* One child. */
struct child {
    pid_t pid; /* 0: not running */
    int fd;    /* what it reports its start on; -1: none */
    bool ready;
    bool served; /* it, or one before it, was ready once */
    int64_t started_ns;
    int64_t restart_ns; /* when to start it again; 0: not planned */
    unsigned pause_ms;
};

struct supervisor {
    const struct supervisor_options *options;
    struct kept_key api_key;
    struct child keyholder, proxy;
    int proxy_channel;
    uint32_t generation;
    bool keyholder_stays_down; /* a refused PIN: until SIGHUP */
    bool announced;            /* the proxy knows the keyholder that runs now */
    bool stopping;
    int64_t kill_ns;
    int exit_code;
};

/* Each starts one child; on failure nothing was started. */
bool supervisor_start_keyholder(struct supervisor *s, struct err *err) MUST_CHECK;
bool supervisor_start_proxy(struct supervisor *s, struct err *err) MUST_CHECK;
/* Gives keyholder and proxy fresh connections to each other, once both run. */
void supervisor_introduce(struct supervisor *s);

#endif
