#include "app/worker.h"

#include <string.h>

#include <event2/event.h>

#include "app/exchange.h"
#include "app/queue.h"
#include "app/routes.h"
#include "base/clock.h"
#include "base/log.h"

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    exchange_expire(arg, clock_boot_ns());
}

static void on_stop(evutil_socket_t fd, short what, void *arg)
{
    struct worker *w = arg;
    event_base_loopbreak(w->base);
}

static bool add_events(struct worker *w, struct err *err)
{
    const struct timeval second = {.tv_sec = 1};
    w->tick = event_new(w->base, -1, EV_PERSIST, on_tick, w);
    w->stop = event_new(w->base, -1, EV_PERSIST, on_stop, w);
    if (w->tick == NULL || w->stop == NULL || event_add(w->tick, &second) != 0) {
        return err_set(err, ERR_MEMORY, "no memory for a worker's events");
    }
    return true;
}

bool worker_init(struct worker *w, struct app *app, unsigned index, struct err *err)
{
    memset(w, 0, sizeof *w);
    w->app = app;
    w->index = index;
    w->next_stream_id = 1;
    answer_parser_init(&w->parser);
    w->base = event_base_new();
    bool ok = w->base != NULL || err_set(err, ERR_MEMORY, "no memory for an event loop");
    ok = ok && (w->mailbox = mailbox_new(w->base, err)) != NULL;
    ok = ok && (w->upstream = upstream_loop_new(w->base, app->upstream, err)) != NULL;
    ok = ok && (w->keyholder = keyholder_worker_new(w->base, app->control, index, err)) != NULL;
    ok = ok && (w->aead = aead_new(err)) != NULL;
    ok = ok && (w->http = http_worker_new(w->base, &app->http, &routes_handler, w, err)) != NULL;
    ok = ok && add_events(w, err);
    if (!ok) {
        worker_free(w);
    }
    return ok;
}

static void *worker_thread(void *arg)
{
    struct worker *w = arg;
    if (event_base_loop(w->base, EVLOOP_NO_EXIT_ON_EMPTY) < 0) {
        log_error("worker %u: its event loop failed", w->index);
    }
    return NULL;
}

bool worker_start(struct worker *w, struct err *err)
{
    int result = pthread_create(&w->thread, NULL, worker_thread, w);
    if (result != 0) {
        return err_errno(err, ERR_MEMORY, result, "cannot start a worker thread");
    }
    w->running = true;
    return true;
}

void worker_stop(struct worker *w)
{
    if (w->running) {
        event_active(w->stop, EV_READ, 0);
        pthread_join(w->thread, NULL);
        w->running = false;
    }
}

void worker_free(struct worker *w)
{
    http_worker_free(w->http); /* ends the exchanges through on_closed */
    keyholder_worker_free(w->keyholder);
    upstream_loop_free(w->upstream);
    queue_free_spare(w);
    mailbox_free(w->mailbox);
    aead_free(w->aead);
    answer_parser_free(&w->parser);
    if (w->tick != NULL) {
        event_free(w->tick);
    }
    if (w->stop != NULL) {
        event_free(w->stop);
    }
    if (w->base != NULL) {
        event_base_free(w->base);
    }
    memset(w, 0, sizeof *w);
}
