/* The events of one answer on their way to the client, in order: an event leaves once the keys of all its sealed
 * fields are known. Keys are remembered for the response by their 65-byte server point, since one kind of server
 * uses one for the whole answer (docs/PROTOCOL.md section 3: DV one per response, the others one per field). */
#ifndef E2EE_APP_QUEUE_H
#define E2EE_APP_QUEUE_H

#include "app/worker.h"
#include "wire/replay.h"

#define QUEUE_KEYS_KEPT 4        /* keys without a waiting field that a response remembers */
#define QUEUE_EVENTS_HIGH 256    /* waiting events that pause the upstream */
#define QUEUE_BYTES_HIGH 1048576 /* their bytes that do */

struct response_key {
    struct response_key *next;
    struct response_key *next_unasked;
    uint8_t point[POINT_BYTES];
    bool ready;
    unsigned waiting; /* fields of queued events that need it */
    struct secret key;
    struct queue *queue;
};

struct queued_event {
    struct queued_event *next;
    struct answer_event *event;
    struct response_key **keys; /* one for each field */
    size_t key_cap;
    size_t bytes;
};

struct queue {
    struct worker *worker;
    struct session *session; /* borrowed from the exchange */
    uint64_t stream_id;
    struct queued_event *first, **last;
    size_t events, bytes;
    size_t charged;            /* of bytes, against --max-inflight-bytes */
    struct response_key *keys; /* newest first */
    unsigned key_count;
    struct response_key *unasked, **last_unasked; /* oldest first: past the window (app/admission.h) */
    struct claim *claim;
    struct replay_response replay;
    /* Called when a key came or could not be had. */
    void (*on_key)(void *arg, const struct err *err);
    void *arg;
};

/* claim is kept by reference. */
void queue_init(struct queue *q, struct worker *w, struct session *session, uint64_t stream_id,
                struct claim *claim, void (*on_key)(void *arg, const struct err *err), void *arg);
/* Cancels what is asked of the keyholder, wipes everything. */
void queue_free(struct queue *q);

/* Parses one event's data and queues it, asking for the keys it needs. Repeated (point, nonce) pairs and reflected
 * points are refused here: then nothing is queued. *last becomes true when it is [DONE] or an error of the upstream. */
bool queue_add(struct queue *q, const char *data, size_t len, bool *last, struct err *err) MUST_CHECK;
/* The first event, opened, when all its keys are known; NULL with ERR_NONE in err when there is none yet, NULL with an
 * error when it cannot be opened. */
struct answer_event *queue_open_first(struct queue *q, struct err *err);
/* Forgets the first event. */
void queue_drop_first(struct queue *q);
/* Charges what waits: once a turn, so that an answer whose keys are known costs no atomics. */
void queue_settle_charge(struct queue *q);
/* True when so much waits that the upstream should pause. */
bool queue_is_full(const struct queue *q);
bool queue_is_empty(const struct queue *q);

/* Frees a worker's spare events. */
void queue_free_spare(struct worker *w);

#endif
