#include "app/exchange.h"

#include <stdio.h>
#include <string.h>

#include "app/metrics.h"
#include "app/relay.h"
#include "app/reply.h"
#include "app/routes.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "upstream/transfer.h"
#include "wire/request.h"

struct exchange {
    struct call_owner owner;       /* first: the call's context */
    struct exchange *next, **link; /* in the worker's list */
    struct worker *worker;
    struct http_call *call;
    struct chat_request *request;
    const struct request_info *info;
    struct session_wait *wait;
    struct catalogue *catalogue; /* only until the model was found in it */
    struct session *session;
    struct transfer *transfer;
    struct relay *relay;   /* from the first attempt's sending on */
    size_t sealed_charged; /* bytes charged for the sealed copy */
    int upstream_status;   /* 0: none yet */
    int64_t retry_after_s;
    struct buf error_body; /* of an answer that is no 200 */
    bool repeated;         /* the one repetition was spent */
};

static void destroy(struct exchange *x)
{
    struct worker *w = x->worker;
    *x->link = x->next;
    if (x->next != NULL) {
        x->next->link = x->link;
    }
    if (x->wait != NULL) {
        sessions_cancel(w->app->sessions, x->wait);
    }
    if (x->transfer != NULL) {
        transfer_cancel(x->transfer);
    }
    relay_free(x->relay);
    request_free(x->request);
    catalogue_unref(x->catalogue);
    session_unref(x->session);
    inflight_give(&w->app->inflight, x->sealed_charged);
    buf_free(&x->error_body);
    mem_free(x);
    metrics_add(METRIC_STREAMS_OPEN, -1);
}

/* Ends the exchange with an error: a status, or the last event of a stream. */
static void fail_as(struct exchange *x, const struct openai_error *error)
{
    if (call_streaming(x->call)) {
        reply_error_event(x->call, error);
    } else {
        reply_error(x->call, error);
    }
    destroy(x);
}

static void fail(struct exchange *x, const struct err *err)
{
    struct openai_error error = openai_error_of(err);
    metrics_error(err->kind);
    log_write(err->kind == ERR_INVALID || err->kind == ERR_UNSUPPORTED || err->kind == ERR_NOT_FOUND
                  ? LOG_LEVEL_DEBUG
                  : LOG_LEVEL_WARN,
              "request %llu failed: %s", (unsigned long long)call_id(x->call), err_kind_name(err->kind));
    if (err->kind == ERR_KEY_GONE && x->session != NULL) {
        sessions_retire(x->worker->app->sessions, x->session);
    }
    fail_as(x, &error);
}

static void fail_upstream(struct exchange *x, const struct upstream_error *upstream)
{
    struct openai_error error = openai_error_of_upstream(upstream);
    metrics_error(ERR_UPSTREAM);
    log_info("request %llu: the upstream answered with an error, status %u",
             (unsigned long long)call_id(x->call), upstream->status);
    fail_as(x, &error);
}

static void want_session(struct exchange *x);

/* The enclave has another key now: attest again and repeat, once, unseen by the client. */
static bool repeat(struct exchange *x)
{
    if (x->repeated || call_streaming(x->call)) {
        return false;
    }
    x->repeated = true;
    metrics_add(METRIC_REPETITIONS, 1);
    if (x->transfer != NULL) {
        transfer_cancel(x->transfer);
        x->transfer = NULL;
    }
    relay_free(x->relay);
    x->relay = NULL;
    sessions_retire(x->worker->app->sessions, x->session);
    session_unref(x->session);
    x->session = NULL;
    inflight_give(&x->worker->app->inflight, x->sealed_charged);
    x->sealed_charged = 0;
    buf_reset(&x->error_body);
    x->upstream_status = 0;
    want_session(x);
    return true;
}

/* Looks at the answer after anything changed: writes what can be written, ends what is at its end. The exchange may
 * be gone afterwards. */
static void advance(struct exchange *x)
{
    struct err err = {0};
    const struct upstream_error *upstream = NULL;
    enum relay_state state = relay_advance(x->relay, &upstream, &err);
    switch (state) {
    case RELAY_FAILED:
        fail(x, &err);
        return;
    case RELAY_UPSTREAM_FAILED:
        if (!upstream->key_changed || !repeat(x)) {
            fail_upstream(x, upstream);
        }
        return;
    case RELAY_COMPLETE:
        if (relay_finish(x->relay, &err)) {
            destroy(x);
        } else {
            fail(x, &err);
        }
        return;
    case RELAY_GOES_ON:
        break;
    }
    if (x->transfer != NULL && relay_should_pause(x->relay)) {
        transfer_pause(x->transfer);
    } else if (x->transfer != NULL) {
        transfer_resume(x->transfer);
    }
}

