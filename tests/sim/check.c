#include "check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "record.h"

struct check_policy check_policy;

static void refusal_json(struct refusal *r, int status, const char *type, const char *code,
                         const char *message)
{
    cJSON *root = cJSON_CreateObject(), *error = cJSON_AddObjectToObject(root, "error");
    cJSON_AddStringToObject(error, "message", message);
    cJSON_AddStringToObject(error, "type", type);
    if (code)
        cJSON_AddStringToObject(error, "code", code);
    free(r->body);
    r->status = status;
    r->body = cJSON_PrintUnformatted(root);
    cJSON_Delete(root);
}

void refusal_set(struct refusal *r, int status, const char *type, const char *code, const char *fmt, ...)
{
    char message[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(message, sizeof message, fmt, ap);
    va_end(ap);
    refusal_json(r, status, type, code, message);
}

bool fields_refuse(struct refusal *r, const char *rule, const char *fmt, ...)
{
    char message[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(message, sizeof message, fmt, ap);
    va_end(ap);
    record_violation(rule, "%s", message);
    refusal_json(r, 400, "sim_violation", rule, message);
    return false;
}

/* ---- headers ---- */

static const char CLIENT_KEY[] = "X-Venice-TEE-Client-Pub-Key", MODEL_KEY[] = "X-Venice-TEE-Model-Pub-Key",
                  ALGO[] = "X-Venice-TEE-Signing-Algo";

bool check_common(const struct http_request *q, bool key_needed, struct refusal *r)
{
    static const char *const known[] = {"Host",
                                        "User-Agent",
                                        "Accept",
                                        "Accept-Encoding",
                                        "Content-Type",
                                        "Content-Length",
                                        "Transfer-Encoding",
                                        "Authorization",
                                        "Connection",
                                        "Expect",
                                        "Cache-Control",
                                        CLIENT_KEY,
                                        MODEL_KEY,
                                        ALGO};
    for (size_t i = 0; i < q->header_count; i++) {
        bool ok = false;
        int count;
        for (size_t k = 0; k < sizeof known / sizeof *known; k++)
            ok = ok || !strcasecmp(known[k], q->headers[i].name);
        if (!ok)
            return fields_refuse(r, "unexpected_header", "header %.60s is not one a proxy needs",
                                 q->headers[i].name);
        http_header_get(q, q->headers[i].name, &count);
        if (count != 1)
            return fields_refuse(r, "duplicate_header", "header %.60s comes %d times", q->headers[i].name,
                                 count);
    }
    const char *auth = http_header_get(q, "Authorization", NULL);
    if (key_needed && check_policy.api_key &&
        (!auth || strncmp(auth, "Bearer ", 7) || strcmp(auth + 7, check_policy.api_key))) {
        refusal_set(r, 401, "authentication_error", "AUTHENTICATION_FAILED", "Authentication failed");
        return false;
    }
    return true;
}

static bool bad_header(struct refusal *r, const char *rule, const char *why)
{
    record_violation(rule, "%s", why);
    refusal_set(r, 400, "invalid_request_error", NULL, "Invalid E2EE headers: %s", why);
    return false;
}

static bool read_point(const char *hex, uint8_t point[SIM_POINT], const char **why)
{
    size_t len = strlen(hex);
    if (len != 130)
        *why = "is not 130 hex digits";
    else if (!hex_decode(hex, len, point, SIM_POINT))
        *why = "is not hex";
    else if (!hex_only(hex, len, true))
        *why = "is not in lower case";
    else if (!sim_point_valid(point))
        *why = "is not a point of the curve with prefix 04";
    else
        return true;
    return false;
}

/* Sets *plain when no E2EE is asked for and the policy is to let that pass. */
static bool check_headers(const struct http_request *q, struct chat *chat, uint8_t model_key[SIM_POINT],
                          bool *plain, struct refusal *r)
{
    const char *client = http_header_get(q, CLIENT_KEY, NULL), *model = http_header_get(q, MODEL_KEY, NULL),
               *algo = http_header_get(q, ALGO, NULL), *why = NULL;
    char message[128];
    if (!client || !model || !algo) {
        const char *name = !client ? CLIENT_KEY : !model ? MODEL_KEY : ALGO;
        *plain = check_policy.fail_open;
        if (*plain)
            record_violation("missing_e2ee_header", "%s is missing", name);
        return *plain ? true : fields_refuse(r, "missing_e2ee_header", "%s is missing", name);
    }
    if (strcmp(algo, "ecdsa"))
        return bad_header(r, "signing_algo", "Unsupported signing algorithm");
    if (!read_point(client, chat->client, &why)) {
        snprintf(message, sizeof message, "client public key %s", why);
        return bad_header(r, "client_pub_key", message);
    }
    if (!read_point(model, model_key, &why)) {
        snprintf(message, sizeof message, "model public key %s", why);
        return bad_header(r, "model_pub_key", message);
    }
    if (!memcmp(client, model, 130))
        return fields_refuse(r, "client_key_is_model_key", "both headers carry the same key");
    return true;
}

/* Which words the server of this flavour has for a key that is no longer its own (sections 2 and 6). */
static bool check_model_key(const struct chat *chat, const uint8_t key[SIM_POINT], struct refusal *r)
{
    if (!memcmp(key, chat->model->key->pub, SIM_POINT))
        return true;
    if (chat->model->behind_ca) {
        refusal_set(
            r, 421, "invalid_parameter", NULL,
            "The encryption key is no longer valid. Please refresh your attestation report and retry.");
        return false;
    }
    if (chat->model->flavour == FLAVOUR_DV || chat->model->flavour == FLAVOUR_PG) {
        refusal_set(r, 400, "e2ee_model_key_mismatch", NULL, "Model public key does not match this instance");
        return false;
    }
    return true; /* NR and NP ignore the header: decryption fails instead */
}

/* ---- the whole request ---- */

static bool parse_body(const struct http_request *q, struct chat *chat, struct refusal *r)
{
    const char *type = http_header_get(q, "Content-Type", NULL), *end = NULL;
    if (!type || strncasecmp(type, "application/json", 16))
        return fields_refuse(r, "content_type", "Content-Type is not application/json");
    if (!utf8_valid(q->body.p, q->body.len) || memchr(bytes_text(&q->body), 0, q->body.len))
        return fields_refuse(r, "json_utf8", "the body is not UTF-8");
    chat->body = cJSON_ParseWithLengthOpts(bytes_text(&q->body), q->body.len, &end, false);
    if (!chat->body || !cJSON_IsObject(chat->body))
        return fields_refuse(r, "json_invalid", "the body is not a JSON object");
    for (; end < bytes_text(&q->body) + q->body.len; end++)
        if (!strchr(" \t\r\n", *end))
            return fields_refuse(r, "json_trailing", "bytes after the JSON object");
    return fields_no_duplicates(chat->body, r);
}

static bool find_model(struct chat *chat, struct refusal *r)
{
    const char *id = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(chat->body, "model"));
    if (!id)
        return fields_refuse(r, "model_missing", "no model");
    chat->model_id = sim_strdup(id);
    chat->model = model_find(id, &chat->fault);
    if (!chat->model) {
        record_violation("model_unknown", "a model that is not in the catalogue");
        refusal_set(r, 404, "invalid_request_error", "MODEL_NOT_FOUND", "Specified model not found");
        return false;
    }
    if (!chat->model->e2ee || !chat->model->tee)
        return fields_refuse(r, "model_without_e2ee", "a model without both E2EE and attestation");
    return true;
}

bool check_chat(const struct http_request *q, struct chat *chat, bool *plain, struct refusal *r)
{
    uint8_t model_key[SIM_POINT] = {0};
    *plain = false;
    if (q->too_large) {
        refusal_set(r, 413, "invalid_request_error", NULL, "The request body is too large");
        return false;
    }
    if (q->query)
        return fields_refuse(r, "query_string", "a query string on /chat/completions");
    if (!check_common(q, true, r) || !check_headers(q, chat, model_key, plain, r) ||
        !parse_body(q, chat, r) || !find_model(chat, r))
        return false;
    if (*plain)
        return true;
    sha256_of(q->body.p, q->body.len, chat->body_hash);
    if (!fields_check(chat, r) || !check_model_key(chat, model_key, r) || !open_messages(chat, r))
        return false;
    char *compact = cJSON_PrintUnformatted(chat->body);
    sha256_of(compact, strlen(compact), chat->plain_hash);
    free(compact);
    return true;
}

void check_reset(void)
{
    open_reset();
}

void chat_free(struct chat *chat)
{
    cJSON_Delete(chat->body);
    bytes_free(&chat->prompt);
    free(chat->parts);
    free(chat->model_id);
    free(chat->sealed_sample);
    memset(chat, 0, sizeof *chat);
}
