/* Inside src/keyholder only. */
#ifndef E2EE_KEYHOLDER_CONTROL_INTERNAL_H
#define E2EE_KEYHOLDER_CONTROL_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "keyholder/conn.h"
#include "keyholder/control.h"
#include "keyholder/link_internal.h"

/* Request ids below this are not a call's or a derive's. */
#define KEYHOLDER_ID_SILENT 0 /* CLOSE, CANCEL: any number in flight, nobody waits */
#define KEYHOLDER_ID_HELLO 1
#define KEYHOLDER_ID_STATUS 2 /* the thread's own question */
#define KEYHOLDER_ID_FIRST 4096

/* One blocking call. Owned by the list: the caller leaves it there when it gives up. */
struct keyholder_call {
    struct keyholder_call *next;
    uint32_t id;
    uint32_t generation; /* that it was sent to */
    uint8_t op;
    bool done, abandoned;
    struct keyipc_message answer; /* valid when done and err is ERR_NONE */
    struct err err;
};

enum control_phase { CONTROL_CLOSED, CONTROL_HELLO, CONTROL_UP };

struct keyholder_control {
    struct keyholder_link *link;
    struct keyholder_options options;
    pthread_t thread;
    int wake;                 /* eventfd: the thread looks at everything again */
    atomic_uint live;         /* generation when up, else 0 */
    atomic_uint losses;       /* of all tokens */
    atomic_llong progress_ns; /* when the token last answered anything */

    pthread_mutex_t lock;   /* of all that follows; never held while waiting */
    pthread_cond_t changed; /* a call is done, or the state is another */
    bool stop;
    unsigned callers; /* in a function that waits */
    enum control_phase phase;
    struct keyholder_conn conn;
    uint32_t generation; /* of conn, or the last one */
    struct secret join;
    struct keyholder_call *calls;
    uint32_t next_id;
    struct keyholder_state state;
    bool lost_logged;
    int64_t phase_ns;  /* when the phase began */
    int64_t retry_ns;  /* socket: not before */
    int64_t status_ns; /* next question, or when the one under way was asked */
    bool status_asked;
    unsigned retry_ms;
    int workers[LIMIT_KEYHOLDER_WORKERS]; /* eventfds to write to when the generation changes, -1 none */
};

void *keyholder_control_thread(void *arg);
/* Fails the calls and closes; lock held. kind: ERR_TOKEN or ERR_PIN. */
void keyholder_control_drop(struct keyholder_control *c, const struct err *why);

/* ---- for worker.c, any thread ---- */

/* wake (-1: none) is written to whenever the generation changes. */
void keyholder_control_subscribe(struct keyholder_control *c, unsigned index, int wake);
/* Opens worker index's connection to the live keyholder and queues its HELLO. */
bool keyholder_control_join(struct keyholder_control *c, unsigned index, struct keyholder_conn *conn,
                            uint32_t *generation, struct err *err) MUST_CHECK;
void keyholder_control_progress(struct keyholder_control *c, int64_t now);
/* Whether nothing was answered for a call's time. */
bool keyholder_control_stuck(struct keyholder_control *c, int64_t now);
int64_t keyholder_control_call_ns(const struct keyholder_control *c);
int64_t keyholder_control_wait_ns(const struct keyholder_control *c);

#endif
