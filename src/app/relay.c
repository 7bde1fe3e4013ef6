#include "app/relay.h"

#include <string.h>

#include "app/metrics.h"
#include "app/reply.h"
#include "base/mem.h"
#include "wire/gather.h"
#include "wire/sse.h"
#include "wire/stop_filter.h"

#define ANSWER_ID_CHARS 128 /* wire/answer.h lets no longer one pass */
#define GATHER_CHARGE_STEP 65536

struct relay {
    struct worker *worker;
    struct http_call *call;
    const struct request_info *info;
    struct sse sse;
    struct queue queue;
    struct gather *gather; /* stream:false */
    struct stop_set *stops;
    struct stop_filter filter;
    struct buf out; /* events of this turn, for one write */
    struct upstream_error upstream_error;
    bool done;              /* [DONE] was reached, or every choice met a stop sequence */
    bool upstream_finished; /* [DONE] was reached */
    bool to_the_end;        /* stop sequences do not make it done */
    char answer_id[ANSWER_ID_CHARS + 1];
    bool ended;        /* no more bytes come */
    bool last_queued;  /* [DONE], or an error of the upstream: nothing of the answer follows it */
    struct err broken; /* why nothing follows the queued events */
    size_t charged;    /* of what is gathered, against --max-inflight-bytes */
};

static bool add_stops(struct relay *r, struct err *err)
{
    if (r->info->stop_count == 0) {
        return true;
    }
    r->stops = stop_set_new(r->info->stops, r->info->stop_lens, r->info->stop_count, err);
    if (r->stops != NULL) {
        stop_filter_init(&r->filter, r->stops);
    }
    return r->stops != NULL;
}

struct relay *relay_new(struct worker *w, struct http_call *call, struct session *session,
                        const struct request_info *info, uint64_t stream_id, struct claim *claim,
                        void (*on_key)(void *arg, const struct err *err), void *arg, struct err *err)
{
    struct relay *r = mem_calloc(1, sizeof *r);
    if (r == NULL) {
        err_set(err, ERR_MEMORY, "no memory for an answer");
        return NULL;
    }
    r->worker = w;
    r->call = call;
    r->info = info;
    sse_init(&r->sse);
    buf_init(&r->out, SIZE_MAX / 4);
    queue_init(&r->queue, w, session, stream_id, claim, on_key, arg);
    if (!add_stops(r, err) || (!info->stream && (r->gather = gather_new(err)) == NULL)) {
        relay_free(r);
        return NULL;
    }
    return r;
}

void relay_free(struct relay *r)
{
    if (r == NULL) {
        return;
    }
    queue_free(&r->queue);
    sse_free(&r->sse);
    gather_free(r->gather);
    inflight_give(&r->worker->app->inflight, r->charged);
    if (r->stops != NULL) {
        stop_filter_free(&r->filter);
        stop_set_free(r->stops);
    }
    buf_free(&r->out);
    mem_free(r);
}

static bool on_event(void *arg, const char *data, size_t len, struct err *err)
{
    struct relay *r = arg;
    return r->last_queued || queue_add(&r->queue, data, len, &r->last_queued, err);
}

bool relay_feed(struct relay *r, const uint8_t *data, size_t len)
{
    return r->done || r->last_queued ||
           (r->broken.kind == ERR_NONE && sse_feed(&r->sse, data, len, on_event, r, &r->broken));
}

void relay_end_of_stream(struct relay *r, const struct err *why)
{
    r->ended = true;
    if (r->broken.kind == ERR_NONE && !r->last_queued) {
        r->broken = *why;
    }
}

static void flush(struct relay *r)
{
    if (r->out.len == 0) {
        return;
    }
    if (!call_streaming(r->call)) {
        reply_stream_begin(r->call, r->info->dropped);
    }
    metrics_add(METRIC_BYTES_OUT, (int64_t)r->out.len);
    call_stream_write(r->call, r->out.data, r->out.len);
    buf_reset(&r->out);
}

/* The first event's id stands for the answer. */
static void keep_id(struct relay *r, const struct answer_event *event)
{
    struct answer_span id = event->meta[ANSWER_ID];
    if (r->answer_id[0] != '\0' || id.end < id.start + 2 || id.end - id.start - 2 > ANSWER_ID_CHARS ||
        event->text.data[id.start] != '"') {
        return;
    }
    memcpy(r->answer_id, event->text.data + id.start + 1, id.end - id.start - 2);
}

