/* The process's control connection to its keyholder: makes and destroys keys, says who we are, watches the token.
 * One thread of its own speaks on the connection and brings it back when it is lost (with a pause that grows to
 * LIMIT_KEYHOLDER_RETRY_MS); callers wait for their answer by a deadline, any number at once. A keyholder that goes
 * or comes back costs one log line. docs/PROTOCOL-KEYHOLDER.md. */
#ifndef E2EE_KEYHOLDER_CONTROL_H
#define E2EE_KEYHOLDER_CONTROL_H

#include <stdint.h>

#include "base/err.h"
#include "base/secret.h"
#include "crypto/point.h"
#include "keyholder/link.h"
#include "keyipc/keyipc.h"

struct keyholder_control;

struct keyholder_options {
    uint8_t custody;        /* enum keyipc_custody wanted; a keyholder that offers a weaker one is refused */
    uint32_t max_key_age_s; /* --rotate plus grace */
    uint32_t call_ms;       /* deadline of a call; 0: LIMIT_TOKEN_CALL_S. Shorter in tests only */
    uint32_t
        wait_ms; /* deadline of a derivation while the token answers others; less than call_ms: the same */
};

/* A token key. Plain value: copy it freely. */
struct keyholder_key {
    uint64_t id;
    uint32_t generation; /* of the keyholder that holds it */
    uint32_t losses;     /* keyholder_control_losses when it was asked for: with another number it is gone */
};

struct keyholder_opened {
    struct keyholder_key key;
    uint8_t client_point[POINT_BYTES];   /* of the token's pair: belongs to request_key */
    uint8_t response_point[POINT_BYTES]; /* that answers are to be sealed to; with token custody the same */
    struct secret request_key;           /* AEAD_KEY_BYTES */
};

struct keyholder_state {
    uint32_t generation; /* 0: no keyholder */
    struct err reason;   /* why there is none: ERR_TOKEN or ERR_PIN; ERR_NONE when there is one */
    uint8_t
        token_state; /* enum keyipc_token_state, at most LIMIT_KEYHOLDER_STATUS_S old; DOWN without keyholder */
    struct keyipc_hello_answer hello;   /* what the keyholder permits; zeros without one */
    struct keyipc_status_answer status; /* its last own words; zeros without */
};

/* Takes link (freed on failure too) and starts the thread; does not wait for a connection. */
struct keyholder_control *keyholder_control_new(struct keyholder_link *link,
                                                const struct keyholder_options *options,
                                                struct err *err) MUST_CHECK;
/* Fails waiting calls with ERR_CANCELLED and closes the connection, upon which the keyholder destroys our keys.
 * After every worker (worker.h) is freed and no call can begin. NULL is fine. */
void keyholder_control_free(struct keyholder_control *control);

/* Blocks until a keyholder with a ready token answers, or fails with its reason (ERR_PIN at once, else ERR_TOKEN)
 * after timeout_ms. Any thread but a loop. */
bool keyholder_control_wait(struct keyholder_control *control, unsigned timeout_ms,
                            struct err *err) MUST_CHECK;
/* Snapshot; never waits for the token. Any thread, loops included. */
void keyholder_control_state(struct keyholder_control *control, struct keyholder_state *out);
/* Number of the live keyholder, 0 without. A key of another generation is gone. Any thread, no lock. */
uint32_t keyholder_control_generation(struct keyholder_control *control);

/* How often no token was left that works, and with them all keys. Noticed within LIMIT_KEYHOLDER_STATUS_S, so that a shorter
 * absence may be missed: then a derivation says ERR_KEY_GONE. Any thread, no lock. */
uint32_t keyholder_control_losses(struct keyholder_control *control);

/* Blocking, any thread but a loop: a new key pair and the request key for model_point. ERR_TOKEN (absent, failed,
 * no answer within LIMIT_TOKEN_CALL_S), ERR_PIN, ERR_BUSY, ERR_INVALID (the point), ERR_CANCELLED (shutdown);
 * *out is empty then. */
bool keyholder_open(struct keyholder_control *control, const uint8_t model_point[static POINT_BYTES],
                    struct keyholder_opened *out, struct err *err) MUST_CHECK;
/* Wipes and empties. */
void keyholder_opened_clear(struct keyholder_opened *opened);
/* Destroys the key pair, soon. Never waits; a key of a past generation is gone already. Any thread, loops
 * included. */
void keyholder_close(struct keyholder_control *control, struct keyholder_key key);
/* Blocking, any thread but a loop: asks now. Errors as keyholder_open. */
bool keyholder_status(struct keyholder_control *control, struct keyipc_status_answer *out,
                      struct err *err) MUST_CHECK;
/* generation does not answer: tells the supervisor, who kills it, and drops its connections. Any thread. */
void keyholder_control_hung(struct keyholder_control *control, uint32_t generation);

#endif
