#include "attest/dstack.h"

#include <stdio.h>
#include <string.h>

#include "attest/dstack_internal.h"
#include "attest/pins.h"
#include "base/hex.h"
#include "base/limits.h"
#include "base/mem.h"
#include "json/json.h"

#define SHORT_BYTES 8 /* of a hash, in words for people */
#define KEY_PROVIDER_NODES 64

static const char *const ids[] = {"guest.event-log", "guest.events",       "guest.compose",
                                  "guest.config-id", "guest.key-provider", "guest.os-image"};

#define IDS (sizeof ids / sizeof ids[0])

void dstack_skip(struct attest_verdict *v, const char *why)
{
    verdict_skip_rest(v, ids, IDS, true, why);
}

/* One walk through the checks. */
struct walk {
    struct attest_verdict *v;
    const struct attest_body *body;
    struct event_log log;
    struct buf provider_id; /* bytes of the key provider's id */
    bool provider_read;
    struct err *err;
};

static const char *short_hex(char out[static 2 * SHORT_BYTES + 1], const uint8_t *data)
{
    return hex_str(out, data, SHORT_BYTES);
}

static bool is_fatal(const struct err *err)
{
    return err->kind == ERR_MEMORY || err->kind == ERR_CRYPTO || err->kind == ERR_INTERNAL;
}

/* False when the walk ends here; *fatal says why. */
static bool check_log(struct walk *w, bool *fatal)
{
    struct err why = {0};
    char wrong[64] = "";
    *fatal = false;
    if (w->body->event_log.len == 0) {
        return verdict_fail(w->v, ids[0],
                            "the body has no event log, so nothing says which software the guest runs");
    }
    if (!event_log_read(&w->log, (const char *)w->body->event_log.data, w->body->event_log.len, &why)) {
        *fatal = is_fatal(&why);
        return *fatal ? err_set(w->err, why.kind, "%s", why.message)
                      : verdict_fail(w->v, ids[0], "the event log is malformed or forged: %s", why.message);
    }
    for (int i = 0; i < 4; i++) {
        if (memcmp(w->log.rtmr[i], w->v->measurements.rtmr[i], MEASUREMENT_BYTES) != 0) {
            size_t len = strlen(wrong);
            snprintf(wrong + len, sizeof wrong - len, " RTMR%d", i);
        }
    }
    if (wrong[0] != '\0') {
        return verdict_fail(w->v, ids[0],
                            "the event log is not the one that was measured: it does not give%s", wrong);
    }
    w->v->guest.log_replayed = true;
    return verdict_pass(w->v, ids[0],
                        "%zu events replay to all four RTMRs of the quote; the digests of dstack's %zu were "
                        "computed here%s",
                        w->log.events, w->log.runtime_events,
                        w->log.has_version_2 ? ", some in their second form" : "");
}

static bool has_value(const struct walk *w, enum event_id id, size_t len)
{
    const struct event_value *value = &w->log.value[id];
    return value->has && value->len == len;
}

static void take_identity(struct walk *w)
{
    struct verdict_guest *g = &w->v->guest;
    g->has_app_id = has_value(w, EVENT_APP_ID, APP_ID_BYTES);
    if (g->has_app_id) {
        memcpy(g->app_id, w->log.value[EVENT_APP_ID].data, sizeof g->app_id);
    }
    g->has_compose_hash = has_value(w, EVENT_COMPOSE_HASH, SHA256_BYTES);
    if (g->has_compose_hash) {
        memcpy(g->compose_hash, w->log.value[EVENT_COMPOSE_HASH].data, sizeof g->compose_hash);
    }
    g->has_os_image = has_value(w, EVENT_OS_IMAGE_HASH, SHA256_BYTES);
    if (g->has_os_image) {
        memcpy(g->os_image, w->log.value[EVENT_OS_IMAGE_HASH].data, sizeof g->os_image);
    }
}

/* An event of the system's that has another length than it can have. */
static enum event_id malformed_event(const struct walk *w)
{
    static const struct {
        enum event_id id;
        size_t len;
    } lengths[] = {{EVENT_APP_ID, APP_ID_BYTES},
                   {EVENT_COMPOSE_HASH, SHA256_BYTES},
                   {EVENT_OS_IMAGE_HASH, SHA256_BYTES},
                   {EVENT_GPU_POLICY_HASH, SHA256_BYTES}};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        const struct event_value *value = &w->log.value[lengths[i].id];
        if (value->has && value->len != lengths[i].len) {
            return lengths[i].id;
        }
    }
    const struct event_value *instance = &w->log.value[EVENT_INSTANCE_ID];
    return instance->has && instance->len != 0 && instance->len != APP_ID_BYTES ? EVENT_INSTANCE_ID
                                                                                : EVENT_ID_COUNT;
}

