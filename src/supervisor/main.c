/* e2ee-supervisor: what `e2ee-hsm-proxy serve` becomes (supervisor.h). */
#include <fcntl.h>

#include "base/log.h"
#include "base/process.h"
#include "supervisor/options.h"
#include "supervisor/supervisor.h"

int main(int argc, char **argv)
{
    struct supervisor_options options = {.workers = 0};
    struct err err = {0};
    log_init("supervisor", LOG_LEVEL_INFO, false);
    if (!supervisor_options_read(&options, argc, argv)) {
        log_error("this program is started by `e2ee-hsm-proxy serve`");
        return 2;
    }
    log_init("supervisor", options.log_level, options.log_json);
    if (!process_harden(&err)) {
        log_error("%s", err.message);
        return 1;
    }
    if (options.announce_fd != 0) {
        fcntl(options.announce_fd, F_SETFD, FD_CLOEXEC);
    }
    return supervisor_run(&options);
}
