/* Clients and their keys. A client is a process: the control connection that began it, the workers' connections that
 * joined it, and the keys made for it. A key is known to the client by a random number, never by its handle. The
 * server's thread only. */
#ifndef E2EE_HSM_CLIENT_H
#define E2EE_HSM_CLIENT_H

#include <sys/types.h>

#include "crypto/point.h"
#include "hsm/queue.h"
#include "keyipc/keyipc.h"

struct held_key {
    uint64_t id;  /* random, not 0 */
    uint8_t unit; /* that it lives in */
    CK_OBJECT_HANDLE private_key;
    uint32_t login; /* of the pool, see queue.h */
    uint8_t own_point[POINT_BYTES], response_point[POINT_BYTES], model_point[POINT_BYTES];
    struct secret
        scalar;        /* of response_point with session custody; else empty: the token's private_key is it */
    int64_t expires_s; /* clock_boot_s */
    uint64_t derives, recorded; /* recorded: as the custody log has it */
    const char *ending;         /* why it ends, once it is closing */
    uint32_t running;           /* derives that are queued or run: it is not destroyed before they end */
    bool closing;               /* no new derive */
    bool destroying;            /* its job is with the pool */
    uint64_t closed_by;         /* connection that awaits the answer to CLOSE, 0 none */
    uint32_t close_request;     /* its request id */
};

struct client {
    struct client *next;
    uint64_t id;      /* counts up */
    uint64_t control; /* connection id; 0 when it is gone and only keys remain to be destroyed */
    uint8_t join[KEYIPC_JOIN_BYTES];
    uid_t uid;
    uint8_t custody; /* enum keyipc_custody in force: the stricter of its wish and ours */
    uint32_t max_key_age_s;
    struct held_key *keys; /* room for max_keys */
    size_t key_count;
};

struct client_table {
    struct client *first;
    uint64_t last_id;
    size_t max_keys; /* of all clients together */
    size_t keys;     /* that exist, are being made or being destroyed */
};

void client_table_init(struct client_table *table, size_t max_keys);
void client_table_free(struct client_table *table);

/* A client for a control connection's HELLO. ERR_FORBIDDEN when its join secret is in use, ERR_MEMORY. */
struct client *client_begin(struct client_table *table, uint64_t control, uid_t uid,
                            const struct keyipc_hello *hello, uint8_t custody, uint32_t max_key_age_s,
                            struct err *err) MUST_CHECK;
/* The client that a worker of uid joins by this secret, NULL when there is none. Constant time in the secret. */
struct client *client_join(const struct client_table *table, const uint8_t join[static KEYIPC_JOIN_BYTES],
                           uid_t uid);
struct client *client_find(const struct client_table *table, uint64_t id);
/* Frees a client whose control is gone and that has nothing in the token any more. */
void client_reap(struct client_table *table);

struct held_key *client_key(struct client *client, uint64_t key_id);
/* Of a finished OPEN, whose scalar is moved in. Room must have been reserved (table->keys). */
struct held_key *client_add_key(struct client *client, struct job *job, struct err *err) MUST_CHECK;
void client_remove_key(struct client_table *table, struct client *client, struct held_key *key);

#endif
