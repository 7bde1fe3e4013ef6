/* What was found true of exact bytes, so that it need not be proven again at each handshake. In memory only, for the life
 * of the process; never a failure. Any thread.
 *
 * Two kinds of fact. A signature: this key's fits these bytes, which no time changes; those of certificates and lists are
 * remembered below X509_verify_cert (provider.c). A path: X509_verify_cert accepted these certificates with these lists
 * (certs_path.c). Its answer depends on the bytes that went in, on flags that are compiled in, and on time, the latter by
 * comparisons with the dates in those bytes only: between two dates, where every comparison comes out as it did, so does
 * the answer. Such a fact therefore holds for an interval, and is not found outside.
 *
 * A name is SHA-256 over all that went in, so that nothing but the same bytes can find a fact: another leaf, a list with
 * one more serial or another root is another name. */
#ifndef E2EE_ATTEST_PROVEN_H
#define E2EE_ATTEST_PROVEN_H

#include <stdint.h>

#include "crypto/hash.h"

/* A platform type has nine facts (TCB info, QE identity, the signer's path; of CA, signer and both lists that their signatures
 * fit, the lists' twice), each platform two more (its certificate's signature, its path). */
#define PROVEN_MAX 512

struct proven {
    uint8_t digest[SHA256_BYTES];
};

/* Seconds since 1970: from <= t < until. */
struct proven_interval {
    int64_t from, until;
};

/* The name of one fact, of one to four parts. False when hashing failed, and then nothing is remembered. */
bool proven_name(struct proven *out, const struct hash_part *parts, size_t count) MUST_CHECK;
/* Remembered for always, or for an interval that at lies in. */
bool proven_has(const struct proven *name);
bool proven_has_at(const struct proven *name, int64_t at);
/* Only after it was proven. What was not asked for longest makes room. An interval that is empty is not kept. */
void proven_add(const struct proven *name);
void proven_add_for(const struct proven *name, struct proven_interval interval);

#endif
