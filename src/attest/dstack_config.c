/* MRCONFIGID: what the host said at launch that the guest should be (attestation.md section 4). */
#include <string.h>

#include "attest/dstack_internal.h"
#include "base/hex.h"
#include "json/json.h"

#define CONFIG_HASH_BYTES 32 /* behind the version byte; 15 zero bytes follow */
#define CONFIG_BYTES_MAX 8192
#define V3_DOMAIN "dstack-mr-config-v3:"

/* Name in the event, name in the configuration, number in version 2. */
static const struct {
    const char *event, *config;
    uint8_t number;
} providers[] = {{"none", "none", 0}, {"local-sgx", "local", 1}, {"kms", "kms", 2}, {"tpm", "tpm", 3}};

#define PROVIDERS (sizeof providers / sizeof providers[0])

bool dstack_provider_known(const char *name)
{
    for (size_t i = 0; i < PROVIDERS; i++) {
        if (strcmp(providers[i].event, name) == 0) {
            return true;
        }
    }
    return false;
}

static size_t provider_index(const char *name)
{
    size_t i = 0;
    while (i + 1 < PROVIDERS && strcmp(providers[i].event, name) != 0) {
        i++;
    }
    return i;
}

/* CONFIG_BYTES_MAX has room for every configuration: only memory can be short. */
static bool complete(const struct buf *text, struct err *err)
{
    return !text->failed || err_set(err, ERR_MEMORY, "no memory for a configuration");
}

static void set_id(uint8_t out[static MEASUREMENT_BYTES], uint8_t version,
                   const uint8_t hash[static CONFIG_HASH_BYTES])
{
    memset(out, 0, MEASUREMENT_BYTES);
    out[0] = version;
    memcpy(out + 1, hash, CONFIG_HASH_BYTES);
}

void dstack_config_id_v1(uint8_t out[static MEASUREMENT_BYTES], const struct dstack_config *c)
{
    set_id(out, 1, c->compose_hash);
}

bool dstack_config_id_v2(uint8_t out[static MEASUREMENT_BYTES], const struct dstack_config *c,
                         struct err *err)
{
    struct buf text;
    uint8_t hash[KECCAK256_BYTES];
    bool ok;

    buf_init(&text, CONFIG_BYTES_MAX);
    buf_append(&text, c->compose_hash, SHA256_BYTES);
    buf_append(&text, c->app_id, APP_ID_BYTES);
    buf_append_byte(&text, providers[provider_index(c->key_provider)].number);
    buf_append(&text, c->key_provider_id, c->key_provider_id_len);
    ok = complete(&text, err);
    if (ok) {
        hash_keccak256(hash, text.data, text.len);
        set_id(out, 2, hash);
    }
    buf_free(&text);
    return ok;
}

bool dstack_config_id_v3(uint8_t out[static MEASUREMENT_BYTES], const void *document, size_t len,
                         struct err *err)
{
    struct buf text;
    uint8_t hash[SHA256_BYTES];
    bool ok;

    buf_init(&text, sizeof V3_DOMAIN + len);
    buf_append(&text, V3_DOMAIN, sizeof V3_DOMAIN); /* with its NUL, which the hash covers */
    buf_append(&text, document, len);
    ok = complete(&text, err) &&
         (hash_sha256(hash, text.data, text.len) || err_set(err, ERR_CRYPTO, "SHA-256 failed"));
    if (ok) {
        set_id(out, 3, hash);
    }
    buf_free(&text);
    return ok;
}

static void hex_member(struct buf *out, const char *name, const uint8_t *data, size_t len)
{
    buf_appendf(out, "%s\"%s\":\"", out->len > 1 ? "," : "", name);
    buf_append_hex(out, data, len);
    buf_append_byte(out, '"');
}

/* Which optional members a version 3 document has. */
enum {
    V3_APP_ID = 1,
    V3_GPU_POLICY = 2,
    V3_INIT_SCRIPTS = 4,
    V3_INSTANCE_ID = 8,
    V3_PROVIDER_ID = 16,
    V3_ALL = 32
};

static void write_v3(struct buf *out, const struct dstack_config *c, const struct event_log *log,
                     unsigned members)
{
    const struct event_value *instance = &log->value[EVENT_INSTANCE_ID];
    buf_reset(out);
    buf_append_byte(out, '{');
    if (members & V3_APP_ID) {
        hex_member(out, "app_id", c->app_id, APP_ID_BYTES);
    }
    hex_member(out, "compose_hash", c->compose_hash, SHA256_BYTES);
    if (members & V3_GPU_POLICY) {
        hex_member(out, "gpu_policy_hash", log->value[EVENT_GPU_POLICY_HASH].data, SHA256_BYTES);
    }
    if (members & V3_INIT_SCRIPTS) {
        buf_append_str(out, ",\"init_script_hashes\":[");
        for (size_t i = 0; i < log->init_scripts; i++) {
            buf_append_str(out, i > 0 ? ",\"" : "\"");
            buf_append_hex(out, log->init_script[i], SHA256_BYTES);
            buf_append_byte(out, '"');
        }
        buf_append_byte(out, ']');
    }
    if (members & V3_INSTANCE_ID) {
        hex_member(out, "instance_id", instance->data, instance->len);
    }
    buf_appendf(out, ",\"key_provider\":\"%s\"", providers[provider_index(c->key_provider)].config);
    if (members & V3_PROVIDER_ID) {
        hex_member(out, "key_provider_id", c->key_provider_id, c->key_provider_id_len);
    }
    buf_append_str(out, ",\"version\":3}");
}

/* The document is not needed: every member of it is an event too, and hosts write it in canonical form, so that only
 * which of the optional members it has must be tried. */
bool dstack_config_matches_v3(bool *match, const uint8_t id[static MEASUREMENT_BYTES],
                              const struct dstack_config *c, const struct event_log *log, struct err *err)
{
    struct buf text;
    uint8_t expected[MEASUREMENT_BYTES];
    unsigned possible = V3_APP_ID | V3_INIT_SCRIPTS;
    bool ok = true;

    *match = false;
    buf_init(&text, CONFIG_BYTES_MAX);
    if (log->value[EVENT_GPU_POLICY_HASH].has && log->value[EVENT_GPU_POLICY_HASH].len == SHA256_BYTES) {
        possible |= V3_GPU_POLICY;
    }
    if (log->value[EVENT_INSTANCE_ID].has && log->value[EVENT_INSTANCE_ID].len == APP_ID_BYTES) {
        possible |= V3_INSTANCE_ID;
    }
    if (c->key_provider_id_len > 0) {
        possible |= V3_PROVIDER_ID;
    }
    for (unsigned members = 0; ok && !*match && members < V3_ALL; members++) {
        if ((members & ~possible) != 0) {
            continue;
        }
        write_v3(&text, c, log, members);
        ok = complete(&text, err) && dstack_config_id_v3(expected, text.data, text.len, err);
        *match = ok && memcmp(expected, id, sizeof expected) == 0;
    }
    buf_free(&text);
    return ok;
}
