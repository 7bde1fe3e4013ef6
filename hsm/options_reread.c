#include <ini.h>
#include <string.h>

#include "hsm/options.h"

struct found {
    enum log_level level;
    bool any, bad;
};

static int on_line(void *user, const char *section, const char *key, const char *value)
{
    struct found *found = user;
    if (strcmp(section, "server") == 0 && (strcmp(key, "log_level") == 0 || strcmp(key, "log-level") == 0)) {
        found->any = true;
        found->bad = !log_level_parse(&found->level, value);
    }
    return 1;
}

void options_reread(const struct options *o)
{
    struct found found = {LOG_LEVEL_INFO, false, false};
    if (o->log_level_given || o->config_file == NULL) {
        return;
    }
    if (ini_parse(o->config_file, on_line, &found) != 0) {
        log_error(
            "SIGHUP: the log level stays as it was: cannot read the configuration file, or a line of it");
    } else if (found.bad) {
        log_error("SIGHUP: the log level stays as it was: it must be error, warn, info or debug");
    } else {
        log_set_level(found.level); /* one that is not in the file any more is the default's again */
        log_info("SIGHUP: log level read again");
    }
}
