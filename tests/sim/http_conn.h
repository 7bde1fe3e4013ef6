/*
 * What http.c (how requests come in) and http_answer.c (how answers go out) share.
 */
#ifndef SIM_HTTP_CONN_H
#define SIM_HTTP_CONN_H

#include <llhttp.h>

#include "http.h"

struct http_conn {
    struct http_conn *next, *prev;
    struct bufferevent *bev;
    http_handler *handler;
    llhttp_t parser;
    struct http_request request;
    struct bytes target, name, value;
    bool busy, pumping, dead, closing, keep_alive, gone_counted;
    void *user;
    void (*on_drain)(void *user);
    void (*on_gone)(void *user);
};

/* Frees at once, or when the pump that is running on this connection returns. */
void http_conn_drop(struct http_conn *conn);
/* Reads requests from what has come in, as long as none is being answered. */
void http_conn_pump(struct http_conn *conn);
void http_conn_clear(struct http_conn *conn); /* the request's memory */

#endif
