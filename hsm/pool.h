/* The threads that work on the token. Each has its own session and derives; the first has the long-lived session that
 * holds login and key pairs, and it alone makes and destroys pairs (SoftHSM fails on two at once), which go before its
 * derives. All functions are for the server's thread; results come back to it.
 *
 * Loss: when the token, a login or the long-lived session is gone, every queued job fails, all handles are
 * forgotten, and the first thread brings the token back alone, with growing pauses. When no token of the keyholder works
 * for POOL_GIVE_UP_S the process ends by KEYIPC_EXIT_TOKEN: a fresh one may see what this one cannot. A refused PIN ends the
 * process too, unless another token works: then only this one stays away. */
#ifndef E2EE_HSM_POOL_H
#define E2EE_HSM_POOL_H

#include <stdatomic.h>

#include "hsm/queue.h"
#include "keyipc/keyipc.h"

#define POOL_GIVE_UP_S 60
#define POOL_KEEPALIVE_S 15 /* idle links of cards and network tokens die after 30 s (tokens.md, rule 9) */
#define POOL_HOLD_NS                                                                                         \
    2000000 /* longest that a result waits for others, and only while more derivations queue */

struct pool;

struct pool_state {
    enum keyipc_token_state token;
    uint32_t login;    /* counts logins: keys of an earlier one are gone */
    unsigned sessions; /* that derive */
    uint64_t derives, generates, failures;
    size_t queued;
    char label[KEYIPC_LABEL_BYTES + 1], serial[KEYIPC_SERIAL_BYTES + 1]; /* "" before it was there */
    int64_t
        derive_ns; /* one derivation of many at present: its time, over the sessions that work side by side; 0: none yet */
    struct histogram times[KEYIPC_TIMED_COUNT];
};

/* All pools of a process. */
struct pool_group {
    atomic_uint ready;
    atomic_llong empty_since_ns; /* when the last one was lost */
};

/* Opens min(threads, what the token permits) sessions and starts a thread for each. t and set stay the caller's but
 * are the pool's alone until pool_stop. wake_fd is an eventfd that is written when results wait. down: why the token
 * does not work yet, ERR_NONE when it does. */
struct pool *pool_start(struct token *t, struct key_set *set, unsigned threads, int wake_fd,
                        struct pool_group *group, const struct err *down, struct err *err) MUST_CHECK;
/* Refuses and drops what is queued, waits for what runs, ends the threads, closes their sessions. */
void pool_stop(struct pool *p);

/* Takes the job, or (ERR_BUSY, ERR_TOKEN, ERR_PIN, ERR_MEMORY) leaves it with the caller. DESTROY is never
 * refused as long as the token is there. */
bool pool_submit(struct pool *p, struct job *job, struct err *err) MUST_CHECK;
/* Takes back what is queued for a stream, or for a whole connection. What runs comes back as usual. */
void pool_cancel_stream(struct pool *p, uint64_t connection, uint64_t stream, struct job_list *out);
void pool_cancel_connection(struct pool *p, uint64_t connection, struct job_list *out);
/* Moves all finished jobs to out, which may hold some already. */
void pool_results(struct pool *p, struct job_list *out);
void pool_state(struct pool *p, struct pool_state *out);

/* When the pool waits for another PIN: looks whether there is one. */
void pool_retry_pin(struct pool *p);

/* A job with everything zero, or NULL; job_free wipes. */
struct job *job_new(void);
void job_free(struct job *job);

#endif
