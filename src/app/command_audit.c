/* audit verify FILE...: is the custody log as it was written? */
#include <string.h>

#include "app/command.h"
#include "custody/report.h"

int command_audit(const struct config *config)
{
    struct err err = {0};
    bool good = false;
    const struct report_options options = {.files = config->words + 1,
                                           .file_count = config->word_count - 1,
                                           .keys = (const char *const *)config->key.items,
                                           .key_count = config->key.count,
                                           .head = config->head};
    if (config->word_count < 2 || strcmp(config->words[0], "verify") != 0) {
        err_set(&err, ERR_CONFIG, "usage: e2ee-hsm-proxy audit verify FILE... [--key PEM] [--head HASH]");
        return command_failed(&err);
    }
    if (!report_custody(&good, &options, &err)) {
        return command_failed(&err);
    }
    return good ? 0 : 1;
}
