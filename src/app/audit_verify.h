/* Judges the files of a custody log (keyipc/chain.h). One thread. */
#ifndef E2EE_APP_AUDIT_VERIFY_H
#define E2EE_APP_AUDIT_VERIFY_H

#include <stdio.h>

#include "keyipc/chain.h"

/* What was found, over all files. */
struct audit_result {
    struct chain_check check; /* findings of its lines counted */
    uint64_t gaps;            /* lines that say that events were not kept */
    bool torn;                /* the last line has no end */
    bool head_found;
    uint64_t head_seq; /* of the line that has the wanted head */
};

/* Reads the files in the order of their first lines, whatever their order here, and prints each finding to out as
 * "FILE:LINE: what". wanted: a head to look for, NULL for none. False (ERR_IO, ERR_MEMORY) when a file cannot be read. */
bool audit_verify(struct audit_result *result, const char *const *paths, size_t count, const uint8_t *wanted,
                  FILE *out, struct err *err) MUST_CHECK;

#endif