static void on_key(void *arg, const struct err *err)
{
    struct exchange *x = arg;
    if (err != NULL) {
        fail(x, err);
    } else {
        advance(x);
    }
}

static void on_status(void *arg, const struct transfer_status *status)
{
    struct exchange *x = arg;
    x->upstream_status = status->status;
    x->retry_after_s = status->retry_after_s;
}

static void on_data(void *arg, const uint8_t *data, size_t len)
{
    struct exchange *x = arg;
    struct err err = {0};
    if (x->upstream_status != 200) {
        size_t room = LIMIT_UPSTREAM_ERROR_BYTES - x->error_body.len;
        (void)!buf_append(&x->error_body, data, len < room ? len : room); /* what does not fit is not shown */
        return;
    }
    if (x->sealed_charged > 0) {
        /* The answer has begun, so the request's sealed copy is gone (upstream/transfer.h). */
        inflight_give(&x->worker->app->inflight, x->sealed_charged);
        x->sealed_charged = 0;
    }
    if (!relay_feed(x->relay, data, len, &err)) {
        fail(x, &err);
        return;
    }
    advance(x);
}

static void on_error_status(struct exchange *x)
{
    struct upstream_error error;
    upstream_error_body(&error, &x->worker->parser.doc, (const char *)x->error_body.data, x->error_body.len,
                        (uint16_t)x->upstream_status);
    if (x->retry_after_s > 0 && error.retry_after_s == 0) {
        error.retry_after_s = (uint32_t)(x->retry_after_s > 86400 ? 86400 : x->retry_after_s);
    }
    if (!error.key_changed || !repeat(x)) {
        fail_upstream(x, &error);
    }
}

static void on_done(void *arg, const struct transfer_result *result)
{
    struct exchange *x = arg;
    x->transfer = NULL;
    if (result->err.kind != ERR_NONE) {
        fail(x, &result->err);
    } else if (x->upstream_status != 200) {
        on_error_status(x);
    } else {
        relay_end_of_stream(x->relay);
        advance(x);
    }
}

static bool send_sealed(struct exchange *x, struct buf *sealed, struct err *err)
{
    static const struct transfer_callbacks callbacks = {on_status, on_data, on_done};
    const struct transfer_header headers[] = {
        /* docs/PROTOCOL.md section 2: all three, or the provider processes plaintext. */
        {"X-Venice-TEE-Client-Pub-Key", x->session->client_key_hex},
        {"X-Venice-TEE-Model-Pub-Key", x->session->model_key_hex},
        {"X-Venice-TEE-Signing-Algo", "ecdsa"},
        {"Accept", "text/event-stream"},
    };
    const struct transfer_request request = {.path = "/chat/completions",
                                             .headers = headers,
                                             .header_count = sizeof headers / sizeof *headers,
                                             .body = sealed};
    x->transfer = transfer_start(x->worker->upstream, &request, &callbacks, x, err);
    return x->transfer != NULL;
}

/* Seals the request to the session's key and sends it. */
static bool seal_and_send(struct exchange *x, struct err *err)
{
    struct worker *w = x->worker;
    struct buf sealed;
    if (!inflight_take(&w->app->inflight, x->info->sealed_max)) {
        return err_set(err, ERR_BUSY,
                       "too many bytes of requests in progress; raise --max-inflight-bytes or try later");
    }
    x->sealed_charged = x->info->sealed_max;
    buf_init(&sealed, x->info->sealed_max);
    bool ok = aead_set_key(w->aead, &x->session->request_key, err) &&
              request_seal(x->request, x->session->model, w->aead, x->session->client_point, &sealed, err);
    if (ok) {
        x->relay = relay_new(w, x->call, x->session, x->info, w->next_stream_id++, on_key, x, err);
        ok = x->relay != NULL && send_sealed(x, &sealed, err);
    }
    buf_free(&sealed);
    return ok;
}

