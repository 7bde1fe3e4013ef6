#include "app/exchange_internal.h"

#include <stdio.h>

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
    signed_lookup_cancel(x->lookup);
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

/* remark: what a stream's last comment says of its signature, or NULL. */
static void finish(struct exchange *x, const char *remark)
{
    struct err err = {0};
    if (relay_finish(x->relay, remark, &err)) {
        if (x->transfer != NULL && relay_upstream_finished(x->relay)) {
            transfer_release(x->transfer);
            x->transfer = NULL;
        }
        exchange_destroy(x);
    } else {
        exchange_fail(x, &err);
    }
}

/* What is known of the answer's signature now is all that ever will be. */
static void have_signature(struct exchange *x, const char *meaning, const struct err *err)
{
    char remark[sizeof err->message + 32];
    bool held = err->kind == ERR_NONE;
    if (!held && x->worker->app->signed_answers.mode == SIGNED_REQUIRE) {
        exchange_fail(x, err);
        return;
    }
    snprintf(remark, sizeof remark, "e2ee signature: %s", held ? meaning : err->message);
    log_write(held ? LOG_LEVEL_INFO : LOG_LEVEL_WARN, "request %llu: %s",
              (unsigned long long)call_id(x->call),
              held ? "its answer's signature is the attested key's" : err->message);
    finish(x, remark);
}

static void on_signature(void *arg, const char *meaning, const struct err *err)
{
    struct exchange *x = arg;
    x->lookup = NULL;
    have_signature(x, meaning, err);
}

void exchange_complete(struct exchange *x)
{
    struct signed_answers *answers = &x->worker->app->signed_answers;
    struct err err = {0};
    if (answers->mode == SIGNED_OFF) {
        finish(x, NULL);
        return;
    }
    if (x->lookup != NULL) {
        return; /* on its way */
    }
    relay_flush(x->relay);
    if (!relay_upstream_finished(x->relay)) {
        err_set(&err, ERR_ATTESTATION, "not asked for: a stop sequence ended the answer before its end");
    } else if (answers->mode == SIGNED_REQUIRE || signed_take(answers, NULL, &err)) {
        x->lookup = signed_lookup_start(x->worker, x->info->model, relay_answer_id(x->relay),
                                        x->session->signing_address, on_signature, x, &err);
    }
    if (x->lookup == NULL) {
        have_signature(x, NULL, &err);
    }
}
