/* What server.c (the loop), handlers.c (requests) and results.c (what the pool gives back) share. */
#ifndef E2EE_HSM_SERVER_PRIVATE_H
#define E2EE_HSM_SERVER_PRIVATE_H

#include "hsm/client.h"
#include "hsm/connection.h"
#include "hsm/server.h"

struct server {
    const struct server_options *options;
    struct unit *units;
    size_t unit_count, last_unit; /* last: that a key was made in */
    struct pool_group group;
    struct client_table clients;
    struct connection *connections[LIMIT_KEYHOLDER_CONNECTIONS];
    size_t connection_count;
    uint64_t last_connection;
    struct histogram software; /* derivations of session custody */
    uint64_t software_derives;
    int64_t uses_due_s; /* the next note of what keys did, clock_boot_s */
    int listener;       /* -1: none */
    int wake_fd;        /* eventfd of the pools */
};

/* Handles every whole frame in c->in that c may have handled now. True when it stopped before the last one. */
bool handlers_run(struct server *s, struct connection *c);
/* Joins what waits for the control connection that has just come. */
void handlers_join_waiting(struct server *s);

/* Answers and books what the pool has finished, and drops keys of a lost login. */
void results_collect(struct server *s);
/* Forgets c's requests, and when it is a control ends its client: keys are destroyed, workers cut. */
void results_connection_gone(struct server *s, struct connection *c);
/* No derive more; destroyed when the last one that runs has ended. why, a few words for the custody log, is kept by reference;
 * the first one counts. */
void results_close_key(struct server *s, struct client *client, struct held_key *key, const char *why);
/* Ages, and what could not be done before: once a second. */
void results_tick(struct server *s);
void results_cancelled(struct server *s, struct job_list *list);

struct connection *server_connection(struct server *s, uint64_t id);

#endif
