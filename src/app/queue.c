#include "app/queue.h"

#include <string.h>

#include "app/metrics.h"
#include "base/mem.h"

#define SPARE_MAX 64

void queue_init(struct queue *q, struct worker *w, struct session *session, uint64_t stream_id,
                struct claim *claim, void (*on_key)(void *arg, const struct err *err), void *arg)
{
    memset(q, 0, sizeof *q);
    q->worker = w;
    q->session = session;
    q->stream_id = stream_id;
    q->last = &q->first;
    q->last_unasked = &q->unasked;
    q->claim = claim;
    q->on_key = on_key;
    q->arg = arg;
}

static void free_key(struct response_key *key)
{
    secret_free(&key->key);
    mem_free(key);
}

static void free_event(struct queued_event *item)
{
    answer_event_free(item->event);
    mem_free(item->keys);
    mem_free(item);
}

/* Emptied events keep their memory for the next ones: no allocation for a chunk in steady state. */
static void recycle(struct worker *w, struct queued_event *item)
{
    answer_event_reset(item->event);
    if (w->spare_count >= SPARE_MAX) {
        free_event(item);
        return;
    }
    item->next = w->spare;
    w->spare = item;
    w->spare_count++;
}

static struct queued_event *take_spare(struct worker *w, struct err *err)
{
    struct queued_event *item = w->spare;
    if (item != NULL) {
        w->spare = item->next;
        w->spare_count--;
        item->next = NULL;
        return item;
    }
    item = mem_calloc(1, sizeof *item);
    if (item == NULL) {
        err_set(err, ERR_MEMORY, "no memory for an event");
        return NULL;
    }
    item->event = answer_event_new(err);
    if (item->event == NULL) {
        mem_free(item);
        return NULL;
    }
    return item;
}

void queue_free_spare(struct worker *w)
{
    while (w->spare != NULL) {
        struct queued_event *next = w->spare->next;
        free_event(w->spare);
        w->spare = next;
    }
    w->spare_count = 0;
}

void queue_free(struct queue *q)
{
    if (q->worker == NULL) {
        return;
    }
    keyholder_cancel(q->worker->keyholder, q->stream_id);
    while (q->claim->asked > 0) {
        admission_answered(q->claim); /* no callback comes any more */
    }
    while (q->first != NULL) {
        struct queued_event *next = q->first->next;
        recycle(q->worker, q->first);
        q->first = next;
    }
    while (q->keys != NULL) {
        struct response_key *next = q->keys->next;
        free_key(q->keys);
        q->keys = next;
    }
    inflight_give(&q->worker->app->inflight, q->charged);
    replay_response_free(&q->replay);
    memset(q, 0, sizeof *q);
}

static void on_derived(void *arg, struct secret *secret, const struct err *err, int64_t ns);

/* How many keys may be awaited: the connection to the keyholder has room for all answers of this worker. */
static unsigned window(const struct queue *q)
{
    const struct worker *w = q->worker;
    return keyholder_worker_pending(w->keyholder) >= w->app->derives_high
               ? 1
               : admission_window(&w->app->admission);
}

/* Asks for as many keys as may be. */
static bool ask(struct queue *q, struct err *err)
{
    while (q->unasked != NULL && q->claim->asked < window(q)) {
        struct response_key *key = q->unasked;
        struct err refused = {0};
        if (!keyholder_derive(q->worker->keyholder, q->session->key, q->stream_id, key->point, on_derived,
                              key, &refused)) {
            if (refused.kind == ERR_BUSY && q->claim->asked > 0) {
                return true; /* No room at this moment: the next answer of ours asks again. */
            }
            *err = refused;
            return false;
        }
        q->unasked = key->next_unasked;
        if (q->unasked == NULL) {
            q->last_unasked = &q->unasked;
        }
        admission_asked(q->claim);
        metrics_add(METRIC_DERIVES, 1);
    }
    return true;
}

static void on_derived(void *arg, struct secret *secret, const struct err *err, int64_t ns)
{
    struct response_key *key = arg;
    struct queue *q = key->queue;
    struct err failed = {0};
    if (err == NULL) {
        metrics_derive_time(ns);
        secret_move(&key->key, secret);
        key->ready = true;
        q->claim->asked--; /* the claim itself is held until it is clear that nothing more is asked */
        err = ask(q, &failed) ? NULL : &failed;
        q->claim->asked++;
        admission_answered(q->claim);
    } else {
        admission_answered(q->claim);
        if (err->kind ==
            ERR_INVALID) { /* its word for a point that it will not derive with: the upstream's */
            err_set(&failed, ERR_DECRYPT, "a sealed field of the answer carries a point that is refused");
            err = &failed;
        }
    }
    q->on_key(q->arg, err);
}

/* Drops the oldest keys that nothing waits for. */
static void trim_keys(struct queue *q)
{
    struct response_key **link = &q->keys;
    unsigned seen = 0;
    while (*link != NULL && q->key_count > QUEUE_KEYS_KEPT) {
        struct response_key *key = *link;
        if (key->waiting == 0 && key->ready && seen >= QUEUE_KEYS_KEPT) {
            *link = key->next;
            q->key_count--;
            free_key(key);
        } else {
            seen++;
            link = &key->next;
        }
    }
}

