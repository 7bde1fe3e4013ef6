/* One connection of a client: bytes in, frames out. The server's thread only. */
#ifndef E2EE_HSM_CONNECTION_H
#define E2EE_HSM_CONNECTION_H

#include <sys/types.h>

#include "base/buf.h"
#include "hsm/client.h"
#include "keyipc/keyipc.h"

#define CONNECTION_IN_BYTES 65536         /* requests read and not yet handled */
#define CONNECTION_OUT_PAUSE_BYTES 262144 /* answers not yet taken: reading stops */
#define CONNECTION_OUT_BYTES (CONNECTION_OUT_PAUSE_BYTES + (LIMIT_KEYIPC_PENDING + 64) * 320)

enum connection_state {
    CONNECTION_NEW,     /* HELLO is due */
    CONNECTION_WAITING, /* a worker's HELLO came before its control's */
    CONNECTION_READY,
    CONNECTION_DEAD, /* to be closed at the end of the turn */
};

struct connection {
    int fd;
    uint64_t id; /* counts up, never 0 */
    pid_t pid;   /* of the peer, when it connected: for the log */
    uid_t uid;
    gid_t gid;
    enum connection_state state;
    uint8_t role;
    struct client *client;     /* READY */
    struct keyipc_hello hello; /* WAITING */
    uint32_t hello_request;
    int64_t hello_due_s; /* NEW and WAITING: cut then */
    size_t pending;      /* requests with the pool */
    struct buf in, out;
};

/* Takes fd (made non-blocking). ERR_IO, ERR_MEMORY; fd is closed then. */
struct connection *connection_new(int fd, uint64_t id, struct err *err) MUST_CHECK;
/* Closes and wipes. */
void connection_free(struct connection *c);
/* May more be read? Not while the peer leaves answers lying or has as many requests open as it may. */
bool connection_wants_read(const struct connection *c);
/* Handles what is in c->in as long as this is true. */
bool connection_may_handle(const struct connection *c);
/* One read into c->in. False when the peer is gone. */
bool connection_read(struct connection *c);
/* Writes what it can of c->out. False when the peer is gone. */
bool connection_write(struct connection *c);
/* Appends an answer. Marks the connection dead when its buffer is full, which its limits exclude. */
void connection_answer(struct connection *c, const struct keyipc_message *m);
void connection_answer_empty(struct connection *c, uint8_t op, uint32_t request_id);
void connection_answer_error(struct connection *c, uint32_t request_id, const struct err *why);
/* Logs why and marks it dead. */
void connection_cut(struct connection *c, const char *why);

#endif
