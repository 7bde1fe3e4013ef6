#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "record.h"

/* ---- (point, nonce) pairs seen: with one key and one nonce, two texts give each other away ---- */

#define SEEN 65536
struct seen {
    uint8_t pair[32]; /* sha256 of point and nonce */
    uint8_t field[32];
    bool used;
};
static struct seen *seen;

void open_reset(void)
{
    free(seen);
    seen = NULL;
}

/* False when the pair came before with another ciphertext; the same field once more is a repeated request. */
static bool pair_is_new(const char *hex, size_t len)
{
    uint8_t pair[32], field[32];
    size_t slot = 0;
    if (!seen)
        seen = sim_alloc(SEEN * sizeof *seen);
    sha256_of(hex, 2 * (SIM_POINT + 12), pair);
    sha256_of(hex, len, field);
    memcpy(&slot, pair, sizeof slot);
    struct seen *s = &seen[slot % SEEN];
    bool same_pair = s->used && !memcmp(s->pair, pair, 32);
    if (same_pair && memcmp(s->field, field, 32))
        return false;
    s->used = true;
    memcpy(s->pair, pair, 32);
    memcpy(s->field, field, 32);
    return true;
}

/* ---- one field ---- */

static bool refuse_not_hex(const struct chat *chat, struct refusal *r)
{
    switch (chat->model->flavour) {
    case FLAVOUR_NR:
        refusal_set(r, 400, "bad_request", NULL, "Encrypted field is not valid hex");
        break;
    case FLAVOUR_NP:
        free(r->body);
        *r = (struct refusal){400, sim_strdup("{\"detail\":\"Failed to decrypt field\"}")};
        break;
    default:
        refusal_set(r, 400, "invalid_e2ee_request", NULL, "Encrypted message content must be hex-encoded");
    }
    return false;
}

static bool refuse_decryption(const struct chat *chat, struct refusal *r)
{
    if (chat->model->flavour == FLAVOUR_NP)
        return refuse_not_hex(chat, r);
    refusal_set(r, 400, chat->model->flavour == FLAVOUR_NR ? "bad_request" : "e2ee_decryption_failed", NULL,
                "Decryption failed");
    return false;
}

static bool open_field(struct chat *chat, const char *what, const char *text, struct bytes *out,
                       struct refusal *r)
{
    size_t len = strlen(text);
    if (len < SIM_FIELD_MIN_HEX || len % 2 || !hex_only(text, len, false)) {
        record_violation("plaintext_field", "%s is not a sealed field", what);
        return refuse_not_hex(chat, r);
    }
    if (!hex_only(text, len, true) || strncmp(text, "04", 2))
        return fields_refuse(r, "field_form", "%s is not lower-case hex beginning with 04", what);
    if (!pair_is_new(text, len))
        return fields_refuse(r, "nonce_reuse", "%s repeats a point and nonce with another text", what);
    if (!sim_field_open(chat->model->key->priv, text, len, out))
        return refuse_decryption(chat, r);
    if (!utf8_valid(out->p, out->len))
        return fields_refuse(r, "sealed_utf8", "%s does not hold UTF-8", what);
    sim_stats.fields_opened++;
    if (!chat->sealed_sample)
        chat->sealed_sample = sim_strdup(text);
    return true;
}

/* ---- content that is an array after decryption ---- */

static void note_part(struct chat *chat, struct bytes *words, const char *type, const char *url)
{
    uint8_t digest[32];
    sha256_of(url, strlen(url), digest);
    size_t head = strcspn(url, ";,");
    bytes_fmt(words, "%s%s %.*s, %zu characters, sha256 ", words->len ? "; " : "", type,
              (int)(head > 40 ? 40 : head), url, strlen(url));
    bytes_hex(words, digest, 8);
}

static bool read_parts(struct chat *chat, const cJSON *list, struct bytes *text, struct bytes *words,
                       struct refusal *r)
{
    const cJSON *part;
    cJSON_ArrayForEach(part, list)
    {
        const char *type = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(part, "type"));
        const char *body = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(part, "text"));
        const cJSON *image = cJSON_GetObjectItemCaseSensitive(part, "image_url");
        const char *url = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(image, "url"));
        const char *refusal = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(part, "refusal"));
        if (type && !strcmp(type, "text") && body)
            bytes_str(text, body);
        else if (type && !strcmp(type, "refusal") &&
                 refusal) /* of an earlier answer: a text to the servers */
            bytes_str(text, refusal);
        else if (type && !strcmp(type, "image_url") && url && chat->model->vision)
            note_part(chat, words, type, url);
        else if (type && !strcmp(type, "image_url") && url) {
            refusal_set(r, 400, "invalid_request_error", NULL, "This model does not support images");
            return false;
        } else
            return fields_refuse(r, "content_parts",
                                 "text turned into an array whose members are no content parts");
    }
    return true;
}

/* ---- messages ---- */

