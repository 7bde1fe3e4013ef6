/* The tokens that one keyholder serves, each with its keys and its threads. New keys are spread over those that work; when
 * one is lost its keys are, and the next ones are made in another; it is brought back beside the others' work. */
#ifndef E2EE_HSM_UNIT_H
#define E2EE_HSM_UNIT_H

#include "hsm/pool.h"

struct unit {
    struct token token;
    struct key_set keys;
    struct err down; /* why it could not be used at start; ERR_NONE: it could */

    /* the server's */
    struct pool *pool;
    uint32_t login; /* of the pool, that all held keys belong to */
    size_t held;    /* key pairs that exist, are being made or being destroyed */
};

/* Opens every --token for an instance that was taken, sweeps what dead keyholders left, tests. With several, some may be absent or locked (logged; they are
 * brought back later): one is enough. *count is what there is to close in any case. */
bool units_open(struct unit *units, size_t *count, const struct token_options *options,
                struct instance *instance, struct err *err) MUST_CHECK;
/* Destroys all keys. Pools have been stopped. */
void units_empty(struct unit *units, size_t count);
/* Logs out, finalises; after units_empty. */
void units_close(struct unit *units, size_t count);

/* The unit for a new key: of those that work the one with the fewest keys, and of equals the one after last. With none that
 * works any. */
size_t units_choose(const struct unit *units, size_t count, size_t last);
/* All pools' states in one: READY when one is, PIN when all are, else DOWN. derive_ns is for keys spread as they are. */
void units_state(const struct unit *units, size_t count, struct pool_state *out);

#endif
