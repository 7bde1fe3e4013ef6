/* Judges the files of a custody log (keyipc/chain.h, keyipc/checkpoint.h). One thread. */
#ifndef E2EE_CUSTODY_VERIFY_H
#define E2EE_CUSTODY_VERIFY_H

#include <stdio.h>

#include "custody/signed.h"

/* What an auditor has from elsewhere. */
struct custody_wanted {
    const uint8_t *head;                     /* of a line that must be there; NULL: none is known */
    const struct signature_key *const *keys; /* that may sign checkpoints */
    size_t key_count;                        /* 0: their signatures are not verified */
};

/* What was found, over all files. */
struct custody_result {
    struct chain_check check;   /* findings of its lines counted, those of checkpoints too */
    struct signed_check sealed; /* without its memory */
    uint64_t gaps;              /* lines that say that events were not kept */
    bool torn;                  /* the last line has no end */
    bool stopped; /* it ends as a keyholder ends that was told to: by "stop", and its checkpoint */
    bool head_found;
    uint64_t head_seq; /* of the line that has the wanted head */
};

/* Reads the files in the order of their first lines, whatever their order here, and prints each finding to out as
 * "FILE:LINE: what", and what a checkpoint cannot vouch for as "note: …". False (ERR_IO, ERR_MEMORY) when a file cannot be read. */
bool custody_verify(struct custody_result *result, const char *const *paths, size_t count,
                    const struct custody_wanted *wanted, FILE *out, struct err *err) MUST_CHECK;

#endif
