#include "app/routes.h"

#include <string.h>

#include "app/exchange.h"
#include "app/metrics.h"
#include "app/reply.h"
#include "app/status.h"
#include "base/hex.h"
#include "base/mem.h"
#include "base/secret.h"

enum route { ROUTE_NONE, ROUTE_CHAT, ROUTE_MODELS, ROUTE_MODEL, ROUTE_HEALTH, ROUTE_METRICS };

/* The context of a call that waits for the catalogue. */
struct models_call {
    struct call_owner owner;
    struct worker *worker;
    struct http_call *call;
    struct session_wait *wait;
    char model[LIMIT_MODEL_ID_BYTES + 1]; /* "": the whole list */
};

static const char *without_version(const char *path)
{
    return strncmp(path, "/v1/", 4) == 0 ? path + 3 : path;
}

static enum route find_route(const char *path)
{
    const char *p = without_version(path);
    if (strcmp(p, "/chat/completions") == 0) {
        return ROUTE_CHAT;
    }
    if (strcmp(p, "/models") == 0) {
        return ROUTE_MODELS;
    }
    if (strncmp(p, "/models/", 8) == 0 && p[8] != '\0') {
        return ROUTE_MODEL;
    }
    if (strcmp(p, "/health") == 0) {
        return ROUTE_HEALTH;
    }
    return strcmp(p, "/metrics") == 0 ? ROUTE_METRICS : ROUTE_NONE;
}

static void refuse(struct http_call *call, int status, const char *code, const char *message,
                   const char *allow)
{
    const struct http_error e = {
        .status = status, .type = "invalid_request_error", .code = code, .message = message};
    const struct http_header header = {"Allow", allow};
    call_reply_error(call, &e, allow != NULL ? &header : NULL, allow != NULL ? 1 : 0);
}

static void on_headers(struct http_call *call, void *arg)
{
    metrics_add(METRIC_REQUESTS, 1);
    enum route route = find_route(call_path(call));
    enum http_method method = call_method(call);
    if (route == ROUTE_NONE) {
        refuse(
            call, 404, "not_found",
            "no such path; there are /v1/chat/completions, /v1/models, /v1/models/{id}, /health and /metrics",
            NULL);
    } else if (route == ROUTE_CHAT && method != HTTP_METHOD_POST) {
        refuse(call, 405, "method_not_allowed", "use POST", "POST, OPTIONS");
    } else if (route != ROUTE_CHAT && method != HTTP_METHOD_GET && method != HTTP_METHOD_HEAD) {
        refuse(call, 405, "method_not_allowed", "use GET", "GET, HEAD, OPTIONS");
    } else if (route != ROUTE_CHAT) {
        call_set_body_limit(call, 0);
    }
}

/* Percent-decodes what is left of the path into out[cap]; false when malformed or too long. */
static bool decode_segment(char *out, size_t cap, const char *text)
{
    size_t n = 0;
    for (; *text != '\0'; text++) {
        uint8_t byte = (uint8_t)*text;
        if (*text == '%') {
            if (text[1] == '\0' || !hex_decode(&byte, text + 1, 2) || byte == 0) {
                return false;
            }
            text += 2;
        }
        if (n + 1 >= cap) {
            return false;
        }
        out[n++] = (char)byte;
    }
    out[n] = '\0';
    return true;
}

static void reply_model_error(struct http_call *call, const struct err *err, const char *param)
{
    struct openai_error error = openai_error_of(err);
    error.param = param;
    metrics_error(err->kind);
    reply_error(call, &error);
}

static void answer_models(struct http_call *call, const struct catalogue *catalogue, const char *id)
{
    struct buf body;
    struct err err;
    buf_init(&body, LIMIT_CATALOGUE_BYTES);
    const struct catalogue_model *model = id[0] != '\0' ? catalogue_find(catalogue, id) : NULL;
    bool ok = id[0] == '\0' ? catalogue_append_list(catalogue, &body)
                            : model != NULL && catalogue_append_model(model, &body);
    if (ok) {
        reply_json(call, 200, "", &body);
    } else {
        err_set(&err, ERR_NOT_FOUND, "no such model with end-to-end encryption; GET /v1/models lists them");
        reply_model_error(call, &err, "model");
    }
    buf_free(&body);
}

static void on_models_catalogue(void *arg, struct session *session, struct catalogue *catalogue,
                                const struct err *err)
{
    struct models_call *m = arg;
    if (catalogue != NULL) {
        answer_models(m->call, catalogue, m->model);
        catalogue_unref(catalogue);
    } else {
        reply_model_error(m->call, err, NULL);
    }
    mem_free(m);
}

static void models_closed(struct call_owner *owner)
{
    struct models_call *m = (struct models_call *)owner;
    sessions_cancel(m->worker->app->sessions, m->wait);
    mem_free(m);
}

static void serve_models(struct worker *w, struct http_call *call, const char *id_text)
{
    struct err err = {0};
    struct catalogue *catalogue = NULL;
    struct models_call *m = mem_calloc(1, sizeof *m);
    if (m == NULL) {
        err_set(&err, ERR_MEMORY, "no memory for a request");
        reply_model_error(call, &err, NULL);
        return;
    }
    m->owner.closed = models_closed;
    m->worker = w;
    m->call = call;
    if (!decode_segment(m->model, sizeof m->model, id_text)) {
        err_set(&err, ERR_NOT_FOUND, "no such model: not an id");
        reply_model_error(call, &err, "model");
        mem_free(m);
    } else if (!sessions_catalogue(w->app->sessions, w->mailbox, on_models_catalogue, m, &catalogue, &m->wait,
                                   &err)) {
        reply_model_error(call, &err, NULL);
        mem_free(m);
    } else if (catalogue != NULL) {
        answer_models(call, catalogue, m->model);
        catalogue_unref(catalogue);
        mem_free(m);
    } else {
        call_set_context(call, m);
    }
}

static void on_request(struct http_call *call, struct buf *body, void *arg)
{
    struct worker *w = arg;
    const char *path = without_version(call_path(call));
    switch (find_route(call_path(call))) {
    case ROUTE_CHAT:
        exchange_start(w, call, body);
        return;
    case ROUTE_MODELS:
        serve_models(w, call, "");
        return;
    case ROUTE_MODEL:
        serve_models(w, call, path + strlen("/models/"));
        return;
    case ROUTE_HEALTH:
        status_reply_health(w->app, call);
        return;
    case ROUTE_METRICS:
        status_reply_metrics(w->app, call);
        return;
    case ROUTE_NONE:
        break;
    }
    call_abort(call);
}

static void on_drained(struct http_call *call, void *arg)
{
    struct call_owner *owner = call_context(call);
    if (owner != NULL && owner->drained != NULL) {
        owner->drained(owner);
    }
}

static void on_closed(struct http_call *call, void *arg)
{
    struct call_owner *owner = call_context(call);
    if (owner != NULL) {
        owner->closed(owner);
    }
}

static void on_refused(int status, const char *code, void *arg)
{
    metrics_add(METRIC_REQUESTS, 1);
    metrics_error(status == 401   ? ERR_AUTH
                  : status == 403 ? ERR_FORBIDDEN
                  : status == 413 ? ERR_TOO_LARGE
                  : status == 503 ? ERR_BUSY
                                  : ERR_INVALID);
}

static bool is_public(const char *path, void *arg)
{
    return find_route(path) == ROUTE_HEALTH;
}

const struct http_handler routes_handler = {
    .on_headers = on_headers,
    .on_request = on_request,
    .on_drained = on_drained,
    .on_closed = on_closed,
    .on_refused = on_refused,
    .is_public = is_public,
};