/* What is gathered counts as all that waits for a client does: in steps, so that most events cost no atomics. */
static bool charge(struct relay *r, size_t bytes, struct err *err)
{
    if (bytes <= r->charged) {
        return true;
    }
    size_t more = bytes - r->charged + GATHER_CHARGE_STEP;
    if (!inflight_take(&r->worker->app->inflight, more)) {
        return err_set(err, ERR_BUSY,
                       "too many bytes of answers in progress; raise --max-inflight-bytes, try later, or ask "
                       "for a stream");
    }
    r->charged += more;
    return true;
}

/* One opened event of content or usage, in order. */
static bool give(struct relay *r, struct answer_event *event, struct err *err)
{
    if (event->kind == ANSWER_USAGE && r->gather == NULL && !r->info->include_usage) {
        return true;
    }
    if (r->stops != NULL && event->kind == ANSWER_CHUNK && !stop_filter_apply(&r->filter, event, err)) {
        return false;
    }
    metrics_add(METRIC_CHUNKS, 1);
    if (r->gather == NULL) {
        return answer_render(event, &r->out, err);
    }
    return gather_add(r->gather, event, err) && charge(r, gather_bytes(r->gather), err);
}

/* A server numbers its choices from 0 and makes as many as were asked for. */
static bool choices_are_wanted(const struct relay *r, const struct answer_event *event, struct err *err)
{
    for (size_t i = 0; i < event->choice_count; i++) {
        if (event->choices[i].index >= r->info->choices) {
            return err_set(err, ERR_UPSTREAM, "the answer has a choice that was not asked for");
        }
    }
    return true;
}

static bool take_event(struct relay *r, struct answer_event *event, struct err *err)
{
    switch (event->kind) {
    case ANSWER_DONE:
        r->done = r->upstream_finished = true;
        return r->stops == NULL || stop_filter_done(&r->filter, r->gather, &r->out, err);
    case ANSWER_CHUNK:
    case ANSWER_USAGE:
        keep_id(r, event);
        if (!choices_are_wanted(r, event, err) || !give(r, event, err)) {
            return false;
        }
        /* All choices met a stop sequence: what the upstream would still send is not wanted. */
        r->done = !r->to_the_end && r->stops != NULL && r->filter.stopped >= r->info->choices;
        return true;
    case ANSWER_NOTHING:
    case ANSWER_ERROR:
        break;
    }
    return true;
}

enum relay_state relay_advance(struct relay *r, const struct upstream_error **upstream, struct err *err)
{
    struct answer_event *event;
    while (!r->done && (event = queue_open_first(&r->queue, err)) != NULL) {
        if (event->kind == ANSWER_ERROR) {
            r->upstream_error = event->error;
            *upstream = &r->upstream_error;
            flush(r);
            return RELAY_UPSTREAM_FAILED;
        }
        bool ok = take_event(r, event, err);
        queue_drop_first(&r->queue);
        if (!ok) {
            flush(r);
            return RELAY_FAILED;
        }
    }
    if (r->done) {
        return RELAY_COMPLETE;
    }
    queue_settle_charge(&r->queue);
    flush(r);
    if (err->kind != ERR_NONE) {
        return RELAY_FAILED;
    }
    if (r->broken.kind != ERR_NONE && queue_is_empty(&r->queue)) {
        *err = r->broken;
        return RELAY_FAILED;
    }
    if (r->ended && queue_is_empty(&r->queue)) {
        err_set(err, ERR_UPSTREAM, "the answer ended without [DONE]: it may be cut short");
        return RELAY_FAILED;
    }
    return RELAY_GOES_ON;
}

bool relay_should_pause(const struct relay *r)
{
    return call_stream_full(r->call) || queue_is_full(&r->queue);
}

void relay_read_to_the_end(struct relay *r)
{
    r->to_the_end = true;
}

bool relay_upstream_finished(const struct relay *r)
{
    return r->upstream_finished;
}

const char *relay_answer_id(const struct relay *r)
{
    return r->answer_id;
}

void relay_flush(struct relay *r)
{
    flush(r);
}

bool relay_finish(struct relay *r, const char *comment, struct err *err)
{
    if (r->gather == NULL) {
        if (comment != NULL) {
            buf_appendf(&r->out, ": %s\n\n", comment);
        }
        answer_render_done(&r->out);
        if (!buf_check(&r->out, "the end of an answer", err)) {
            return false;
        }
        flush(r);
        call_stream_end(r->call);
        return true;
    }
    /* The body is about as large again, for as long as it takes to hand it over. */
    if (!charge(r, 2 * gather_bytes(r->gather), err) || !gather_finish(r->gather, &r->out, err)) {
        return false;
    }
    metrics_add(METRIC_BYTES_OUT, (int64_t)r->out.len);
    reply_json(r->call, 200, r->info->dropped, &r->out);
    return true;
}
