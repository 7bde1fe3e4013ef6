/* Rules that a request has to meet before its body is read: architecture.md "The proxy", interface.md "HTTP". */
#include <string.h>
#include <strings.h>

#include "server/conn.h"

static const char *field_name(const struct http_call *call, unsigned i)
{
    return (const char *)call->head.data + call->fields[i].name;
}

static const char *field_value(const struct http_call *call, unsigned i)
{
    return (const char *)call->head.data + call->fields[i].value;
}

/* How many there are; *value is the last one's. */
static unsigned count_fields(const struct http_call *call, const char *name, const char **value)
{
    unsigned n = 0;
    *value = NULL;
    for (unsigned i = 0; i < call->field_count; i++) {
        if (strcasecmp(field_name(call, i), name) == 0) {
            *value = field_value(call, i);
            n++;
        }
    }
    return n;
}

static bool refuse(struct http_error *e, int status, const char *code, const char *message)
{
    e->status = status;
    e->code = code;
    e->message = message;
    return false;
}

static bool bad(struct http_error *e, const char *message)
{
    return refuse(e, 400, "invalid_request", message);
}

static bool judge_target(const struct http_call *call, struct http_error *e)
{
    const char *path = call_path(call);
    if (call->method == HTTP_CONNECT) {
        return refuse(e, 405, "method_not_allowed", "CONNECT is not served here");
    }
    if (call->method == HTTP_OPTIONS && strcmp(path, "*") == 0) {
        return true;
    }
    if (path[0] != '/' || strchr(path, '#') != NULL || strchr(call_query(call), '#') != NULL) {
        return bad(e, "the request target must be a path: this is no forward proxy");
    }
    return true;
}

/* Anything about the body's length that two readers could understand differently is refused (request smuggling). */
static bool judge_framing(struct http_call *call, struct http_error *e)
{
    const char *length, *coding, *expect;
    unsigned lengths = count_fields(call, "Content-Length", &length);
    unsigned codings = count_fields(call, "Transfer-Encoding", &coding);
    if (lengths > 1) {
        return bad(e, "more than one Content-Length");
    }
    if (lengths == 1 && (length[0] == '\0' || length[strspn(length, "0123456789")] != '\0')) {
        return bad(e, "Content-Length is no number");
    }
    if (lengths > 0 && codings > 0) {
        return bad(e, "both Content-Length and Transfer-Encoding");
    }
    if (codings > 1 || (codings == 1 && call->version == 10)) {
        return bad(e, "Transfer-Encoding twice, or in HTTP/1.0");
    }
    if (codings == 1 && (strcasecmp(coding, "chunked") != 0 || !call->chunked_body)) {
        return refuse(e, 501, "unknown_transfer_encoding", "the only Transfer-Encoding served is chunked");
    }
    if (count_fields(call, "Expect", &expect) > 0) {
        if (strcasecmp(expect, "100-continue") != 0) {
            return refuse(e, 417, "expectation_failed", "the only Expect served is 100-continue");
        }
        call->expect_continue = true;
    }
    /* Only now is it sure where the request ends; an answer before this point closes the connection. */
    call->body_read = codings == 0 && call->length == 0;
    return true;
}

static bool judge_host(const struct http_worker *w, const struct http_call *call, struct http_error *e)
{
    const char *host;
    if (count_fields(call, "Host", &host) != 1) {
        return bad(e, "the request needs exactly one Host");
    }
    if (!origin_host_valid(host)) {
        return bad(e, "Host is not valid");
    }
    if (!origin_host_allowed(w->config->origins, host)) {
        return refuse(e, 403, "forbidden_origin", "this Host is not served here: see --allow-host");
    }
    return true;
}

/* Browsers name the page's origin themselves, pages cannot forge it. A page whose origin the user allowed may be
 * cross-site (localhost and 127.0.0.1 are); without an origin a cross-site request is refused. */
