#include "attest/event_log.h"

#include <string.h>

#include "base/hex.h"
#include "base/limits.h"
#include "base/mem.h"
#include "json/json.h"

#define RUNTIME_EVENT UINT32_C(0x08000001)
#define RUNTIME_REGISTER 3
#define VERSION_MAX 2
#define INIT_SCRIPT_HASH "init-script-hash"
/* The canonical form escapes a name to at most six characters a byte, and writes a payload as hex. */
#define PREIMAGE_BYTES_MAX (6 * EVENT_NAME_BYTES_MAX + 2 * EVENT_PAYLOAD_BYTES_MAX + 128)

static const char *const names[EVENT_ID_COUNT] = {
    [EVENT_SYSTEM_PREPARING] = "system-preparing",
    [EVENT_APP_ID] = "app-id",
    [EVENT_COMPOSE_HASH] = "compose-hash",
    [EVENT_INSTANCE_ID] = "instance-id",
    [EVENT_BOOT_MR_DONE] = "boot-mr-done",
    [EVENT_MR_KMS] = "mr-kms",
    [EVENT_OS_IMAGE_HASH] = "os-image-hash",
    [EVENT_KEY_PROVIDER] = "key-provider",
    [EVENT_GPU_POLICY_HASH] = "gpu-policy-hash",
    [EVENT_GPU_ATTESTATION] = "gpu-attestation",
    [EVENT_STORAGE_FS] = "storage-fs",
    [EVENT_SYSTEM_READY] = "system-ready",
};

const char *event_log_name(enum event_id id)
{
    return (unsigned)id < EVENT_ID_COUNT ? names[id] : "?";
}

/* One event while it is read. */
struct event {
    unsigned imr;
    uint32_t type;
    unsigned version;
    struct buf name, payload, preimage;
    bool has_digest;
    uint8_t digest[SHA384_BYTES];
};

static void event_init(struct event *e)
{
    memset(e, 0, sizeof *e);
    buf_init(&e->name, EVENT_NAME_BYTES_MAX);
    buf_init(&e->payload, EVENT_PAYLOAD_BYTES_MAX);
    buf_init(&e->preimage, PREIMAGE_BYTES_MAX);
}

static void event_free(struct event *e)
{
    buf_free(&e->name);
    buf_free(&e->payload);
    buf_free(&e->preimage);
}

/* What is hashed: docs/ATTESTATION.md, "Event digests". */
static void write_preimage(struct buf *out, unsigned version, const char *name, size_t name_len,
                           const uint8_t *payload, size_t len)
{
    buf_reset(out);
    if (version == 2) {
        buf_append_str(out, "{\"name\":");
        json_append_string(out, name, name_len);
        buf_append_str(out, ",\"payload\":\"");
        buf_append_hex(out, payload, len);
        buf_appendf(out, "\",\"type\":%lu}", (unsigned long)RUNTIME_EVENT);
        return;
    }
    for (int i = 0; i < 4; i++) {
        buf_append_byte(out, (uint8_t)(RUNTIME_EVENT >> (8 * i)));
    }
    buf_append_byte(out, ':');
    buf_append(out, name, name_len);
    buf_append_byte(out, ':');
    buf_append(out, payload, len);
}

/* The limits of names and payloads leave room for every preimage: only memory can be short. */
static bool complete(const struct buf *preimage, struct err *err)
{
    return !preimage->failed || err_set(err, ERR_MEMORY, "no memory for an event");
}

bool event_log_digest(uint8_t out[static SHA384_BYTES], unsigned version, const char *name, size_t name_len,
                      const uint8_t *payload, size_t len, struct err *err)
{
    struct buf preimage;
    bool ok;

    buf_init(&preimage, PREIMAGE_BYTES_MAX);
    write_preimage(&preimage, version, name, name_len, payload, len);
    ok = complete(&preimage, err) &&
         (hash_sha384(out, preimage.data, preimage.len) || err_set(err, ERR_CRYPTO, "SHA-384 failed"));
    buf_free(&preimage);
    return ok;
}

