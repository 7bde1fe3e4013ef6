/* The table of model sessions. Opening one (attest, verify, OPEN in the keyholder) is blocking code on threads of
 * this table, single-flight for each model: requests that come meanwhile wait for the one handshake. A session is
 * replaced in the background before it expires, so that no request waits for a rotation.
 *
 * The table also keeps the provider's catalogue, fetched by the same threads, served stale while the upstream is
 * down. */
#ifndef E2EE_SESSION_SESSIONS_H
#define E2EE_SESSION_SESSIONS_H

#include <stdint.h>

#include "base/err.h"
#include "session/catalogue.h"
#include "session/mailbox.h"
#include "session/session.h"

struct sessions;

/* One verified enclave, as a handshake's first half gives it. */
struct session_evidence {
    uint8_t model_point[POINT_BYTES];
    uint8_t signing_address[ETH_ADDRESS_BYTES];
    int64_t fresh_for_ns; /* how long the evidence may be used from now on; LIMIT_SESSION_S at most */
};

struct sessions_options {
    struct keyholder_control *control; /* outlives the table */
    int64_t life_ns;                   /* --rotate */
    unsigned threads;                  /* handshakes side by side */
    void *arg;                         /* of the hooks */
    /* Blocking, on a thread of the table. nonce is for this call only. Errors: ERR_ATTESTATION, ERR_UNREACHABLE, ... */
    bool (*attest)(void *arg, const char *model, struct session_evidence *out, struct err *err);
    struct catalogue *(*fetch_catalogue)(void *arg, struct err *err);
    /* What the app keeps with a session; NULL is an allocation failure. May be NULL. */
    void *(*new_shared)(void *arg);
    void (*free_shared)(void *shared);
    /* Told of each handshake: kind ERR_NONE when it succeeded. May be NULL. */
    void (*on_handshake)(void *arg, const char *model, const struct err *err, int64_t ns, bool rotation);
};

/* Starts the threads. */
struct sessions *sessions_new(const struct sessions_options *options, struct err *err) MUST_CHECK;
/* Fails every waiter with ERR_CANCELLED, joins the threads (running fetches must have been aborted), drops the
 * sessions. */
void sessions_free(struct sessions *sessions);

/* A wait for a session or for the catalogue. Owned by the table until done is called; session and catalogue are
 * references that become the callee's. */
struct session_wait;
typedef void (*session_done_cb)(void *arg, struct session *session, struct catalogue *catalogue,
                                const struct err *err);

/* The session of a model of the catalogue. Returns at once with *session set (a reference), or with *wait set (done
 * comes later on box's loop, exactly once, unless cancelled), or false: ERR_ATTESTATION for a model that was refused
 * less than LIMIT_ATTESTATION_REFUSED_S ago, ERR_BUSY (with Retry-After) when the re-keying or attestation budget is spent. Loop
 * threads. */
bool sessions_acquire(struct sessions *sessions, const char *model, struct mailbox *box, session_done_cb done,
                      void *arg, struct session **session, struct session_wait **wait,
                      struct err *err) MUST_CHECK;
/* The same for the catalogue: at most LIMIT_CATALOGUE_AGE_S old, older (with a refresh begun) when that is all there
 * is. */
bool sessions_catalogue(struct sessions *sessions, struct mailbox *box, session_done_cb done, void *arg,
                        struct catalogue **catalogue, struct session_wait **wait, struct err *err) MUST_CHECK;
/* done will not be called. Only on the loop of the wait's mailbox, before done was called. */
void sessions_cancel(struct sessions *sessions, struct session_wait *wait);

/* The upstream said that session's key is not the enclave's any more, or the token lost ours: no new request uses
 * it. The next acquire opens another: at most LIMIT_REKEYS_PER_10_MIN of a model, for a hostile upstream must not
 * wear out a card's flash. Any thread. */
void sessions_retire(struct sessions *sessions, struct session *session);
/* The same by a decision of ours (another policy): that costs none of those. */
void sessions_renew(struct sessions *sessions, struct session *session);

/* Live sessions now, for metrics. Calls visit for each with the table locked: visit must be short. Any thread. */
void sessions_visit(struct sessions *sessions, void (*visit)(void *arg, const struct session *session),
                    void *arg);

#endif