static bool check_keys(const cJSON *message, const char *role, struct refusal *r)
{
    static const char *const known[] = {"role", "content", "tool_call_id", "reasoning_content", "reasoning"};
    const cJSON *v;
    cJSON_ArrayForEach(v, message)
    {
        bool ok = false;
        for (size_t i = 0; i < sizeof known / sizeof *known; i++)
            ok = ok || !strcmp(known[i], v->string);
        if (!ok)
            return fields_refuse(r, "message_key", "messages[].%.60s must not leave the proxy", v->string);
        if (!strcmp(v->string, "tool_call_id") && (strcmp(role, "tool") || !cJSON_IsString(v)))
            return fields_refuse(r, "tool_call_id", "tool_call_id outside a tool message");
    }
    return true;
}

/* The string at key, opened, in its place; absent and null pass as on every server. */
static bool open_key(struct chat *chat, cJSON *message, const char *key, struct bytes *out, bool *there,
                     struct refusal *r)
{
    cJSON *v = cJSON_GetObjectItemCaseSensitive(message, key);
    *there = false;
    if (!v || cJSON_IsNull(v))
        return true;
    if (!cJSON_IsString(v))
        return fields_refuse(r, "plaintext_field", "messages[].%s is not a string", key);
    if (!*v->valuestring && (chat->model->flavour == FLAVOUR_DV || chat->model->flavour == FLAVOUR_PG)) {
        record_violation("plaintext_field", "messages[].%s is an empty string", key);
        return refuse_not_hex(chat, r);
    }
    if (!*v->valuestring)
        return fields_refuse(r, "plaintext_field", "messages[].%s is an empty string", key);
    if (!open_field(chat, key, v->valuestring, out, r))
        return false;
    *there = true;
    return true;
}

static bool open_content(struct chat *chat, cJSON *message, bool is_user, struct refusal *r)
{
    struct bytes plain = {0}, text = {0}, words = {0};
    bool there, ok = open_key(chat, message, "content", &plain, &there, r);
    /* Text that parses as a JSON array comes back as structured content, on every server. */
    cJSON *list = ok && there ? cJSON_ParseWithOpts(bytes_text(&plain), NULL, true) : NULL;
    if (cJSON_IsArray(list)) {
        ok = read_parts(chat, list, &text, &words, r);
        cJSON_ReplaceItemInObjectCaseSensitive(message, "content", list);
    } else {
        cJSON_Delete(list);
        if (ok && there)
            cJSON_ReplaceItemInObjectCaseSensitive(message, "content",
                                                   cJSON_CreateString(bytes_text(&plain)));
        bytes_add(&text, plain.p, plain.len);
    }
    if (ok && is_user) {
        bytes_clear(&chat->prompt);
        bytes_add(&chat->prompt, text.p, text.len);
        free(chat->parts);
        chat->parts = words.len ? sim_strdup(bytes_text(&words)) : NULL;
    }
    bytes_free(&plain);
    bytes_free(&text);
    bytes_free(&words);
    return ok;
}

static bool open_reasoning(struct chat *chat, cJSON *message, const char *key, struct refusal *r)
{
    struct bytes plain = {0};
    bool there, ok = open_key(chat, message, key, &plain, &there, r);
    /* Only NR opens these; to the other servers the model sees what came, so plaintext would have leaked. */
    if (ok && there && chat->model->flavour == FLAVOUR_NR)
        cJSON_ReplaceItemInObjectCaseSensitive(message, key, cJSON_CreateString(bytes_text(&plain)));
    bytes_free(&plain);
    return ok;
}

static bool open_message(struct chat *chat, cJSON *message, struct refusal *r)
{
    static const char *const roles[] = {"system", "developer", "user", "assistant", "tool"};
    const char *role = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(message, "role"));
    bool known = false;
    for (size_t i = 0; role && i < sizeof roles / sizeof *roles; i++)
        known = known || !strcmp(role, roles[i]);
    if (!cJSON_IsObject(message) || !known)
        return fields_refuse(r, "message_role", "a message without a known role");
    return check_keys(message, role, r) && open_content(chat, message, !strcmp(role, "user"), r) &&
           open_reasoning(chat, message, "reasoning_content", r) &&
           open_reasoning(chat, message, "reasoning", r);
}

bool open_messages(struct chat *chat, struct refusal *r)
{
    cJSON *list = cJSON_GetObjectItemCaseSensitive(chat->body, "messages"), *message;
    if (!cJSON_GetArraySize(list)) {
        refusal_set(r, 400, "invalid_request_error", NULL, "messages must not be empty");
        return false;
    }
    cJSON_ArrayForEach(message, list) if (!open_message(chat, message, r)) return false;
    if (!chat->sealed_sample && chat->model->flavour == FLAVOUR_PG) {
        refusal_set(r, 400, "invalid_e2ee_request", NULL, "No encrypted field");
        return false;
    }
    return true;
}
