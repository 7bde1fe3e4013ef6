/* Event logs: what is read has values within their limits and a replay; what is not leaves nothing. A verdict on it
 * against registers that it happens to give never takes an identity from behind system-ready. */
#include <stdlib.h>
#include <string.h>

#include "attest/dstack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool ok)
{
    if (!ok) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct event_log log, zero;
    static struct attest_verdict v;
    struct attest_body body;
    struct err err = {0};

    if (!event_log_read(&log, (const char *)data, size, &err)) {
        zero.repeated = EVENT_ID_COUNT;
        require(memcmp(&log, &zero, sizeof log) == 0 && err.kind == ERR_INVALID);
        return 0;
    }
    require(log.events > 0 && log.runtime_events <= log.events && log.app_events <= log.runtime_events);
    body_init(&body);
    require(buf_append(&body.event_log, data, size));
    verdict_init(&v, 0);
    memcpy(v.measurements.rtmr, log.rtmr, sizeof log.rtmr);
    v.measurements.mr_config_id[0] = size % 5;
    require(dstack_check(&v, &body, &err));
    require(v.guest.log_replayed && verdict_find(&v, "guest.os-image") != NULL);
    verdict_close(&v);
    require(!v.verified ||
            (log.repeated == EVENT_ID_COUNT && v.guest.has_app_id && v.guest.has_compose_hash &&
             v.guest.has_key_provider && log.value[EVENT_SYSTEM_READY].has));
    body_free(&body);
    return 0;
}