static void have_session(struct exchange *x)
{
    struct err err = {0};
    if (!seal_and_send(x, &err)) {
        fail(x, &err);
    }
}

static void on_session(void *arg, struct session *session, struct catalogue *catalogue, const struct err *err)
{
    struct exchange *x = arg;
    x->wait = NULL;
    x->session = session;
    if (session == NULL) {
        fail(x, err);
    } else {
        have_session(x);
    }
}

static void want_session(struct exchange *x)
{
    struct err err = {0};
    if (!sessions_acquire(x->worker->app->sessions, x->info->model, x->worker->mailbox, on_session, x,
                          &x->session, &x->wait, &err)) {
        fail(x, &err);
    } else if (x->session != NULL) {
        have_session(x);
    }
}

static void have_catalogue(struct exchange *x)
{
    bool known = catalogue_find(x->catalogue, x->info->model) != NULL;
    catalogue_unref(x->catalogue);
    x->catalogue = NULL;
    if (known) {
        want_session(x);
        return;
    }
    struct err err;
    err_set(&err, ERR_NOT_FOUND,
            "no such model with end-to-end encryption; GET /v1/models lists them. Nothing was sent");
    struct openai_error error = openai_error_of(&err);
    error.param = "model";
    metrics_error(err.kind);
    fail_as(x, &error);
}

static void on_catalogue(void *arg, struct session *session, struct catalogue *catalogue,
                         const struct err *err)
{
    struct exchange *x = arg;
    x->wait = NULL;
    x->catalogue = catalogue;
    if (catalogue == NULL) {
        fail(x, err);
    } else {
        have_catalogue(x);
    }
}

static void exchange_drained(struct call_owner *owner)
{
    struct exchange *x = (struct exchange *)owner;
    if (x->relay != NULL) {
        advance(x);
    }
}

/* Everything ends with the client, the upstream transfer included. */
static void exchange_closed(struct call_owner *owner)
{
    metrics_add(METRIC_CLIENTS_GONE, 1);
    destroy((struct exchange *)owner);
}

static struct exchange *exchange_new(struct worker *w, struct http_call *call)
{
    struct exchange *x = mem_calloc(1, sizeof *x);
    if (x == NULL) {
        return NULL;
    }
    x->owner = (struct call_owner){exchange_drained, exchange_closed};
    x->worker = w;
    x->call = call;
    x->retry_after_s = -1;
    buf_init(&x->error_body, LIMIT_UPSTREAM_ERROR_BYTES);
    x->next = w->exchanges;
    x->link = &w->exchanges;
    if (x->next != NULL) {
        x->next->link = &x->next;
    }
    w->exchanges = x;
    call_set_context(call, &x->owner);
    metrics_add(METRIC_STREAMS_OPEN, 1);
    return x;
}

void exchange_start(struct worker *w, struct http_call *call, struct buf *body)
{
    char param[REQUEST_PARAM_BYTES] = "";
    struct err err = {0};
    struct exchange *x = exchange_new(w, call);
    metrics_add(METRIC_BYTES_IN, (int64_t)body->len);
    if (x == NULL) {
        err_set(&err, ERR_MEMORY, "no memory for a request");
        struct openai_error error = openai_error_of(&err);
        reply_error(call, &error);
        return;
    }
    if (!request_parse(&x->request, body, param, &err)) {
        struct openai_error error = openai_error_of(&err);
        error.param = param[0] != '\0' ? param : NULL;
        metrics_error(err.kind);
        fail_as(x, &error);
        return;
    }
    x->info = request_info(x->request);
    metrics_add(METRIC_COMPLETIONS, 1);
    if (!sessions_catalogue(w->app->sessions, w->mailbox, on_catalogue, x, &x->catalogue, &x->wait, &err)) {
        fail(x, &err);
    } else if (x->catalogue != NULL) {
        have_catalogue(x);
    }
}

void exchange_expire(struct worker *w, int64_t now_ns)
{
    struct exchange *next;
    for (struct exchange *x = w->exchanges; x != NULL; x = next) {
        next = x->next;
        if (x->session != NULL && now_ns >= x->session->deadline_ns) {
            struct err err;
            err_set(&err, ERR_EXPIRED,
                    "the key of this answer's session is past its life and its grace of %d s; ask again",
                    LIMIT_SESSION_GRACE_S);
            fail(x, &err);
        }
    }
}
