/* A model session: one attested model key, one key pair in the token, one request key, shared by all workers for at
 * most an hour. Immutable once published, but for its counters; reference-counted. When the last reference goes,
 * the token key is destroyed (keyholder_close). */
#ifndef E2EE_SESSION_SESSION_H
#define E2EE_SESSION_SESSION_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/limits.h"
#include "base/secret.h"
#include "crypto/point.h"
#include "keyholder/control.h"

struct session {
    atomic_uint refs;
    struct keyholder_control *control;
    struct keyholder_key key;
    char model[LIMIT_MODEL_ID_BYTES + 1];
    char model_key_hex[POINT_HEX_CHARS + 1]; /* the attested string, lower case with 04: the header's value */
    char client_key_hex[POINT_HEX_CHARS + 1]; /* response_point: the header's value */
    uint8_t model_point[POINT_BYTES];
    uint8_t client_point[POINT_BYTES];   /* that each sealed field of a request carries */
    uint8_t response_point[POINT_BYTES]; /* that answers are sealed to; with token custody the same */
    uint8_t signing_address[ETH_ADDRESS_BYTES];
    struct secret request_key; /* AEAD_KEY_BYTES */
    void *shared;              /* what the app keeps with a session: the set of seen fields */
    void (*free_shared)(void *shared);
    int64_t created_ns;  /* CLOCK_BOOTTIME */
    int64_t rotate_ns;   /* replaced in the background from here on */
    int64_t expires_ns;  /* no new request uses it from here on */
    int64_t deadline_ns; /* streams that still use it end here: expires plus the grace */
    atomic_bool used;    /* a request took it since it was published */
};

struct session *session_ref(struct session *s);
/* Any thread. NULL is fine. */
void session_unref(struct session *s);

#endif
