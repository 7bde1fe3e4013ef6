/* Inside of the table of sessions: shared by sessions.c, handshakes.c and build.c only. */
#ifndef E2EE_SESSION_TABLE_H
#define E2EE_SESSION_TABLE_H

#include <pthread.h>

#include "session/budget.h"
#include "session/sessions.h"

#define SESSIONS_THREADS_MAX 9 /* the keeper and the handshakes */

/* What is known of one model; lives as long as the table (the catalogue bounds their number). */
struct session_entry {
    struct session_entry *next;
    struct session_entry *next_job;
    struct session_wait *waiters;
    struct session *session; /* a reference; NULL: none */
    bool queued, running;    /* a handshake waits for a thread, or is on one */
    bool forced;             /* the last session was retired: the next counts against rekeys */
    int64_t refused_until_ns;
    int64_t retry_rotation_ns;
    struct budget rekeys;
    struct err last_err;
    char model[LIMIT_MODEL_ID_BYTES + 1];
};

struct sessions {
    struct sessions_options options;
    pthread_mutex_t lock; /* everything below; never held during a handshake */
    pthread_cond_t work;  /* a job was queued, or stopping */
    pthread_cond_t stop;  /* stopping */
    bool stopping;
    struct session_entry *entries;
    struct session_entry catalogue_entry;
    struct catalogue *catalogue;
    struct session_entry *first_job, **last_job;
    pthread_t threads[SESSIONS_THREADS_MAX];
    unsigned thread_count;
};

/* With the lock held: every waiter of entry gets the entry's session (or the catalogue), or err. */
void sessions_wake(struct sessions *sessions, struct session_entry *entry, const struct err *err);
/* With the lock held: a handshake of entry, or a fetch of the catalogue, as soon as a thread is free. */
void sessions_enqueue(struct sessions *sessions, struct session_entry *entry);
/* May a new request use s? */
bool sessions_usable(const struct sessions *sessions, const struct session *s, int64_t now);

/* Bodies of the threads; arg is the table. */
void *sessions_keeper(void *arg);
void *sessions_handshakes(void *arg);

/* A session with one reference from verified evidence and a fresh token key, whose request key is moved in. On failure
 * the token key stays the caller's to close. */
struct session *session_build(const struct sessions_options *options, const char *model,
                              const struct session_evidence *evidence, struct keyholder_opened *opened,
                              struct err *err);

#endif
