/* Which lines of a custody log are signed, by checkpoints (keyipc/checkpoint.h). One thread. */
#ifndef E2EE_CUSTODY_SIGNED_H
#define E2EE_CUSTODY_SIGNED_H

#include "keyipc/checkpoint.h"

struct signed_hash;

/* Line for line through a log, beside chain_check. Zeros and signed_begin before, signed_end after. */
struct signed_check {
    const struct signature_key *const *keys;
    size_t key_count; /* 0: signatures are not verified */
    struct signed_hash *hashes;
    uint64_t first;       /* number of the first line; 0: none yet */
    uint64_t checkpoints; /* good ones */
    uint64_t last_signed; /* line that the last good one signs; 0: none */
    uint64_t
        known_to; /* last line that a good one signs, or that is one whose signature is all that is new in it */
    uint64_t as_found; /* lines that were signed only as a later start found them */
    char instance[CHECKPOINT_INSTANCE_BYTES + 1]; /* of the last good one */
};

/* keys are the caller's, and outlive the check. ERR_MEMORY. */
bool signed_begin(struct signed_check *s, const struct signature_key *const *keys, size_t key_count,
                  struct err *err) MUST_CHECK;
void signed_end(struct signed_check *s);

/* The next line, after chain_check_line. good: that found nothing. False: the line is a checkpoint and err says what is wrong with
 * it. *gap_from to *gap_to: lines of which this checkpoint's signer knew only what it found, 0 for none. */
bool signed_line(struct signed_check *s, const struct chain_line *line, const char *text, bool good,
                 uint64_t *gap_from, uint64_t *gap_to, struct err *err) MUST_CHECK;

#endif