/* A member that is a string of hex, into out; absent: empty. */
static bool read_hex(struct buf *out, const struct json_doc *doc, const struct json_node *event,
                     const char *member, struct err *err)
{
    const struct json_node *node = json_present(doc, event, member);
    const char *raw;
    size_t len;

    buf_reset(out);
    if (node == NULL) {
        return true;
    }
    if (!json_string_raw(doc, node, &raw, &len) || len % 2 != 0 || !hex_all(raw, len)) {
        return err_set(err, ERR_INVALID, "%s is no hex", member);
    }
    if (len == 0) {
        return true;
    }
    if (!buf_reserve(out, len / 2)) {
        return len / 2 > out->max ? err_set(err, ERR_INVALID, "%s is longer than %zu bytes", member, out->max)
                                  : err_set(err, ERR_MEMORY, "no memory for %s", member);
    }
    out->len = len / 2;
    return hex_decode(out->data, raw, len) || err_set(err, ERR_INVALID, "%s is no hex", member);
}

static bool read_name(struct event *e, const struct json_doc *doc, const struct json_node *event,
                      struct err *err)
{
    const struct json_node *node = json_present(doc, event, "event");
    const char *raw;
    size_t len;

    buf_reset(&e->name);
    if (node == NULL) {
        return true;
    }
    if (!json_string_raw(doc, node, &raw, &len) || len > EVENT_NAME_BYTES_MAX) {
        return err_set(err, ERR_INVALID, "its name is no text of at most %d bytes", EVENT_NAME_BYTES_MAX);
    }
    return json_string_get(doc, node, &e->name) || err_set(err, ERR_MEMORY, "no memory for a name");
}

static bool read_number(unsigned *out, const struct json_doc *doc, const struct json_node *event,
                        const char *member, uint64_t absent, uint64_t max, struct err *err)
{
    const struct json_node *node = json_present(doc, event, member);
    uint64_t value = absent;
    if ((node == NULL && absent > max) || (node != NULL && !json_u64(doc, node, &value)) || value > max) {
        return err_set(err, ERR_INVALID, "%s is missing or no number from 0 to %llu", member,
                       (unsigned long long)max);
    }
    *out = (unsigned)value;
    return true;
}

static bool read_event(struct event *e, const struct json_doc *doc, const struct json_node *node,
                       struct err *err)
{
    unsigned type = 0;
    struct buf digest;
    bool ok = false;

    buf_init(&digest, SHA384_BYTES);
    if (node->type != JSON_OBJECT) {
        err_set(err, ERR_INVALID, "it is no object");
        goto out;
    }
    if (!read_number(&e->imr, doc, node, "imr", UINT64_MAX, 3, err) ||
        !read_number(&type, doc, node, "event_type", UINT64_MAX, UINT32_MAX, err) ||
        !read_number(&e->version, doc, node, "version", 1, VERSION_MAX, err) ||
        !read_hex(&digest, doc, node, "digest", err) || !read_name(e, doc, node, err) ||
        !read_hex(&e->payload, doc, node, "event_payload", err) ||
        !read_hex(&e->preimage, doc, node, "preimage", err)) {
        goto out;
    }
    e->type = type;
    e->has_digest = digest.len > 0;
    if (e->has_digest && digest.len != sizeof e->digest) {
        err_set(err, ERR_INVALID, "its digest has %zu bytes, not %d", digest.len, SHA384_BYTES);
        goto out;
    }
    if (e->has_digest) {
        memcpy(e->digest, digest.data, sizeof e->digest);
    }
    ok = true;
out:
    buf_free(&digest);
    return ok;
}

/* Computes the digest from name and payload; what the log claims must be the same. */
static bool authenticate(struct event *e, struct err *err)
{
    struct buf preimage;
    uint8_t digest[SHA384_BYTES];
    bool ok = false;

    buf_init(&preimage, PREIMAGE_BYTES_MAX);
    if (e->version == 0) {
        err_set(err, ERR_INVALID, "version 0 is not known");
        goto out;
    }
    write_preimage(&preimage, e->version, (const char *)e->name.data, e->name.len, e->payload.data,
                   e->payload.len);
    if (!complete(&preimage, err)) {
        goto out;
    }
    if (e->preimage.len > 0 &&
        (e->preimage.len != preimage.len || memcmp(e->preimage.data, preimage.data, preimage.len) != 0)) {
        err_set(err, ERR_INVALID, "its preimage is not that of its name and payload");
        goto out;
    }
    if (!hash_sha384(digest, preimage.data, preimage.len)) {
        err_set(err, ERR_CRYPTO, "SHA-384 failed");
        goto out;
    }
    if (e->has_digest && memcmp(digest, e->digest, sizeof digest) != 0) {
        err_set(err, ERR_INVALID, "its digest is not that of its name and payload");
        goto out;
    }
    memcpy(e->digest, digest, sizeof digest);
    ok = true;
out:
    buf_free(&preimage);
    return ok;
}

