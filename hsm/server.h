/* The keyholder's loop: connections in, jobs to the pool, answers out. One thread; it never waits for the token. */
#ifndef E2EE_HSM_SERVER_H
#define E2EE_HSM_SERVER_H

#include <sys/types.h>

#include "hsm/unit.h"

#define SERVER_ALLOW_MAX 32

struct server_options {
    const char *socket_path; /* NULL: none */
    int listener;            /* listen_open's; -1: none */
    int channel;             /* the supervisor's descriptor (keyipc/start.h), -1: none */
    uint8_t custody;         /* enum keyipc_custody: the weakest that a client may have */
    int signals;             /* signalfd with SIGTERM, SIGINT and SIGHUP */
    void (*reread)(void);    /* SIGHUP: reads again what may change; NULL: nothing */
    uint32_t max_key_age_s;
    uint64_t max_derives;              /* of one key; 0: no limit */
    size_t max_keys;                   /* of all clients together */
    uid_t allow_uid[SERVER_ALLOW_MAX]; /* beside our own; for socket_path */
    gid_t allow_gid[SERVER_ALLOW_MAX];
    size_t allow_uid_count, allow_gid_count;
};

/* Serves until a signal or the end of the channel. Starts the units' pools and has stopped them when it returns; keys
 * are then still in their sets; the listener is closed. ready() is called once connections are accepted. */
bool server_run(const struct server_options *options, struct unit *units, size_t unit_count, unsigned threads,
                void (*ready)(const struct server_options *), struct err *err) MUST_CHECK;

#endif
