#include "app/command.h"

#include <stdio.h>

#include "app/api_key.h"
#include "upstream/config.h"

struct upstream_config *command_upstream(const struct config *config, struct err *err)
{
    const struct upstream_options options = {.base_url = config->upstream,
                                             .unsafe_http = config->unsafe_http_upstream,
                                             .silence_s = (uint32_t)config->upstream_timeout,
                                             .first_byte_s = (uint32_t)config->first_byte_timeout,
                                             .ca_file = config->ca_file};
    struct secret key = SECRET_EMPTY;
    struct upstream_config *upstream = upstream_config_new(&options, err);
    bool ok = upstream != NULL;
    ok = ok && api_key_read(&key, config, err);
    if (ok && key.len > 0) {
        ok = upstream_config_set_key(upstream, &key, err);
    }
    if (!ok) {
        upstream_config_free(upstream);
        upstream = NULL;
    }
    return upstream;
}

int command_failed(const struct err *err)
{
    fprintf(stderr, "e2ee-hsm-proxy: %s\n", err->message);
    return 2;
}