static bool judge_origin(const struct http_worker *w, struct http_call *call, struct http_error *e)
{
    const char *origin, *site;
    unsigned origins = count_fields(call, "Origin", &origin);
    if (origins > 1 || (origins == 1 && !origin_allowed(w->config->origins, origin))) {
        return refuse(e, 403, "forbidden_origin",
                      "pages of this origin may not use the proxy: see --allow-origin");
    }
    call->cors_origin = origin;
    unsigned sites = count_fields(call, "Sec-Fetch-Site", &site);
    bool trusted =
        sites == 0 || (sites == 1 && (strcasecmp(site, "same-origin") == 0 ||
                                      strcasecmp(site, "same-site") == 0 || strcasecmp(site, "none") == 0));
    if (!trusted && origins == 0) {
        return refuse(e, 403, "forbidden_origin", "cross-site requests are refused");
    }
    return true;
}

/* A form or a no-cors fetch of a foreign page cannot have this type without a preflight. */
static bool judge_content_type(const struct http_call *call, struct http_error *e)
{
    static const char json[] = "application/json";
    const char *type;
    if (call->method != HTTP_POST) {
        return true;
    }
    if (count_fields(call, "Content-Type", &type) == 1 && strncasecmp(type, json, sizeof json - 1) == 0) {
        const char *rest = type + sizeof json - 1;
        rest += strspn(rest, " \t");
        if (*rest == '\0' || *rest == ';') {
            return true;
        }
    }
    return refuse(e, 415, "unsupported_media_type", "a POST needs Content-Type: application/json");
}

static bool judge_token(const struct http_worker *w, const struct http_call *call, struct http_error *e)
{
    const struct secret *token = w->config->client_token;
    const struct http_handler *h = w->handler;
    const char *given;
    if (token == NULL || (h->is_public != NULL && h->is_public(call_path(call), w->arg))) {
        return true;
    }
    if (count_fields(call, "Authorization", &given) == 1 && strncasecmp(given, "Bearer ", 7) == 0) {
        given += 7;
        given += strspn(given, " ");
        if (strlen(given) == token->len && secret_bytes_equal(given, token->data, token->len)) {
            return true;
        }
    }
    return refuse(e, 401, "invalid_api_key", "the API key is missing or is not this proxy's client token");
}

bool judge_head(const struct http_worker *w, struct http_call *call, struct http_error *e, bool *preflight)
{
    const char *asked;
    if (!judge_target(call, e) || !judge_framing(call, e) || !judge_host(w, call, e) ||
        !judge_origin(w, call, e)) {
        return false;
    }
    *preflight = call->method == HTTP_OPTIONS && call->cors_origin != NULL &&
                 count_fields(call, "Access-Control-Request-Method", &asked) > 0;
    /* A preflight carries neither body nor key. */
    return call->method == HTTP_OPTIONS || (judge_content_type(call, e) && judge_token(w, call, e));
}

static bool cors_header_allowed(const char *name, size_t len)
{
    static const char *const names[] = {"authorization",   "content-type",        "accept",
                                        "idempotency-key", "openai-organization", "openai-project",
                                        "openai-beta",     "x-api-key",           "x-request-id",
                                        "x-title",         "http-referer",        "cache-control"};
    static const char prefix[] = "x-stainless-";
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strlen(names[i]) == len && strncasecmp(names[i], name, len) == 0) {
            return true;
        }
    }
    return len >= sizeof prefix - 1 && strncasecmp(name, prefix, sizeof prefix - 1) == 0 &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") >= len;
}

void judge_cors_headers(const struct http_call *call, struct buf *out)
{
    const char *p;
    if (count_fields(call, "Access-Control-Request-Headers", &p) != 1) {
        return;
    }
    while (*p != '\0') {
        p += strspn(p, ", \t");
        size_t len = strcspn(p, ", \t");
        if (len > 0 && cors_header_allowed(p, len)) {
            if (out->len > 0) {
                buf_append_str(out, ", ");
            }
            buf_append(out, p, len);
        }
        p += len;
    }
}
