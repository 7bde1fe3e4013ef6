/* One event loop and everything on it: client connections, transfers, the keyholder connection, the exchanges. All of
 * it belongs to the loop's thread. */
#ifndef E2EE_APP_WORKER_H
#define E2EE_APP_WORKER_H

#include <pthread.h>

#include "app/app.h"
#include "crypto/aead.h"
#include "keyholder/worker.h"
#include "server/worker.h"
#include "session/mailbox.h"
#include "upstream/loop.h"
#include "wire/answer.h"

struct event;
struct event_base;
struct exchange;
struct queued_event;

struct worker {
    struct app *app;
    unsigned index;
    pthread_t thread;
    bool running; /* thread was started */
    struct event_base *base;
    struct mailbox *mailbox;
    struct http_worker *http;
    struct upstream_loop *upstream;
    struct keyholder_worker *keyholder;
    struct aead *aead; /* keyed anew for each use */
    struct answer_parser parser;
    struct queued_event *spare; /* emptied events for the next answers */
    unsigned spare_count;
    struct exchange *exchanges; /* list of those alive */
    struct event *tick;         /* each second: sessions past their grace */
    struct event *stop;         /* woken to end the loop */
    uint64_t next_stream_id;
};

/* Builds a worker in place; its loop does not run yet. On failure everything is freed. */
bool worker_init(struct worker *w, struct app *app, unsigned index, struct err *err) MUST_CHECK;
bool worker_start(struct worker *w, struct err *err) MUST_CHECK;
/* Ends the loop at once and joins the thread; open exchanges are dropped. Any thread but the worker's. */
void worker_stop(struct worker *w);
void worker_free(struct worker *w);

#endif
