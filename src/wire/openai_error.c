#include "wire/openai_error.h"

#include <string.h>

#include "json/json.h"

#define INVALID "invalid_request_error"
#define SERVER "server_error"
#define UPSTREAM "upstream_error"

/* One row for each kind: docs of the interface, "HTTP". Order: status, Retry-After, no_retry, type, code. */
static const struct openai_error rows[ERR_KIND_COUNT] = {
    [ERR_NONE] = {500, 0, false, SERVER, "internal_error", NULL, NULL},
    [ERR_INVALID] = {400, 0, false, INVALID, NULL, NULL, NULL},
    [ERR_UNSUPPORTED] = {400, 0, false, INVALID, "unsupported_feature", NULL, NULL},
    [ERR_TOO_LARGE] = {413, 0, false, INVALID, "request_too_large", NULL, NULL},
    [ERR_NOT_FOUND] = {404, 0, false, INVALID, "model_not_found", NULL, NULL},
    [ERR_AUTH] = {401, 0, false, INVALID, "invalid_api_key", NULL, NULL},
    [ERR_FORBIDDEN] = {403, 0, false, INVALID, "forbidden_origin", NULL, NULL},
    [ERR_BUSY] = {503, 1, false, SERVER, "overloaded", NULL, NULL},
    [ERR_MEMORY] = {503, 5, false, SERVER, "overloaded", NULL, NULL},
    [ERR_CONFIG] = {500, 0, false, SERVER, "internal_error", NULL, NULL},
    [ERR_IO] = {500, 0, false, SERVER, "internal_error", NULL, NULL},
    [ERR_CRYPTO] = {500, 0, false, SERVER, "internal_error", NULL, NULL},
    [ERR_TOKEN] = {503, 5, false, SERVER, "token_unavailable", NULL, NULL},
    [ERR_PIN] = {503, 60, false, SERVER, "token_unavailable", NULL, NULL},
    [ERR_KEY_GONE] = {503, 1, false, SERVER, "token_unavailable", NULL, NULL},
    [ERR_ATTESTATION] = {502, 0, true, UPSTREAM, "attestation_failed", NULL, NULL},
    [ERR_PLAINTEXT] = {502, 0, true, UPSTREAM, "plaintext_from_upstream", NULL, NULL},
    [ERR_DECRYPT] = {502, 0, true, UPSTREAM, "decryption_failed", NULL, NULL},
    [ERR_TIMEOUT] = {504, 0, false, UPSTREAM, "upstream_timeout", NULL, NULL},
    [ERR_UNREACHABLE] = {502, 0, false, UPSTREAM, "upstream_unreachable", NULL, NULL},
    [ERR_UPSTREAM] = {502, 0, false, UPSTREAM, "upstream_error", NULL, NULL},
    [ERR_EXPIRED] = {503, 1, false, SERVER, "session_expired", NULL, NULL},
    [ERR_PROTOCOL] = {503, 5, false, SERVER, "token_unavailable", NULL, NULL},
    [ERR_CANCELLED] = {499, 0, false, SERVER, "cancelled", NULL, NULL},
    [ERR_INTERNAL] = {500, 0, false, SERVER, "internal_error", NULL, NULL},
};

struct openai_error openai_error_of_kind(enum err_kind kind)
{
    return rows[(unsigned)kind < ERR_KIND_COUNT ? kind : ERR_INTERNAL];
}

struct openai_error openai_error_of(const struct err *err)
{
    struct openai_error error = openai_error_of_kind(err->kind);
    error.message = err->message;
    if (err->retry_after_s > 0) {
        error.retry_after_s = err->retry_after_s;
    }
    if (err->kind == ERR_UPSTREAM && err->upstream_status != 0) {
        error.status = err->upstream_status;
        error.code = error.status == 401 ? rows[ERR_AUTH].code : error.code;
    }
    return error;
}

struct openai_error openai_error_of_upstream(const struct upstream_error *error)
{
    uint32_t retry = error->retry_after_s;
    if (retry == 0 && error->status == 503) {
        retry = 1;
    }
    return (struct openai_error){
        .status = error->status,
        .retry_after_s = (uint16_t)(retry < UINT16_MAX ? retry : UINT16_MAX),
        .type = error->type,
        .code = error->code[0] != '\0' ? error->code : "upstream_error",
        .message = error->message,
    };
}

/* Bytes of the valid character at s, 0 when there is none. */
static size_t char_len(const char *s, size_t left)
{
    for (size_t n = 1; n <= 4 && n <= left; n++) {
        if (json_utf8_valid(s, n)) {
            return n;
        }
    }
    return 0;
}

static bool append_text(struct buf *out, const char *text)
{
    size_t len = text != NULL ? strlen(text) : 0;
    if (json_utf8_valid(text, len)) {
        return json_append_string(out, text, len);
    }
    buf_append_byte(out, '"');
    for (size_t i = 0, n; i<len; i += n> 0 ? n : 1) {
        n = char_len(text + i, len - i);
        json_append_escaped(out, n > 0 ? text + i : "\xef\xbf\xbd", n > 0 ? n : 3);
    }
    return buf_append_byte(out, '"');
}

static bool append_or_null(struct buf *out, const char *text)
{
    return text != NULL ? append_text(out, text) : buf_append_str(out, "null");
}

bool openai_error_json(struct buf *out, const struct openai_error *error)
{
    return buf_append_str(out, "{\"error\":{\"message\":") && append_text(out, error->message) &&
           buf_append_str(out, ",\"type\":") && append_text(out, error->type) &&
           buf_append_str(out, ",\"param\":") && append_or_null(out, error->param) &&
           buf_append_str(out, ",\"code\":") && append_or_null(out, error->code) && buf_append_str(out, "}}");
}

bool openai_error_event(struct buf *out, const struct openai_error *error)
{
    return buf_append_str(out, "data: ") && openai_error_json(out, error) && buf_append_str(out, "\n\n");
}
