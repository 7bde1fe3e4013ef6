/* Shared by loop.c, transfer.c and read_ahead.c only. */
#ifndef E2EE_UPSTREAM_LOOP_INTERNAL_H
#define E2EE_UPSTREAM_LOOP_INTERNAL_H

#include <event2/event.h>
#include <event2/event_struct.h>

#include "upstream/internal.h"
#include "upstream/loop.h"
#include "upstream/read_ahead.h"

/* A transfer is on at most one of the loop's work lists. */
enum transfer_work { WORK_NONE, WORK_START, WORK_RESUME, WORK_DONE, WORK_DEAD, WORK_COUNT };

struct transfer {
    struct upstream_loop *loop;
    struct transfer *prev, *next;           /* all transfers of the loop */
    struct transfer *work_prev, *work_next; /* its work list */
    enum transfer_work work;
    CURL *easy;
    curl_socket_t fd; /* the one last watched for it */
    struct upstream_headers headers;
    struct buf url, body;
    size_t body_len;
    struct transfer_callbacks callbacks;
    void *arg;
    struct transfer_result result;
    size_t header_bytes;
    int64_t last_ns;     /* of the last byte in either direction */
    curl_off_t uploaded; /* when last looked at */
    bool added;          /* to the multi handle */
    bool sent;           /* the whole request */
    bool answered;       /* on_status was called */
    bool began;          /* a byte of an answer came */
    bool streaming;      /* a byte of its body came */
    bool paused;         /* by our caller */
    bool curl_paused;    /* libcurl was told, and holds bytes */
    bool finished;       /* on_done runs */
    bool released;       /* its owner is gone: no callbacks; last_ns is since when */
    uint64_t linger_bytes;
};

struct upstream_sock;

struct upstream_loop {
    struct event_base *base;
    struct upstream_config *config;
    CURLM *multi;
    CURLSH *share; /* TLS sessions, for cheap new connections */
    struct event timer, deferred, tick;
    bool ticking;
    unsigned in_curl; /* libcurl is on the stack: most of its functions must not be called */
    struct read_ahead ahead;
    struct transfer *all;
    struct transfer *work_head[WORK_COUNT], *work_tail[WORK_COUNT];
    struct upstream_sock *socks, *free_socks;
    size_t sock_count; /* in socks and free_socks */
    size_t active;
};

/* Puts t on a work list, which the loop takes up after libcurl has returned, or in its next turn. */
void upstream_loop_queue(struct transfer *t, enum transfer_work work);
void upstream_loop_unqueue(struct transfer *t);
/* Lets libcurl act on fd, which is t's (NULL: nobody's any more), or on its clock (CURL_SOCKET_TIMEOUT, NULL). What waits is
 * not taken up yet. */
void upstream_loop_act(struct upstream_loop *loop, curl_socket_t fd, int mask, const struct transfer *t);
/* Memory for what libcurl may ask for one more transfer, at a moment when its lack can still be reported. */
bool upstream_loop_reserve(struct upstream_loop *loop) MUST_CHECK;
/* Counts t in and makes the clock tick; t is linked into all. */
void upstream_loop_enter(struct transfer *t);
void upstream_loop_leave(struct transfer *t);

/* transfer.c's side. Never while libcurl is on the stack, except for check. */
void transfer_work_start(struct transfer *t);
void transfer_work_resume(struct transfer *t);                /* goes on with what is there */
void transfer_finish_code(struct transfer *t, CURLcode code); /* result of libcurl; queues WORK_DONE */
void transfer_work_done(struct transfer *t);                  /* on_done, then frees */
void transfer_free(struct transfer *t);                       /* no callback */
void transfer_check(struct transfer *t, int64_t now);         /* time-outs; queues WORK_DONE */

#endif
