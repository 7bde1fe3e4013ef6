/* Signatures over collateral that were found valid, so that the same bytes need not be proven again at each handshake.
 * Only that is remembered: whether this key's signature fits these bytes, which no time changes. Dates, revocation, who
 * the key belongs to, and everything about a quote are judged anew each time. In memory only, for the life of the
 * process; entries are SHA-256 over key, signature and data, so that nothing but the same bytes can find one. Any
 * thread. */
#ifndef E2EE_ATTEST_PROVEN_H
#define E2EE_ATTEST_PROVEN_H

#include <stdint.h>

#include "crypto/hash.h"

#define PROVEN_MAX 64 /* a platform type has four: TCB info, QE identity, two revocation lists */

struct proven {
    uint8_t digest[SHA256_BYTES];
};

struct proven_part {
    const void *data;
    size_t len;
};

/* The name of one signature: every part with its length. False when hashing failed, and then nothing is remembered. */
bool proven_name(struct proven *out, const struct proven_part *parts, size_t count) MUST_CHECK;
bool proven_has(const struct proven *name);
/* Only after the signature was verified. The oldest entry makes room. */
void proven_add(const struct proven *name);

#endif
