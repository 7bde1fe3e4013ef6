#include "quote.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "crypto.h"
#include "intel.h"

#define RUNTIME_EVENT 0x08000001u

/* ---- the event log ---- */

struct log {
    cJSON *list;
    uint8_t (*rtmr)[48];
};

static void put_u32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

static void add_event(struct log *log, int imr, uint32_t type, const char *name, const void *payload,
                      size_t len, const uint8_t digest[48])
{
    uint8_t both[96];
    struct bytes hex = {0};
    char digest_hex[97];
    memcpy(both, log->rtmr[imr], 48);
    memcpy(both + 48, digest, 48);
    sha384_of(both, sizeof both, log->rtmr[imr]);
    hex_encode(digest, 48, digest_hex);
    bytes_hex(&hex, payload, len);
    cJSON *o = cJSON_CreateObject();
    cJSON_AddNumberToObject(o, "imr", imr);
    cJSON_AddNumberToObject(o, "event_type", type);
    cJSON_AddStringToObject(o, "digest", digest_hex);
    cJSON_AddStringToObject(o, "event", name);
    cJSON_AddStringToObject(o, "event_payload", bytes_text(&hex));
    cJSON_AddItemToArray(log->list, o);
    bytes_free(&hex);
}

/* A dstack runtime event, V1: SHA384(LE32(type) ":" name ":" payload). */
static void add_runtime(struct log *log, const char *name, const void *payload, size_t len)
{
    uint8_t type[4], digest[48];
    struct bytes b = {0};
    put_u32(type, RUNTIME_EVENT);
    bytes_add(&b, type, sizeof type);
    bytes_fmt(&b, ":%s:", name);
    bytes_add(&b, payload, len);
    sha384_of(b.p, b.len, digest);
    bytes_free(&b);
    add_event(log, 3, RUNTIME_EVENT, name, payload, len, digest);
}

/* Boot events of the types whose digest is SHA384 of their payload, as many as real logs have (13, 5, 2). */
static void add_boot(struct log *log)
{
    static const int counts[] = {13, 5, 2};
    for (int imr = 0; imr < 3; imr++)
        for (int i = 0; i < counts[imr]; i++) {
            struct bytes payload = {0};
            uint8_t digest[48];
            uint32_t type = i + 1 == counts[imr] ? 4u : i % 2 ? 0x80000007u : 0x80000001u;
            if (type == 4)
                bytes_add(&payload, "\0\0\0", 4); /* EV_SEPARATOR */
            else
                bytes_fmt(&payload, "simulated enclave, register %d, event %d", imr, i);
            sha384_of(payload.p, payload.len, digest);
            add_event(log, imr, type, "", payload.p, payload.len, digest);
            bytes_free(&payload);
        }
}

static bool has(const struct quote_request *r, enum fault_id id)
{
    return r->fault && fault_is(r->fault, id);
}

static void add_runtime_events(struct log *log, const struct quote_request *r, const struct quote *q)
{
    bool late = has(r, F_A_EVENT_LATE);
    add_runtime(log, "system-preparing", "", 0);
    add_runtime(log, "app-id", q->app_id, sizeof q->app_id);
    if (!late)
        add_runtime(log, "compose-hash", q->compose_hash, sizeof q->compose_hash);
    if (has(r, F_A_EVENT_DUP))
        add_runtime(log, "compose-hash", q->compose_hash, sizeof q->compose_hash);
    add_runtime(log, "instance-id", q->instance_id, sizeof q->instance_id);
    add_runtime(log, "boot-mr-done", "", 0);
    add_runtime(log, "mr-kms", q->os_image_hash, sizeof q->os_image_hash);
    add_runtime(log, "os-image-hash", q->os_image_hash, sizeof q->os_image_hash);
    add_runtime(log, "key-provider", q->key_provider, strlen(q->key_provider));
    add_runtime(log, "storage-fs", "zfs", 3);
    add_runtime(log, "system-ready", "", 0);
    if (late)
        add_runtime(log, "compose-hash", q->compose_hash, sizeof q->compose_hash);
}

static void damage_log(const struct log *log, const struct quote_request *r)
{
    cJSON *o;
    cJSON_ArrayForEach(o, log->list)
    {
        const char *name = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o, "event"));
        if (has(r, F_A_EVENT_PAYLOAD) && !strcmp(name, "compose-hash"))
            cJSON_SetValuestring(cJSON_GetObjectItemCaseSensitive(o, "event_payload"),
                                 "00000000000000000000000000000000000000000000000000000000000000ff");
    }
    if (has(r, F_A_RTMR))
        cJSON_DeleteItemFromArray(log->list, 3);
}