static struct response_key *find_key(struct queue *q, const uint8_t *point, struct err *err)
{
    for (struct response_key *key = q->keys; key != NULL; key = key->next) {
        if (memcmp(key->point, point, POINT_BYTES) == 0) { /* points are public */
            metrics_add(METRIC_DERIVE_CACHE_HITS, 1);
            return key;
        }
    }
    struct response_key *key = mem_calloc(1, sizeof *key);
    if (key == NULL) {
        err_set(err, ERR_MEMORY, "no memory for a response key");
        return NULL;
    }
    memcpy(key->point, point, POINT_BYTES);
    key->queue = q;
    key->next = q->keys;
    q->keys = key;
    q->key_count++;
    *q->last_unasked = key;
    q->last_unasked = &key->next_unasked;
    return ask(q, err) ? key : NULL;
}

/* A field that carries the model's own point or ours is a request's field sent back: docs/THREAT-MODEL.md. */
static bool point_is_reflected(const struct session *session, const uint8_t *point)
{
    return point_same_x(point, session->model_point) || point_same_x(point, session->client_point) ||
           point_same_x(point, session->response_point);
}

/* The key of a field that may be opened at all; NULL with an error. */
static struct response_key *key_of(struct queue *q, const struct answer_field *field, struct err *err)
{
    if (point_is_reflected(q->session, field->point)) {
        err_set(err, ERR_DECRYPT, "a sealed field of the answer carries a request's point");
        return NULL;
    }
    if (!replay_check(q->session->shared, &q->replay, field->point, field->nonce, err)) {
        metrics_add(METRIC_REPLAYS, 1);
        return NULL;
    }
    return find_key(q, field->point, err);
}

/* Awaits the key of each field, or of none. */
static bool add_keys(struct queue *q, struct queued_event *item, struct err *err)
{
    struct answer_event *event = item->event;
    if (event->field_count > item->key_cap) {
        struct response_key **keys = mem_alloc(event->field_count * sizeof *keys);
        if (keys == NULL) {
            return err_set(err, ERR_MEMORY, "no memory for an event's keys");
        }
        mem_free(item->keys);
        item->keys = keys;
        item->key_cap = event->field_count;
    }
    size_t held = 0;
    while (held < event->field_count && (item->keys[held] = key_of(q, &event->fields[held], err)) != NULL) {
        item->keys[held++]->waiting++;
    }
    if (held == event->field_count) {
        return true;
    }
    while (held > 0) {
        item->keys[--held]->waiting--;
    }
    return false;
}

bool queue_add(struct queue *q, const char *data, size_t len, bool *last, struct err *err)
{
    struct queued_event *item = take_spare(q->worker, err);
    if (item == NULL) {
        return false;
    }
    bool ok = answer_parse(&q->worker->parser, item->event, data, len, err);
    if (!ok || item->event->kind == ANSWER_NOTHING || !(ok = add_keys(q, item, err))) {
        recycle(q->worker, item);
        return ok;
    }
    item->next = NULL;
    *q->last = item;
    q->last = &item->next;
    q->events++;
    item->bytes = item->event->text.len;
    q->bytes += item->bytes;
    *last = item->event->kind == ANSWER_DONE || item->event->kind == ANSWER_ERROR;
    return true;
}

struct answer_event *queue_open_first(struct queue *q, struct err *err)
{
    struct queued_event *item = q->first;
    err_clear(err);
    if (item == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < item->event->field_count; i++) {
        if (!item->keys[i]->ready) {
            return NULL;
        }
    }
    const struct response_key *keyed = NULL;
    for (size_t i = 0; i < item->event->field_count; i++) {
        if (keyed != item->keys[i] && !aead_set_key(q->worker->aead, &item->keys[i]->key, err)) {
            return NULL;
        }
        keyed = item->keys[i];
        if (!answer_open(item->event, i, q->worker->aead, err)) {
            return NULL;
        }
    }
    metrics_add(METRIC_FIELDS_OPENED, (int64_t)item->event->field_count);
    return item->event;
}

void queue_drop_first(struct queue *q)
{
    struct queued_event *item = q->first;
    for (size_t i = 0; i < item->event->field_count; i++) {
        item->keys[i]->waiting--;
    }
    q->first = item->next;
    if (q->first == NULL) {
        q->last = &q->first;
    }
    q->events--;
    q->bytes -= item->bytes;
    recycle(q->worker, item);
    trim_keys(q);
}

void queue_settle_charge(struct queue *q)
{
    struct inflight *inflight = &q->worker->app->inflight;
    if (q->bytes > q->charged) {
        inflight_force(inflight, q->bytes - q->charged);
    } else if (q->bytes < q->charged) {
        inflight_give(inflight, q->charged - q->bytes);
    }
    q->charged = q->bytes;
}

bool queue_is_full(const struct queue *q)
{
    return q->events >= QUEUE_EVENTS_HIGH || q->bytes >= QUEUE_BYTES_HIGH;
}

bool queue_is_empty(const struct queue *q)
{
    return q->first == NULL;
}