static bool check_events(struct walk *w)
{
    char app[2 * SHORT_BYTES + 1];
    enum event_id bad = malformed_event(w);
    if (w->log.repeated != EVENT_ID_COUNT) {
        return verdict_fail(w->v, ids[1],
                            "the log has an event %s where only another one counts, or a second one: the "
                            "application may have written it",
                            event_log_name(w->log.repeated));
    }
    if (!w->log.value[EVENT_SYSTEM_READY].has) {
        return verdict_fail(
            w->v, ids[1],
            "the log has no system-ready, so the application's own events cannot be told from "
            "the system's");
    }
    if (bad != EVENT_ID_COUNT) {
        return verdict_fail(w->v, ids[1], "the event %s has %zu bytes, which it cannot have",
                            event_log_name(bad), w->log.value[bad].len);
    }
    if (!w->log.value[EVENT_APP_ID].has) {
        return verdict_fail(w->v, ids[1], "the log has no app-id before system-ready");
    }
    take_identity(w);
    return verdict_pass(
        w->v, ids[1],
        "app-id %s…; each of the system's events is there once and before system-ready, %zu of the "
        "application's follow",
        short_hex(app, w->v->guest.app_id), w->log.app_events);
}

static bool check_compose(struct walk *w)
{
    char want[2 * SHORT_BYTES + 1], have[2 * SHORT_BYTES + 1];
    uint8_t hash[SHA256_BYTES];
    const struct verdict_guest *g = &w->v->guest;
    const struct buf *text = &w->body->app_compose;

    if (!g->has_compose_hash) {
        verdict_fail(w->v, ids[2], "no compose-hash was measured before system-ready");
        return true;
    }
    short_hex(want, g->compose_hash);
    if (text->len == 0) {
        verdict_add(w->v, ids[2], CHECK_NOT_CHECKED, false,
                    "the body has no compose file to read; the hash %s… that was measured stands for it",
                    want);
        return true;
    }
    if (!hash_sha256(hash, text->data, text->len)) {
        return err_set(w->err, ERR_CRYPTO, "SHA-256 failed");
    }
    if (memcmp(hash, g->compose_hash, sizeof hash) != 0) {
        verdict_fail(w->v, ids[2],
                     "the compose file in the body (%s…) is not the one that was measured (%s…)",
                     short_hex(have, hash), want);
    } else {
        verdict_pass(w->v, ids[2], "the compose file in the body is the measured one, %s…", want);
    }
    return true;
}

/* {"name":…,"id":hex} of the key-provider event into v->guest and w->provider_id. */
static bool read_provider(struct walk *w, struct err *why)
{
    const struct event_value *value = &w->log.value[EVENT_KEY_PROVIDER];
    struct verdict_guest *g = &w->v->guest;
    struct json_doc doc;
    const char *raw = NULL;
    size_t len = 0;
    bool ok = false;

    json_doc_init(&doc);
    if (value->len > sizeof value->data) {
        err_set(why, ERR_INVALID, "longer than %zu bytes", sizeof value->data);
        goto out;
    }
    if (!json_parse(&doc, (const char *)value->data, value->len, KEY_PROVIDER_NODES, why)) {
        goto out;
    }
    const struct json_node *root = json_root(&doc), *id = json_present(&doc, root, "id");
    if (!json_string_copy(&doc, json_present(&doc, root, "name"), g->key_provider, sizeof g->key_provider) ||
        !dstack_provider_known(g->key_provider)) {
        err_set(why, ERR_INVALID, "the kind is not known");
        goto out;
    }
    if (id != NULL && (!json_string_raw(&doc, id, &raw, &len) || len % 2 != 0 || !hex_all(raw, len))) {
        err_set(why, ERR_INVALID, "the id is no hex");
        goto out;
    }
    if (len > 0 && !buf_reserve(&w->provider_id, len / 2)) {
        err_set(why, ERR_MEMORY, "no memory for an id");
        goto out;
    }
    if (len > 0 && hex_decode(w->provider_id.data, raw, len)) {
        w->provider_id.len = len / 2;
    }
    ok = hash_sha256(g->key_provider_id, w->provider_id.data != NULL ? w->provider_id.data : (uint8_t *)"",
                     w->provider_id.len) ||
         err_set(why, ERR_CRYPTO, "SHA-256 failed");
out:
    json_doc_free(&doc);
    if (!ok) {
        memset(g->key_provider, 0, sizeof g->key_provider);
    }
    return ok;
}

