#include "app/exchange_internal.h"

#include <string.h>
#include <strings.h>

#include "app/metrics.h"
#include "app/reply.h"
#include "base/clock.h"
#include "base/mem.h"

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
        exchange_fail(x, &err);
        return;
    case RELAY_UPSTREAM_FAILED:
        if (!upstream->key_changed || !repeat(x)) {
            exchange_fail_upstream(x, upstream);
        }
        return;
    case RELAY_COMPLETE:
        exchange_complete(x);
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
        exchange_fail(x, err);
    } else {
        advance(x);
    }
}

static void on_status(void *arg, const struct transfer_status *status)
{
    struct exchange *x = arg;
    x->upstream_status = status->status;
    x->event_stream =
        strncasecmp(status->content_type, "text/event-stream", strlen("text/event-stream")) == 0;
    x->body_began = x->no_stream = false;
    x->retry_after_s = status->retry_after_s;
}

static void on_data(void *arg, const uint8_t *data, size_t len)
{
    struct exchange *x = arg;
    x->no_stream = x->no_stream || (!x->event_stream && !x->body_began && data[0] == '{');
    x->body_began = true;
    if (x->upstream_status != 200 || x->no_stream) {
        size_t room = LIMIT_UPSTREAM_ERROR_BYTES - x->error_body.len;
        (void)!buf_append(&x->error_body, data, len < room ? len : room); /* what does not fit is not shown */
        return;
    }
    if (x->sealed_charged > 0) {
        /* The answer has begun, so the request's sealed copy is gone (upstream/transfer.h). */
        inflight_give(&x->worker->app->inflight, x->sealed_charged);
        x->sealed_charged = 0;
    }
    if (!relay_feed(x->relay, data, len)) {
        transfer_cancel(x->transfer);
        x->transfer = NULL;
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
        exchange_fail_upstream(x, &error);
    }
}

/* A 200 that is one JSON object: an error that some servers give that status, or an answer that is no stream. */
static void on_no_stream(struct exchange *x)
{
    struct json_doc *doc = &x->worker->parser.doc;
    struct upstream_error error;
    struct err err = {0};
    upstream_error_body(&error, doc, (const char *)x->error_body.data, x->error_body.len, 0);
    if (json_present(doc, json_root(doc), "error") == NULL) {
        err_set(&err, ERR_UPSTREAM, "the upstream answered with a JSON object where a stream was asked for");
        exchange_fail(x, &err);
    } else if (!error.key_changed || !repeat(x)) {
        exchange_fail_upstream(x, &error);
    }
}

static void on_done(void *arg, const struct transfer_result *result)
{
    struct exchange *x = arg;
    x->transfer = NULL;
    if (x->lookup != NULL) {
        return; /* all that matters of it is here */
    }
    if (result->err.kind != ERR_NONE && x->upstream_status != 200) {
        exchange_fail(x, &result->err);
    } else if (x->upstream_status != 200) {
        on_error_status(x);
    } else if (x->no_stream) {
        on_no_stream(x);
    } else {
        relay_end_of_stream(x->relay, &result->err);
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
        x->relay = relay_new(w, x->call, x->session, x->info, w->next_stream_id++, &x->claim, on_key, x, err);
        if (x->relay != NULL && w->app->signed_answers.mode == SIGNED_REQUIRE) {
            relay_read_to_the_end(x->relay); /* nobody signs an answer that was cut off */
        }
        ok = x->relay != NULL && send_sealed(x, &sealed, err);
    }
    buf_free(&sealed);
    return ok;
}

static void have_session(struct exchange *x)
{
    struct err err = {0};
    if (!seal_and_send(x, &err)) {
        exchange_fail(x, &err);
    }
}

static void on_session(void *arg, struct session *session, struct catalogue *catalogue, const struct err *err)
{
    struct exchange *x = arg;
    x->wait = NULL;
    x->session = session;
    if (session == NULL) {
        exchange_fail(x, err);
    } else {
        have_session(x);
    }
}

static void want_session(struct exchange *x)
{
    struct err err = {0};
    if (!sessions_acquire(x->worker->app->sessions, x->info->model, x->worker->mailbox, on_session, x,
                          &x->session, &x->wait, &err)) {
        exchange_fail(x, &err);
    } else if (x->session != NULL) {
        have_session(x);
    }
}

static void have_catalogue(struct exchange *x)
{
    bool known = catalogue_find(x->catalogue, x->info->model) != NULL;
    catalogue_unref(x->catalogue);
    x->catalogue = NULL;
    struct err err = {0};
    struct signed_answers *answers = &x->worker->app->signed_answers;
    uint16_t wait_s;
    if (known && answers->mode == SIGNED_REQUIRE && !signed_take(answers, &wait_s, &err)) {
        /* Now, and not after the answer was paid for. */
        struct openai_error busy = openai_error_of(&err);
        busy.retry_after_s = wait_s;
        metrics_error(err.kind);
        exchange_fail_as(x, &busy);
        return;
    }
    if (known) {
        want_session(x);
        return;
    }
    err_set(&err, ERR_NOT_FOUND,
            "no such model with end-to-end encryption; GET /v1/models lists them. Nothing was sent");
    struct openai_error error = openai_error_of(&err);
    error.param = "model";
    metrics_error(err.kind);
    exchange_fail_as(x, &error);
}

static void on_catalogue(void *arg, struct session *session, struct catalogue *catalogue,
                         const struct err *err)
{
    struct exchange *x = arg;
    x->wait = NULL;
    x->catalogue = catalogue;
    if (catalogue == NULL) {
        exchange_fail(x, err);
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
    exchange_destroy((struct exchange *)owner);
}

/* False: refused, and ended. */
static bool admit(struct exchange *x)
{
    struct keyholder_state state;
    struct err err = {0};
    uint16_t retry_after_s;
    keyholder_control_state(x->worker->app->control, &state);
    if (admission_enter(&x->worker->app->admission, &x->claim, (int64_t)state.status.derive_ns,
                        &retry_after_s, &err)) {
        return true;
    }
    struct openai_error error = openai_error_of(&err);
    error.retry_after_s = retry_after_s;
    metrics_error(err.kind);
    metrics_add(METRIC_NOT_ADMITTED, 1);
    exchange_fail_as(x, &error);
    return false;
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
        exchange_fail_as(x, &error);
        return;
    }
    x->info = request_info(x->request);
    if (!admit(x)) {
        return;
    }
    metrics_add(METRIC_COMPLETIONS, 1);
    if (!sessions_catalogue(w->app->sessions, w->mailbox, on_catalogue, x, &x->catalogue, &x->wait, &err)) {
        exchange_fail(x, &err);
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
            exchange_fail(x, &err);
        }
    }
}
