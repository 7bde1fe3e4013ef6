/* What pool.c (queue and threads) and pool_work.c (what a thread does with the token) share. */
#ifndef E2EE_HSM_POOL_PRIVATE_H
#define E2EE_HSM_POOL_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "hsm/pool.h"

struct worker {
    struct pool *pool;
    unsigned index; /* 0: the first, see pool.h */
    pthread_t thread;
    pthread_cond_t wake;
    bool idle;                 /* under the lock; cleared by whoever wakes it */
    CK_SESSION_HANDLE session; /* the thread's own; the first uses token->session */
};

struct pool {
    struct token *token;  /* touched by workers only, see pool.h */
    struct key_set *keys; /* the first worker only */
    struct pool_group *group;
    int wake_fd;
    atomic_uint count; /* sessions that derive; written by the first worker while the token is not READY */
    unsigned started;
    struct worker workers[TOKEN_SESSIONS_MAX];

    atomic_bool restart;  /* the device failed: the module is to be finalised before it is trusted again */
    pthread_mutex_t lock; /* all below */
    struct queue *derives;
    struct job_list serial; /* OPEN and DESTROY, in order */
    struct job_list done;
    bool told;       /* the server knows that done has something */
    int64_t held_ns; /* since when it has not been told, 0: nothing is held back */
    unsigned busy;   /* workers that are in the module */
    bool stopping;
    enum keyipc_token_state state;
    bool works; /* counted by module_token_works; the first worker's */
    char name[KEYIPC_LABEL_BYTES + 1], number[KEYIPC_SERIAL_BYTES + 1]; /* the token's label and serial */
    struct err reason;                                                  /* while not READY */
    uint32_t login;
    uint64_t derive_count, generate_count, failure_count;
    int64_t derive_ns; /* of one session, a running mean */
    struct histogram times[KEYIPC_TIMED_COUNT];
};

/* Under the lock: the token works, and which it is. */
void pool_ready(struct pool *p);
/* First worker, lock held: until the token is back, or the pool stops. */
void pool_recover(struct worker *w);

/* Runs job on w's session. False when the token must be taken for lost; job then holds the reason too. */
bool pool_work_run(struct worker *w, struct job *job);
/* A call that reaches the device. False when it is lost. */
bool pool_work_keepalive(struct worker *w, struct err *err);
/* First worker, alone in the module. */
bool pool_work_recover(struct pool *p, unsigned attempt, struct err *err);
/* Opens the other workers' sessions, fewer when the token gives fewer: p->count is adjusted. */
bool pool_work_open_sessions(struct pool *p, unsigned wanted, struct err *err);

#endif
