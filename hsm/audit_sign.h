/* Signs the custody log's head now and then: a thread of its own, so that neither a line nor a key waits for the key that signs.
 * Checkpoints (keyipc/checkpoint.h) are events like others. When one cannot be signed the log goes on; the failure is an event,
 * and it is tried again. One for the process. */
#ifndef E2EE_HSM_AUDIT_SIGN_H
#define E2EE_HSM_AUDIT_SIGN_H

#include "hsm/audit.h"
#include "keyipc/checkpoint.h"

struct audit_signer {
    /* Fills algorithm, key and signature of *c. Both are called on the thread that signs alone. */
    bool (*sign)(void *context, struct checkpoint *c, struct err *err);
    void (*keep_awake)(void *context); /* every POOL_KEEPALIVE_S while it is idle */
    void *context;
    const char *instance; /* label, lives as long as the process */
    uint64_t every;       /* lines */
};

/* Starts the thread and waits for the first checkpoint. On failure the reason why it could not be signed, and no thread. After
 * audit_open, with an anchor. */
bool audit_sign_start(const struct audit_signer *signer, struct err *err) MUST_CHECK;
/* Signs what is queued by now, and waits for it, timeout_ms at most. Nothing to do: true. Any thread. */
bool audit_sign_now(unsigned timeout_ms);
/* Ends the thread, after the signature that it makes. */
void audit_sign_stop(void);

struct audit_sign_state {
    bool on, failing;
    uint64_t line; /* the last one that is signed, 0: none */
};
void audit_sign_state(struct audit_sign_state *out);

#endif
