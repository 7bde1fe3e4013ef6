#include "app/models.h"

#include "base/clock.h"
#include "upstream/fetch.h"

#define MODELS_TIMEOUT_S 30

struct catalogue *models_fetch(struct upstream_config *upstream, struct err *err)
{
    const struct upstream_fetch_request request = {.path = "/models?type=text",
                                                   .authorize = upstream_config_has_key(upstream),
                                                   .timeout_s = MODELS_TIMEOUT_S};
    struct buf body;
    int status = 0;
    struct catalogue *catalogue = NULL;
    buf_init(&body, LIMIT_CATALOGUE_BYTES);
    if (upstream_fetch(upstream, &request, &body, &status, NULL, err)) {
        if (status == 200) {
            catalogue = catalogue_parse((const char *)body.data, body.len, clock_boot_ns(), err);
        } else {
            err_set(err, ERR_UPSTREAM, "the provider answered the request for its models with status %d",
                    status);
        }
    } else {
        err_context(err, "fetching the list of models");
    }
    buf_free(&body);
    return catalogue;
}
