#include "app/exchange_internal.h"
#include "app/metrics.h"
#include "app/reply.h"
#include "base/log.h"
#include "base/mem.h"

void exchange_destroy(struct exchange *x)
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
    admission_leave(&x->claim);
    request_free(x->request);
    catalogue_unref(x->catalogue);
    session_unref(x->session);
    inflight_give(&w->app->inflight, x->sealed_charged);
    buf_free(&x->error_body);
    mem_free(x);
    metrics_add(METRIC_STREAMS_OPEN, -1);
}

void exchange_fail_as(struct exchange *x, const struct openai_error *error)
{
    if (call_streaming(x->call)) {
        reply_error_event(x->call, error);
    } else {
        reply_error(x->call, error);
    }
    exchange_destroy(x);
}

void exchange_fail(struct exchange *x, const struct err *err)
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
    exchange_fail_as(x, &error);
}

void exchange_fail_upstream(struct exchange *x, const struct upstream_error *upstream)
{
    struct openai_error error = openai_error_of_upstream(upstream);
    metrics_error(ERR_UPSTREAM);
    log_info("request %llu: the upstream answered with an error, status %u",
             (unsigned long long)call_id(x->call), upstream->status);
    exchange_fail_as(x, &error);
}
