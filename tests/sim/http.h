/*
 * A small HTTP/1.1 server for the simulator on bufferevents and llhttp: it hands out raw request bytes, notices
 * hang-ups at once, and lets an answer be as broken as a fault wants it. One request at a time for each connection.
 * Single thread (the event loop's).
 */
#ifndef SIM_HTTP_H
#define SIM_HTTP_H

#include <event2/event.h>
#include <openssl/ssl.h>

#include "util.h"

struct http_header {
    char *name, *value;
};

struct http_request {
    char *method, *target, *path; /* path: the target before '?' as sent, not decoded */
    const char *query;            /* after '?', or NULL; points into target */
    struct http_header *headers;
    size_t header_count;
    struct bytes body, raw;
    bool tls, too_large;
};

struct http_conn;

/* Called with a whole request; it lives until the answer is finished. The handler answers now or later. */
typedef void http_handler(struct http_conn *conn, const struct http_request *request);

/* Listens on 127.0.0.1:port (0: any); the real port, or 0 on failure. tls NULL: plain http. */
int http_listen(struct event_base *base, int port, SSL_CTX *tls, http_handler *handler);
void http_shutdown(void); /* closes all listeners and connections */

/* The value of a header (case-insensitive), NULL when absent; *count tells how often it is there. */
const char *http_header_get(const struct http_request *request, const char *name, int *count);

/* extra: whole header lines, each with CRLF, or NULL. */
void http_reply(struct http_conn *conn, int status, const char *type, const char *extra, const void *body,
                size_t len);
void http_stream_begin(struct http_conn *conn, int status, const char *type, const char *extra);
void http_stream_write(struct http_conn *conn, const void *data,
                       size_t len); /* one HTTP chunk; nothing when empty */
void http_stream_bytes(struct http_conn *conn, const void *data,
                       size_t len); /* one HTTP chunk for each byte */
void http_stream_end(struct http_conn *conn);
void http_raw(struct http_conn *conn, const void *data, size_t len);
void http_close(struct http_conn *conn); /* when all is written */
void http_reset(struct http_conn *conn); /* now, with a TCP reset */

/* While an answer is unfinished: on_drain when the queue is short again, on_gone when the client is gone (conn is
 * then about to be freed: no further calls on it). Both are forgotten when the answer is finished. */
void http_watch(struct http_conn *conn, void *user, void (*on_drain)(void *user),
                void (*on_gone)(void *user));
size_t http_queued(const struct http_conn *conn);

#endif