static bool named(const struct event *e, const char *name)
{
    size_t len = strlen(name);
    return e->name.len == len && memcmp(e->name.data, name, len) == 0;
}

static bool take_init_script(struct event_log *log, const struct event *e, struct err *err)
{
    if (log->value[EVENT_SYSTEM_READY].has) {
        return true;
    }
    if (log->init_scripts == EVENT_INIT_SCRIPTS_MAX || e->payload.len != SHA256_BYTES) {
        return err_set(err, ERR_INVALID, "it is one init script too many, or no SHA-256");
    }
    memcpy(log->init_script[log->init_scripts++], e->payload.data, SHA256_BYTES);
    return true;
}

/* Keeps the system's own events. Behind system-ready the application writes: an event of a system's name there counts as
 * a repetition, whether or not the system wrote one, for it can only be meant to mislead. */
static bool take_value(struct event_log *log, const struct event *e, struct err *err)
{
    bool ready = log->value[EVENT_SYSTEM_READY].has;
    if (named(e, INIT_SCRIPT_HASH)) {
        return take_init_script(log, e, err);
    }
    /* V1 joins name and payload by a colon, so a name that holds one could be another event, cut elsewhere. */
    if (!ready && e->version == 1 && e->name.len > 0 && memchr(e->name.data, ':', e->name.len) != NULL) {
        return err_set(err, ERR_INVALID, "its name holds a colon");
    }
    for (unsigned id = 0; id < EVENT_ID_COUNT; id++) {
        if (!named(e, names[id])) {
            continue;
        }
        struct event_value *value = &log->value[id];
        if (value->has || ready) {
            log->repeated = log->repeated == EVENT_ID_COUNT ? (enum event_id)id : log->repeated;
            return true;
        }
        value->has = true;
        value->len = e->payload.len;
        if (value->len > 0 && value->len <= sizeof value->data) {
            memcpy(value->data, e->payload.data, value->len);
        }
        return true;
    }
    return true;
}

static bool extend(struct event_log *log, const struct event *e, struct err *err)
{
    uint8_t both[MEASUREMENT_BYTES + SHA384_BYTES];
    memcpy(both, log->rtmr[e->imr], MEASUREMENT_BYTES);
    memcpy(both + MEASUREMENT_BYTES, e->digest, SHA384_BYTES);
    return hash_sha384(log->rtmr[e->imr], both, sizeof both) || err_set(err, ERR_CRYPTO, "SHA-384 failed");
}

static bool add_event(struct event_log *log, struct event *e, struct err *err)
{
    if ((e->type == RUNTIME_EVENT) != (e->imr == RUNTIME_REGISTER)) {
        /* An event of another type there would be one whose name nothing vouches for. */
        return err_set(err, ERR_INVALID, "type and register do not belong together");
    }
    if (e->type != RUNTIME_EVENT) {
        return e->has_digest ? extend(log, e, err) : err_set(err, ERR_INVALID, "it has no digest");
    }
    log->runtime_events++;
    log->app_events += log->value[EVENT_SYSTEM_READY].has;
    log->has_version_2 = log->has_version_2 || e->version == 2;
    return authenticate(e, err) && extend(log, e, err) && take_value(log, e, err);
}

bool event_log_read(struct event_log *out, const char *text, size_t len, struct err *err)
{
    struct json_doc doc;
    struct event e;
    bool ok = false;

    memset(out, 0, sizeof *out);
    out->repeated = EVENT_ID_COUNT;
    json_doc_init(&doc);
    event_init(&e);
    if (!json_parse(&doc, text, len, LIMIT_JSON_NODES, err)) {
        goto out;
    }
    const struct json_node *root = json_root(&doc);
    if (root->type != JSON_ARRAY || root->count == 0 || root->count > EVENT_LOG_EVENTS_MAX) {
        err_set(err, ERR_INVALID, "it is no list of 1 to %d events", EVENT_LOG_EVENTS_MAX);
        goto out;
    }
    for (const struct json_node *n = json_first(&doc, root); n != NULL; n = json_next(&doc, n)) {
        out->events++;
        if (!read_event(&e, &doc, n, err) || !add_event(out, &e, err)) {
            err_context(err, "event %zu", out->events);
            goto out;
        }
    }
    ok = true;
out:
    event_free(&e);
    json_doc_free(&doc);
    if (!ok) {
        memset(out, 0, sizeof *out);
        out->repeated = EVENT_ID_COUNT;
    }
    return ok;
}
