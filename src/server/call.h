/* One request and its response on a connection. Everything here runs on the loop thread of the call's worker.
 *
 * Life of a call, seen from the app (struct http_handler):
 *   on_headers   the head was parsed and judged (Host, Origin, framing, client token); no body byte was read. The
 *                app may answer at once, set a body limit, or just return: then the body is read.
 *   on_request   the whole body is there. The app answers now or later.
 *   then either  the app ends the call with call_reply, call_reply_error, call_stream_end or call_abort,
 *   or           on_closed: the client hung up or the connection failed.
 * Exactly one of these two happens, and after it the pointer is dead for the app (after on_closed returns, after the
 * ending function returns). No callback is ever made from inside a call_* function: failures found there are told
 * later in the same loop turn. Writes of one loop turn leave in one system call at its end.
 *
 * A client that shuts its sending side down while a request is in work counts as gone: on TCP that cannot be told from
 * a closed client. What was answered before the shut-down was read is still sent. */
#ifndef E2EE_SERVER_CALL_H
#define E2EE_SERVER_CALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/buf.h"

struct http_call;

struct http_handler {
    /* Both required. body is the call's own buffer (wiped with the call); the app may buf_move it away, and its
     * bytes stay charged to the accountant until call_body_release or the end of the call. */
    void (*on_headers)(struct http_call *call, void *arg);
    void (*on_request)(struct http_call *call, struct buf *body, void *arg);
    /* The client's queue fell to the low mark after call_stream_write had returned false. Optional. */
    void (*on_drained)(struct http_call *call, void *arg);
    /* The client is gone, or the server itself refused the rest of the request (body too large, stalled): at any
     * moment after on_headers returned and before the app ended the call, also while the request is still being
     * read or the upstream is silent. No call_* but call_context may be used. Required. */
    void (*on_closed)(struct http_call *call, void *arg);
    /* The server itself answered with an error (or refused the connection): status and code, for metrics. Optional. */
    void (*on_refused)(int status, const char *code, void *arg);
    /* True for a path that needs no client token (health). Optional. */
    bool (*is_public)(const char *path, void *arg);
};

enum http_method { HTTP_METHOD_GET, HTTP_METHOD_HEAD, HTTP_METHOD_POST, HTTP_METHOD_OTHER };

struct http_header {
    const char *name; /* terminated */
    const char *value;
};

/* OpenAI's error object and what goes with it. */
struct http_error {
    int status;           /* 400 to 599 */
    const char *type;     /* NULL: by status, invalid_request_error or server_error */
    const char *code;     /* NULL: null */
    const char *param;    /* NULL: null */
    const char *message;  /* escaped when written; control characters become spaces */
    unsigned retry_after; /* seconds; 0: no Retry-After, but a 503 always carries one (1) */
    bool no_retry;        /* x-should-retry: false */
};

/* The app's own pointer, NULL at first. */
void call_set_context(struct http_call *call, void *context);
void *call_context(const struct http_call *call);

/* The request. Texts live as long as the call. */
enum http_method call_method(const struct http_call *call);
const char *call_method_name(const struct http_call *call);
/* Without the query, as sent (not percent-decoded); begins with '/'. */
const char *call_path(const struct http_call *call);
/* After the '?', "" without one. */
const char *call_query(const struct http_call *call);
/* Value of the first header of that name (case ignored), or NULL. */
const char *call_header(const struct http_call *call, const char *name);
/* 10 or 11. */
int call_version(const struct http_call *call);
/* Process-wide number of this call, from 1, for logs. */
uint64_t call_id(const struct http_call *call);
/* Only in on_headers: the body may have at most this many bytes (default: http_config.max_body); past it 413. */
void call_set_body_limit(struct http_call *call, size_t bytes);
/* The app holds the body no longer: its bytes are given back to the accountant. */
void call_body_release(struct http_call *call);

/* The whole response; ends the call. extra may be NULL. Content-Length, Connection, Date and CORS headers are the
 * server's. A HEAD request gets the same head and no body. Headers with control characters are left out. */
void call_reply(struct http_call *call, int status, const char *content_type, const struct http_header *extra,
                size_t extra_count, const void *body, size_t len);
/* {"error":{"message","type","param","code"}}; ends the call. */
void call_reply_error(struct http_call *call, const struct http_error *e, const struct http_header *extra,
                      size_t extra_count);
/* That object's bytes, for an error event inside a stream: {"error":{...}} without line ends. */
bool call_error_json(struct buf *out, const struct http_error *e) MUST_CHECK;

/* A response whose length is unknown: chunked for HTTP/1.1, ended by closing for 1.0. */
void call_stream_begin(struct http_call *call, int status, const char *content_type,
                       const struct http_header *extra, size_t extra_count);
/* True once call_stream_begin was called: errors must now go into the stream. */
bool call_streaming(const struct http_call *call);
/* Queues len bytes as one chunk. False when more than the high mark is queued: pause the source until on_drained
 * (what was given is queued in any case). */
bool call_stream_write(struct http_call *call, const void *data, size_t len);
/* True from a call_stream_write that returned false until the queue fell to the low mark. */
bool call_stream_full(const struct http_call *call);
/* Bytes queued for this client that the kernel has not taken. */
size_t call_queued(const struct http_call *call);
/* Ends the body properly, and the call. */
void call_stream_end(struct http_call *call);
/* Ends the call by cutting the connection (the client sees a truncated body). */
void call_abort(struct http_call *call);

#endif
