/*
 * The routes: Venice's API under a base path, a plaintext twin for benchmarks, and the control paths under /sim/.
 */
#ifndef SIM_SERVER_H
#define SIM_SERVER_H

#include "http.h"
#include "model.h"

struct server_settings {
    const char *base_path;  /* "/api/v1" */
    long attestation_limit; /* requests a minute, 0: none */
    long stale_after;       /* seconds of the ACI shape's freshness */
};
extern struct server_settings server_settings;

void server_init(struct event_base *base);
void server_handle(struct http_conn *conn, const struct http_request *request); /* an http_handler */
void server_reset(void); /* faults, records, nonces, signatures, settings as at the start */
/* control.c: True when the path is one of the control paths. */
bool control_handle(struct http_conn *conn, const struct http_request *request);
void reply_json(struct http_conn *conn, int status, char *body); /* frees body */

#endif
