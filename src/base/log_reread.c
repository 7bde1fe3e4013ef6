#include <ini.h>
#include <string.h>

#include "base/log.h"

struct found {
    enum log_level level;
    bool bad;
};

static int on_line(void *user, const char *section, const char *key, const char *value)
{
    struct found *found = user;
    if (strcmp(section, "server") == 0 && (strcmp(key, "log_level") == 0 || strcmp(key, "log-level") == 0)) {
        found->bad = !log_level_parse(&found->level, value);
    }
    return 1;
}

void log_level_reread(const char *file)
{
    struct found found = {LOG_LEVEL_INFO,
                          false}; /* what is not in the file any more is the default's again */
    if (ini_parse(file, on_line, &found) != 0) {
        log_error(
            "SIGHUP: the log level stays as it was: cannot read the configuration file, or a line of it");
    } else if (found.bad) {
        log_error("SIGHUP: the log level stays as it was: it must be error, warn, info or debug");
    } else {
        log_set_level(found.level);
        log_info("SIGHUP: log level read again");
    }
}
