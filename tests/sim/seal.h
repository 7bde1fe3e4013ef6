/*
 * The response direction of docs/PROTOCOL.md section 3: fields sealed to the client's key, with a fresh server key for
 * each field or one for the response. In prepared mode (benchmarks) server keys and their agreements come from a pool
 * made once for each client key, so that a field costs one AES-GCM and no curve operation.
 */
#ifndef SIM_SEAL_H
#define SIM_SEAL_H

#include "crypto.h"

enum seal_mode {
    SEAL_PER_FIELD,
    SEAL_PER_RESPONSE,
    SEAL_PLAIN,     /* no E2EE: the text itself */
    SEAL_SAME_SIZE, /* no E2EE: constant hex of the size the sealed field would have */
};

struct sealer {
    enum seal_mode mode;
    uint8_t client[SIM_POINT];
    uint8_t point[SIM_POINT], k[32]; /* per response */
    bool ready;
    struct seal_pool *pool;
    size_t cursor;
};

void sealer_init(struct sealer *s, enum seal_mode mode, const uint8_t client[static SIM_POINT],
                 bool prepared);
void sealer_new_key(struct sealer *s); /* the next field of a per-response sealer gets another key */
/* Appends the field as hex (or the text, by mode). */
void sealer_add(struct sealer *s, struct bytes *out, const void *text, size_t len);
void seal_pool_size(size_t entries);
void seal_forget(void);

#endif
