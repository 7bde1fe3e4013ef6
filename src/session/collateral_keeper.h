/* Renews cached collateral at half of its life, also when no session asks for it (docs/ATTESTATION.md): a thread that
 * sleeps, and fetches where a set is due. Collateral is believed by judging evidence: the keeper keeps one quote of each
 * platform type that this process has attested, and judges what was fetched by it, so that a mirror can no more spoil the
 * cache here than in a handshake. A failure leaves the cached set in place; the next attempt comes after the hour, with
 * jitter. */
#ifndef E2EE_SESSION_COLLATERAL_KEEPER_H
#define E2EE_SESSION_COLLATERAL_KEEPER_H

#include "session/collateral_source.h"

#define COLLATERAL_KEPT_MAX 64 /* platform types; more are renewed by handshakes only */

struct collateral_keeper;

struct collateral_keeper_options {
    struct collateral_source *source; /* online; all three outlive the keeper */
    const struct seen *seen;
    const struct attest_root *root;
    bool thread; /* false: the caller makes the turns (tests) */
};

struct collateral_keeper *collateral_keeper_new(const struct collateral_keeper_options *options,
                                                struct err *err) MUST_CHECK;
/* Waits for a fetch that runs: abort the source before. NULL is fine. */
void collateral_keeper_free(struct collateral_keeper *keeper);
bool collateral_keeper_knows(struct collateral_keeper *keeper, const struct collateral_key *key);
/* quote is of that platform type, and verified up to the collateral's checks; copied. Any thread. */
void collateral_keeper_note(struct collateral_keeper *keeper, const struct collateral_key *key,
                            const uint8_t *quote, size_t len);
/* Renews what is due at now. One thread at a time. */
void collateral_keeper_turn(struct collateral_keeper *keeper, int64_t now);

#endif
