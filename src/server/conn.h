/* Inside of the server layer: a connection and its current request. Loop thread only. Nothing outside src/server
 * includes this.
 *
 * Evbuffers and events of our own, no bufferevents: those write only after another turn of the loop with two changes
 * of the epoll set for each chunk, and stop watching for a hang-up whenever reading pauses. Here the kernel is offered
 * the bytes at the end of the turn, EV_WRITE is asked for only when it does not take them all, and reading never stops
 * (what cannot be kept is dropped, and the connection closed after its response).
 *
 * Reentrancy: functions that the app calls only mark a connection (conn_touch, conn_doom); writing, calling back,
 * freeing and going on to the next request happen in conn_turn, which only event callbacks of the worker call. */
#ifndef E2EE_SERVER_CONN_H
#define E2EE_SERVER_CONN_H

#include <stdatomic.h>
#include <stdint.h>
#include <sys/queue.h>

#include <event2/event.h>
#include <event2/event_struct.h>
#include <llhttp.h>

#include "base/buf.h"
#include "base/limits.h"
#include "server/head.h"
#include "server/worker.h"

enum conn_state {
    CONN_HEAD,   /* between requests, or in a head */
    CONN_BODY,   /* the head was accepted, its body is being read */
    CONN_CALL,   /* the app works on the request */
    CONN_FLUSH,  /* the response is complete, not yet all written */
    CONN_LINGER, /* all is written; reads on for a moment so that the answer is not lost to a reset */
};

struct field { /* offsets of terminated texts in call->head */
    uint32_t name;
    uint32_t value;
};

struct http_call {
    struct conn *conn;
    void *context;
    uint64_t id;
    struct buf head; /* request line and headers; terminators are put in after parsing */
    uint32_t url, url_len;
    uint32_t query;          /* offset of the query in head, or of an empty text */
    const char *cors_origin; /* an Origin that is allowed, to be echoed */
    struct buf body;
    size_t body_limit;
    size_t charged;    /* bytes of the body charged to the accountant */
    uint64_t length;   /* Content-Length, 0 without one */
    uint64_t overhead; /* framing bytes of a chunked body so far */
    uint8_t method;    /* llhttp's number */
    uint8_t version;   /* 10 or 11 */
    uint8_t last_byte; /* of the body's framing, to see a line end split over two reads */
    bool chunked_body, body_read, expect_continue;
    bool announced; /* the app knows it and has not ended it */
    bool ended;     /* the response is complete */
    bool keep_alive;
    bool streaming, chunked, no_body;
    bool full; /* the app was told to pause */
    bool message_complete;
    bool too_many_fields;
    llhttp_t parser;
    unsigned field_count;
    struct field fields[LIMIT_HTTP_HEADER_COUNT];
};

struct conn {
    TAILQ_ENTRY(conn) all;
    TAILQ_ENTRY(conn) dirty;
    struct http_worker *worker;
    struct http_call *call; /* from the first byte of a request until its response is written */
    struct evbuffer *out;
    struct buf pending; /* further requests that came while one is in work */
    size_t pending_off; /* bytes of pending that were used */
    size_t charged;     /* bytes of out and pending charged to the accountant */
    int64_t since_ns;   /* begin of what the state's time-out counts from */
    int64_t write_ns;   /* last time the client took bytes, or since when some wait */
    int64_t timer_ns;   /* when the timer will fire, 0: not armed */
    struct head_scan scan;
    enum conn_state state;
    int fd;
    bool is_dirty, doomed, busy;
    bool closing;    /* after this response */
    bool discarding; /* input that nobody will read has come or may come: linger before closing */
    bool write_armed, read_closed;
    bool served; /* a response: what follows is time between requests */
    struct event read_ev, write_ev, timer_ev;
};

TAILQ_HEAD(conn_list, conn);

struct http_worker {
    struct event_base *base;
    const struct http_config *config;
    const struct http_handler *handler;
    void *arg;
    struct conn_list conns, dirty;
    struct event *flush_ev, *adopt_ev;
    int adopt_pipe[2];
    atomic_size_t connections, busy;
    atomic_bool draining;
    int64_t date_s;
    char date[40];
    uint8_t scratch[LIMIT_HTTP_READ_BYTES]; /* wiped after each read */
};

/* conn.c: lifecycle, input and output, time-outs */
/* Takes fd; the connection counts as busy from the start. On failure fd is closed and the counters are settled. */
void conn_new(struct http_worker *w, int fd);
/* Marks: something was queued, or the state changed. */
void conn_touch(struct conn *c);
/* Marks: to be closed at the next conn_turn; the app hears on_closed if it still has a live call. */
void conn_doom(struct conn *c);
/* Closes and frees now. */
void conn_free(struct conn *c);
/* Writes, goes on to further requests, closes. c may be gone afterwards. */
void conn_turn(struct conn *c);
size_t conn_queued(const struct conn *c);
/* Writes what is queued as far as the kernel takes it. */
void conn_write(struct conn *c);
/* Queues response bytes; a failure dooms the connection. */
void conn_queue(struct conn *c, const void *data, size_t len);

/* request.c: bytes to calls */
/* Uses up to len bytes according to the state; returns how many. Less than len means that the connection is not
 * ready for the next request. */
size_t conn_input(struct conn *c, const uint8_t *data, size_t len);
void call_free(struct http_call *call);
/* An error of the server's own making: the app hears on_closed if it knows the call, the client gets the error, and
 * the connection closes after it when the request was not read to its end. */
void call_refuse(struct http_call *call, const struct http_error *e);

/* judge.c: the rules that hold before a body is read. */
/* True when the request may go to the app. False: *e says why; or *preflight, when it is to be answered as an
 * allowed OPTIONS request. */
bool judge_head(const struct http_worker *w, struct http_call *call, struct http_error *e, bool *preflight);
/* Writes the value of Access-Control-Allow-Headers: those of the requested names that clients of OpenAI use. */
void judge_cors_headers(const struct http_call *call, struct buf *out);

/* reply.c */
/* Answers OPTIONS. */
void reply_options(struct http_call *call, bool preflight);

#endif
