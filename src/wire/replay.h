/* (point, nonce) pairs seen: nothing in protocol version 1 keeps an upstream from sending a sealed field twice, so the
 * proxy refuses a pair that it saw in the same response or among the session's last LIMIT_REPLAY_FIELDS fields.
 *
 * A pair is remembered as a SipHash-2-4-128 under a random key of this process: nobody outside can make two pairs
 * collide, and a wrong refusal by chance needs about 2^64 fields of a session (2^32 of one response, which keeps 64 bits
 * of it). */
#ifndef E2EE_WIRE_REPLAY_H
#define E2EE_WIRE_REPLAY_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "crypto/aead.h"
#include "crypto/point.h"

struct replay_mark {
    uint64_t low, high;
};

/* A session's memory, shared by all threads (a mutex inside, held for a few probes). */
struct replay;

/* Of one response, one thread. All zero is empty. 8 bytes a field at a load of at most 3/4. */
struct replay_response {
    uint64_t *slots;
    size_t count, cap;
};

/* Makes the process's key; ERR_CRYPTO without randomness. Idempotent, any thread; replay_new calls it. */
bool replay_key_init(struct err *err) MUST_CHECK;
/* The mark of a pair. After replay_key_init. Any thread. */
struct replay_mark replay_mark(const uint8_t point[static POINT_BYTES],
                               const uint8_t nonce[static AEAD_NONCE_BYTES]);
/* SipHash-2-4-128 itself, for its published answers. */
struct replay_mark replay_siphash(const uint8_t key[static 16], const void *data, size_t len);

/* Remembers the last fields marks (LIMIT_REPLAY_FIELDS in the proxy; at least 1). 24 bytes a field. */
struct replay *replay_new(size_t fields, struct err *err) MUST_CHECK;
void replay_free(struct replay *r);
/* Adds a mark; ERR_DECRYPT when it is there already. Any thread. */
bool replay_add(struct replay *r, struct replay_mark mark, struct err *err) MUST_CHECK;

/* Adds a mark to a response's own set; ERR_DECRYPT when it is there already, ERR_UPSTREAM past LIMIT_ANSWER_FIELDS,
 * ERR_MEMORY. */
bool replay_response_add(struct replay_response *r, struct replay_mark mark, struct err *err) MUST_CHECK;
void replay_response_free(struct replay_response *r);

/* Both at once: the usual call for each field, as soon as it arrived. session may be NULL. */
bool replay_check(struct replay *session, struct replay_response *response,
                  const uint8_t point[static POINT_BYTES], const uint8_t nonce[static AEAD_NONCE_BYTES],
                  struct err *err) MUST_CHECK;

#endif
