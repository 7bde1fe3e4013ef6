#include "app/reload.h"

#include "app/verifier.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/text.h"

/* The sessions that are open now, each with a reference. */
struct held {
    struct session *items[256];
    size_t count;
};

static void hold(void *arg, const struct session *s)
{
    struct held *held = arg;
    if (held->count < sizeof held->items / sizeof held->items[0]) {
        held->items[held->count++] = session_ref((struct session *)(uintptr_t)s);
    }
}

/* Another policy: each session is opened anew, so that none outlives what it was accepted by. */
static void reload_policy(struct app *app)
{
    struct err err = {0};
    struct held held = {.count = 0};
    bool changed;
    if (!verifier_reload(app->verifier, &changed, &err)) {
        log_error("SIGHUP: the attestation policy stays as it was: %s", err.message);
        return;
    }
    if (changed) {
        sessions_visit(app->sessions, hold, &held);
        for (size_t i = 0; i < held.count; i++) {
            sessions_renew(app->sessions, held.items[i]);
            session_unref(held.items[i]);
        }
        log_info("SIGHUP: attestation policy read again, or pins changed; %zu sessions end", held.count);
    }
}

void reload(struct app *app)
{
    struct err err = {0};
    struct secret key;
    if (app->config->api_key_file != NULL) {
        if (!text_read_secret(&key, app->config->api_key_file, LIMIT_API_KEY_BYTES, &err) ||
            !upstream_config_set_key(app->upstream, &key, &err)) {
            log_error("SIGHUP: the API key stays as it was: %s", err.message);
        } else {
            log_info("SIGHUP: API key read again");
        }
    }
    reload_policy(app);
    config_reload_log_level(app->config);
}