static bool check_provider(struct walk *w)
{
    char hex[2 * SHORT_BYTES + 1];
    struct err why = {0};
    struct verdict_guest *g = &w->v->guest;

    if (!w->log.value[EVENT_KEY_PROVIDER].has) {
        verdict_fail(w->v, ids[4], "no key provider was measured before system-ready");
        return true;
    }
    if (!read_provider(w, &why)) {
        if (is_fatal(&why)) {
            return err_set(w->err, why.kind, "%s", why.message);
        }
        verdict_fail(w->v, ids[4], "the measured key provider cannot be read: %s", why.message);
        return true;
    }
    g->has_key_provider = w->provider_read = true;
    if (strcmp(g->key_provider, "none") == 0) {
        verdict_pass(w->v, ids[4], "none: the guest's keys are its own, and new at every start");
    } else {
        verdict_pass(
            w->v, ids[4],
            "%s, whose id has the SHA-256 %s…: whoever runs it can give the guest's keys to other guests",
            g->key_provider, short_hex(hex, g->key_provider_id));
    }
    return true;
}

static bool all_zero(const uint8_t *bytes, size_t len)
{
    uint8_t any = 0;
    for (size_t i = 0; i < len; i++) {
        any |= bytes[i];
    }
    return any == 0;
}

static bool config_matches(struct walk *w, bool *match)
{
    const struct verdict_guest *g = &w->v->guest;
    const uint8_t *id = w->v->measurements.mr_config_id;
    uint8_t expected[MEASUREMENT_BYTES];
    const struct dstack_config c = {g->compose_hash, g->app_id, g->key_provider, w->provider_id.data,
                                    w->provider_id.len};
    if (id[0] == 3) {
        return dstack_config_matches_v3(match, id, &c, &w->log, w->err);
    }
    if (id[0] == 1) {
        dstack_config_id_v1(expected, &c);
    } else if (!dstack_config_id_v2(expected, &c, w->err)) {
        return false;
    }
    *match = memcmp(expected, id, sizeof expected) == 0;
    return true;
}

/* After check_provider, whose findings versions 2 and 3 cover. */
static bool check_config(struct walk *w)
{
    const uint8_t *id = w->v->measurements.mr_config_id;
    bool match = false;

    if (all_zero(id, MEASUREMENT_BYTES)) {
        verdict_add(w->v, ids[3], CHECK_NOT_APPLICABLE, true,
                    "MRCONFIGID is zero: an old host, which does not say what it meant to start");
    } else if (id[0] < 1 || id[0] > 3) {
        verdict_fail(w->v, ids[3], "MRCONFIGID is of version %u, which is not known", id[0]);
    } else if (!w->v->guest.has_compose_hash || (id[0] > 1 && !w->provider_read)) {
        verdict_fail(w->v, ids[3], "MRCONFIGID covers something that was not measured");
    } else if (!config_matches(w, &match)) {
        return false;
    } else if (match) {
        verdict_pass(w->v, ids[3],
                     "MRCONFIGID, version %u, is what was measured: the host started what it said", id[0]);
    } else {
        verdict_fail(w->v, ids[3],
                     "MRCONFIGID, version %u, is not what was measured: the guest runs another application",
                     id[0]);
    }
    return true;
}

static void report_os(struct walk *w)
{
    const char *known = pins_known_os(w->v);
    char hex[2 * SHORT_BYTES + 1] = "none";
    if (w->v->guest.has_os_image) {
        short_hex(hex, w->v->guest.os_image);
    }
    verdict_add(
        w->v, ids[5], CHECK_NOT_CHECKED, false,
        "the guest says os-image-hash %s; MRTD, RTMR1 and RTMR2 are those %s%s. Nothing here computed them "
        "from the image: pins hold them",
        hex, known != NULL ? "seen before as " : "of an image never seen before", known != NULL ? known : "");
}

static bool walk(struct walk *w)
{
    bool fatal;
    if (!check_log(w, &fatal)) {
        dstack_skip(w->v, "the event log does not hold");
        return !fatal;
    }
    if (!check_events(w)) {
        dstack_skip(w->v, "the system's events do not hold");
        return true;
    }
    if (!check_compose(w) || !check_provider(w) || !check_config(w)) {
        return false;
    }
    report_os(w);
    return true;
}

bool dstack_check(struct attest_verdict *v, const struct attest_body *body, struct err *err)
{
    memset(&v->guest, 0, sizeof v->guest);
    if (body == NULL) {
        for (size_t i = 0; i < IDS; i++) {
            verdict_add(v, ids[i], CHECK_NOT_APPLICABLE, true, "a bare quote comes without an event log");
        }
        return true;
    }
    struct walk *w = mem_calloc(1, sizeof *w);
    if (w == NULL) {
        return err_set(err, ERR_MEMORY, "no memory for an event log");
    }
    w->v = v;
    w->body = body;
    w->err = err;
    buf_init(&w->provider_id, EVENT_VALUE_BYTES_MAX);
    bool ok = walk(w);
    buf_free(&w->provider_id);
    mem_free(w);
    return ok;
}
