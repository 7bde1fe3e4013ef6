/* Inside src/keyholder only: one non-blocking connection to the keyholder with its two buffers. One thread at a
 * time. */
#ifndef E2EE_KEYHOLDER_CONN_H
#define E2EE_KEYHOLDER_CONN_H

#include "base/buf.h"
#include "keyipc/keyipc.h"

struct keyholder_conn {
    int fd;             /* -1: closed */
    struct buf in, out; /* wiped as they empty */
    size_t at;          /* of in: what is decoded already */
    size_t gate;        /* bytes of out that may leave; what is past them waits for the answer to HELLO */
};

/* Takes its memory. ERR_MEMORY. */
bool keyholder_conn_init(struct keyholder_conn *c, struct err *err) MUST_CHECK;
void keyholder_conn_free(struct keyholder_conn *c);
/* fd becomes the connection's. */
void keyholder_conn_open(struct keyholder_conn *c, int fd);
void keyholder_conn_close(struct keyholder_conn *c);

/* Queues a request. On failure (ERR_BUSY, ERR_MEMORY) what was queued before stays. */
bool keyholder_conn_put(struct keyholder_conn *c, const struct keyipc_message *m, struct err *err) MUST_CHECK;
/* HELLO, and the gate behind it. */
bool keyholder_conn_hello(struct keyholder_conn *c, uint8_t role, uint8_t custody, uint32_t max_key_age_s,
                          const uint8_t join[static KEYIPC_JOIN_BYTES], uint32_t request_id,
                          struct err *err) MUST_CHECK;
/* Writes what may leave and fits the socket. ERR_IO when the connection is lost. */
bool keyholder_conn_flush(struct keyholder_conn *c, struct err *err) MUST_CHECK;
/* True when bytes are left that may leave. */
bool keyholder_conn_wants_write(const struct keyholder_conn *c);
/* Reads once, all that fits. ERR_IO when the connection is lost. */
bool keyholder_conn_fill(struct keyholder_conn *c, struct err *err) MUST_CHECK;
/* The next answer. *got false: none is whole yet. An answer whose key found no locked memory comes as KEYIPC_ERROR
 * ERR_MEMORY of its request. ERR_PROTOCOL: cut the connection. */
bool keyholder_conn_next(struct keyholder_conn *c, struct keyipc_message *m, bool *got,
                         struct err *err) MUST_CHECK;
/* After the last keyholder_conn_next of a round: frees the room, once. */
void keyholder_conn_compact(struct keyholder_conn *c);

/* A keyholder's error in our words. */
void keyholder_conn_error(const struct keyipc_error *from, struct err *err);

#endif
