#include "app/signed.h"

#include <string.h>

#include <event2/event.h>

#include "app/metrics.h"
#include "app/worker.h"
#include "attest/signature.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "upstream/config.h"
#include "upstream/transfer.h"

#define ID_BYTES 129
#define PATH_BYTES 1024
#define AGAIN_MS 500 /* after a 404; then twice as long */
#define TRIES 3

struct signed_lookup {
    struct worker *worker;
    struct transfer *transfer;
    struct event *again, *deadline;
    struct buf path, body;
    char id[ID_BYTES];
    uint8_t address[ETH_ADDRESS_BYTES];
    int status;
    unsigned tries;
    signed_done_cb done;
    void *arg;
};

void signed_init(struct signed_answers *s, const char *word)
{
    s->mode = strcmp(word, "require") == 0  ? SIGNED_REQUIRE
              : strcmp(word, "report") == 0 ? SIGNED_REPORT
                                            : SIGNED_OFF;
    s->budget = (struct budget){.count = LIMIT_SIGNATURES_PER_MIN, .window_ns = 60 * CLOCK_NS_PER_S};
    pthread_mutex_init(&s->lock, NULL);
}

bool signed_take(struct signed_answers *s, uint16_t *wait_s, struct err *err)
{
    pthread_mutex_lock(&s->lock);
    int64_t wait_ns = budget_take(&s->budget, clock_boot_ns());
    pthread_mutex_unlock(&s->lock);
    if (wait_s != NULL) {
        *wait_s = (uint16_t)(wait_ns / CLOCK_NS_PER_S + 1); /* a minute at most */
    }
    return wait_ns == 0 ||
           err_set(err, ERR_BUSY,
                   "the provider gives %d signatures of answers a minute, and this minute's are spent",
                   LIMIT_SIGNATURES_PER_MIN);
}

void signed_lookup_cancel(struct signed_lookup *l)
{
    if (l == NULL) {
        return;
    }
    if (l->transfer != NULL) {
        transfer_cancel(l->transfer);
    }
    if (l->again != NULL) {
        event_free(l->again);
    }
    if (l->deadline != NULL) {
        event_free(l->deadline);
    }
    buf_free(&l->path);
    buf_free(&l->body);
    mem_free(l);
}

static void finish(struct signed_lookup *l, enum metric metric, const char *text, const struct err *err)
{
    signed_done_cb done = l->done;
    void *arg = l->arg;
    metrics_add(metric, 1);
    signed_lookup_cancel(l);
    done(arg, text, err);
}

static void missing(struct signed_lookup *l, const char *why)
{
    struct err err;
    err_set(&err, ERR_ATTESTATION, "the answer's signature is not to be had: %s", why);
    finish(l, METRIC_SIGNATURES_MISSING, NULL, &err);
}

static void judge(struct signed_lookup *l)
{
    struct signature_result result;
    struct err why = {0}, err = {0};
    if (signature_check(&result, (const char *)l->body.data, l->body.len, l->id, l->address, &why)) {
        finish(l, METRIC_SIGNATURES_VALID, signature_meaning(&result), &err);
        return;
    }
    if (why.kind == ERR_MEMORY || why.kind == ERR_CRYPTO) {
        missing(l, why.message);
        return;
    }
    err_set(&err, ERR_ATTESTATION, "the answer's signature does not hold: %s", why.message);
    finish(l, METRIC_SIGNATURES_WRONG, NULL, &err);
}

static void on_status(void *arg, const struct transfer_status *status)
{
    struct signed_lookup *l = arg;
    l->status = status->status;
}

static void on_data(void *arg, const uint8_t *data, size_t len)
{
    struct signed_lookup *l = arg;
    (void)!buf_append(&l->body, data, len); /* what does not fit makes it too long below */
}

static void on_done(void *arg, const struct transfer_result *result)
{
    struct signed_lookup *l = arg;
    l->transfer = NULL;
    if (result->err.kind != ERR_NONE) {
        missing(l, result->err.message);
    } else if (l->status == 200 && !l->body.failed) {
        judge(l);
    } else if (l->status == 200) {
        missing(l, "it is too long");
    } else if (l->status == 404 && l->tries < TRIES &&
               signed_take(&l->worker->app->signed_answers, NULL, NULL)) {
        const int64_t us = (int64_t)AGAIN_MS * 1000 << (l->tries - 1);
        const struct timeval later = {.tv_sec = us / 1000000, .tv_usec = us % 1000000};
        if (event_add(l->again, &later) != 0) {
            missing(l, "no memory to ask again");
        }
    } else {
        missing(l,
                l->status == 404 ? "the provider does not know it" : "the provider answered with an error");
    }
}

static bool ask(struct signed_lookup *l, struct err *err)
{
    static const struct transfer_callbacks callbacks = {on_status, on_data, on_done};
    const struct transfer_request request = {.path = buf_cstr(&l->path), .anonymous = true};
    l->tries++;
    l->status = 0;
    buf_reset(&l->body);
    l->transfer = transfer_start(l->worker->upstream, &request, &callbacks, l, err);
    return l->transfer != NULL;
}

static void on_again(evutil_socket_t fd, short what, void *arg)
{
    struct err err = {0};
    if (!ask(arg, &err)) {
        missing(arg, err.message);
    }
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
    missing(arg, "the provider did not answer in time");
}

static bool prepare(struct signed_lookup *l, const char *model, struct err *err)
{
    const struct timeval limit = {.tv_sec = LIMIT_SIGNATURE_S};
    buf_append_str(&l->path, "/tee/signature?model=");
    upstream_escape(&l->path, model);
    buf_append_str(&l->path, "&request_id=");
    upstream_escape(&l->path, l->id);
    buf_append_str(&l->path, "&signing_algo=ecdsa");
    l->again = event_new(l->worker->base, -1, 0, on_again, l);
    l->deadline = event_new(l->worker->base, -1, 0, on_deadline, l);
    return (!l->path.failed && l->again != NULL && l->deadline != NULL &&
            event_add(l->deadline, &limit) == 0) ||
           err_set(err, ERR_MEMORY, "no memory to ask for a signature");
}

struct signed_lookup *signed_lookup_start(struct worker *w, const char *model, const char *id,
                                          const uint8_t address[static ETH_ADDRESS_BYTES],
                                          signed_done_cb done, void *arg, struct err *err)
{
    size_t len = strlen(id);
    if (len == 0 || len >= ID_BYTES) {
        metrics_add(METRIC_SIGNATURES_MISSING, 1);
        err_set(err, ERR_ATTESTATION, "the answer's signature is not to be had: the answer has no id");
        return NULL;
    }
    struct signed_lookup *l = mem_calloc(1, sizeof *l);
    if (l == NULL) {
        err_set(err, ERR_MEMORY, "no memory to ask for a signature");
        return NULL;
    }
    l->worker = w;
    l->done = done;
    l->arg = arg;
    memcpy(l->id, id, len);
    memcpy(l->address, address, sizeof l->address);
    buf_init(&l->path, PATH_BYTES);
    buf_init(&l->body, SIGNATURE_BODY_BYTES_MAX);
    if (!prepare(l, model, err) || !ask(l, err)) {
        signed_lookup_cancel(l);
        return NULL;
    }
    return l;
}
