#include "app/models.h"

#include "base/clock.h"
#include "upstream/fetch.h"
#include "wire/upstream_error.h"

#define MODELS_TIMEOUT_S 30

/* What the client, or who runs this, can do something about keeps its status: the key, its credit, its rate. Our own words: an err
 * has none of the upstream's. */
static void refuse(struct err *err, int status, int64_t retry_after_s)
{
    bool telling = status == 401 || status == 402 || status == 403 || status == 429;
    err_set(err, ERR_UPSTREAM, UPSTREAM_ERROR_PREFIX "the request for the models was answered with status %d",
            status);
    err->upstream_status = telling ? (uint16_t)status : 0;
    err_retry_after(err, retry_after_s);
}

struct catalogue *models_fetch(struct upstream_config *upstream, struct err *err)
{
    const struct upstream_fetch_request request = {.path = "/models?type=text",
                                                   .authorize = upstream_config_has_key(upstream),
                                                   .timeout_s = MODELS_TIMEOUT_S};
    struct buf body;
    int status = 0;
    int64_t retry_after_s = -1;
    struct catalogue *catalogue = NULL;
    buf_init(&body, LIMIT_CATALOGUE_BYTES);
    if (upstream_fetch(upstream, &request, &body, &status, &retry_after_s, err)) {
        if (status == 200) {
            catalogue = catalogue_parse((const char *)body.data, body.len, clock_boot_ns(), err);
        } else {
            refuse(err, status, retry_after_s);
        }
    } else {
        err_context(err, "fetching the list of models");
    }
    buf_free(&body);
    return catalogue;
}