static void make_log(struct quote *q, const struct quote_request *r)
{
    struct log log = {cJSON_CreateArray(), q->rtmr};
    add_boot(&log);
    add_runtime_events(&log, r, q);
    damage_log(&log, r);
    q->event_log = cJSON_PrintUnformatted(log.list);
    cJSON_Delete(log.list);
}

/* ---- the machine ---- */

static void digest_of_words(const char *words, const char *name, uint8_t *out, size_t len)
{
    uint8_t digest[48];
    struct bytes b = {0};
    bytes_fmt(&b, "e2ee-sim %s %s", words, name);
    sha384_of(b.p, b.len, digest);
    memcpy(out, digest, len);
    bytes_free(&b);
}

static void make_machine(struct quote *q, const struct quote_request *r)
{
    struct bytes compose = {0};
    bytes_fmt(
        &compose,
        "{\n    \"manifest_version\": 2,\n    \"name\": \"%s\",\n    \"runner\": \"docker-compose\",\n"
        "    \"docker_compose_file\": \"services:\\n  enclave:\\n    image: e2ee-sim@sha256:%064d\\n\",\n"
        "    \"kms_enabled\": true,\n    \"public_logs\": %s\n}",
        r->app_name, 0, has(r, F_A_OTHER_COMPOSE) ? "true" : "false");
    sha256_of(compose.p, compose.len, q->compose_hash);
    q->mr_config_id[0] = 1;
    memcpy(q->mr_config_id + 1, q->compose_hash, 32);
    if (has(r, F_A_MRCONFIG))
        q->mr_config_id[5] ^= 1;
    if (has(r, F_A_COMPOSE))
        bytes_str(&compose, "\n");
    q->app_compose = sim_strdup(bytes_text(&compose));
    bytes_free(&compose);
    digest_of_words("app-id", r->app_name, q->app_id, sizeof q->app_id);
    digest_of_words("instance-id", r->app_name, q->instance_id, sizeof q->instance_id);
    digest_of_words("os-image-hash", "", q->os_image_hash, sizeof q->os_image_hash);
    digest_of_words("mrtd", has(r, F_A_OTHER_OS) ? "another" : "", q->mrtd, sizeof q->mrtd);
    q->key_provider =
        sim_strdup("{\"name\":\"kms\",\"id\":\"3059301306072a8648ce3d020106082a8648ce3d030107\"}");
}

/* Header and TD report as tests/pki lays them out, signed up to the machine's root. */
static void make_signed(struct bytes *raw, const struct quote *q, const struct quote_request *r)
{
    struct pki_spec spec;
    intel_spec(&spec);
    memcpy(spec.mrtd, q->mrtd, sizeof spec.mrtd);
    memcpy(spec.mr_config_id, q->mr_config_id, sizeof spec.mr_config_id);
    memcpy(spec.rtmr, q->rtmr, sizeof spec.rtmr);
    memcpy(spec.report_data, r->report_data, sizeof spec.report_data);
    spec.td_attributes[0] |= has(r, F_A_DEBUG);
    spec.padding = 70; /* zeros, common in real quotes */
    if (has(r, F_A_OLD_MODULE))
        spec.tee_tcb_svn[0] = 3;
    intel_quote(&spec, has(r, F_A_STRANGER), raw);
    if (has(r, F_A_QUOTE_SGX))
        put_u32(raw->p + QUOTE_TEE_TYPE, 0);
}

static void damage_quote(struct bytes *raw, const struct quote_request *r)
{
    if (has(r, F_A_QUOTE_FLIP))
        raw->p[QUOTE_MRTD] ^= 1;
    if (has(r, F_A_QUOTE_LENGTH))
        memset(raw->p + QUOTE_SIG_LEN, 0xff, 4);
    if (has(r, F_A_QUOTE_CUT))
        raw->len = 600;
    for (long i = 0; has(r, F_A_QUOTE_HUGE) && i < r->fault->value; i++)
        bytes_add(raw, "", 1);
}

void quote_make(const struct quote_request *request, struct quote *out)
{
    memset(out, 0, sizeof *out);
    make_machine(out, request);
    make_log(out, request);
    make_signed(&out->raw, out, request);
    damage_quote(&out->raw, request);
}

void quote_free(struct quote *q)
{
    bytes_free(&q->raw);
    free(q->event_log);
    free(q->app_compose);
    free(q->key_provider);
    memset(q, 0, sizeof *q);
}
