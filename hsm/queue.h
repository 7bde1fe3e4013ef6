/* What waits for the token: jobs, taken round robin over the streams that have any, so that one long answer does not
 * hold up the others. No lock: the pool has one. */
#ifndef E2EE_HSM_QUEUE_H
#define E2EE_HSM_QUEUE_H

#include <p11-kit/pkcs11.h>
#include <stdint.h>

#include "base/err.h"
#include "base/secret.h"
#include "crypto/point.h"
#include "hsm/key.h"
#include "keyipc/keyipc.h"

enum job_type {
    JOB_OPEN,    /* new pair, and the request key with point */
    JOB_DERIVE,  /* response key of private_key and point */
    JOB_DESTROY, /* the pair of private_key */
};

/* One operation. It owns copies of its inputs and names its requester by numbers, so that either may go first. */
struct job {
    struct job *next;
    enum job_type type;
    bool answer;         /* the requester awaits an answer */
    uint64_t connection; /* who asked; answers for a connection that is gone are dropped */
    uint32_t request_id; /* of its request */
    uint64_t client;     /* whose key it is */
    uint8_t unit;        /* hsm/unit.h: whose pool it goes to */
    uint64_t key_id;     /* the client's name for it; 0 for OPEN */
    uint64_t stream;     /* DERIVE: round robin and CANCEL */
    uint32_t
        login; /* the pool's login count when the key was made: a later login does not know its handles */
    CK_OBJECT_HANDLE private_key;
    uint8_t point[POINT_BYTES];
    bool session_custody; /* OPEN: make the scalar that opens answers here */

    int64_t took_ns[KEYIPC_TIMED_COUNT]; /* by what was done for it; 0: was not */

    bool ok; /* result */
    struct key_pair pair;
    struct secret key;
    struct secret scalar; /* OPEN with session custody, and its public half */
    uint8_t response_point[POINT_BYTES];
    struct err err; /* when not ok */
};

struct job_list {
    struct job *head, *tail;
    size_t count;
};
void job_list_append(struct job_list *list, struct job *job);
struct job *job_list_take(struct job_list *list);
/* Moves all of from to the end of to. */
void job_list_splice(struct job_list *to, struct job_list *from);

struct queue;

/* Holds at most max jobs. */
struct queue *queue_new(size_t max, struct err *err) MUST_CHECK;
/* Jobs left inside are not freed. NULL is fine. */
void queue_free(struct queue *q);
/* False (ERR_BUSY, ERR_MEMORY): the job stays the caller's. */
bool queue_put(struct queue *q, struct job *job, struct err *err) MUST_CHECK;
/* The next stream's oldest job, NULL when empty. */
struct job *queue_take(struct queue *q);
/* Moves stream's jobs of connection to out. */
void queue_remove_stream(struct queue *q, uint64_t connection, uint64_t stream, struct job_list *out);
/* Moves all jobs of connection to out; connection 0: of all. */
void queue_remove_connection(struct queue *q, uint64_t connection, struct job_list *out);
size_t queue_length(const struct queue *q);

#endif
