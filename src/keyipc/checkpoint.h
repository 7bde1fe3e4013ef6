/* Checkpoints of the custody log: lines in which a key of the operator's signs the hash of an earlier line, and so all lines up
 * to it. docs/OPERATIONS.md, "Checkpoints", has the format; an auditor needs nothing but openssl. Any thread.
 *
 *   {"seq":8, ... ,"event":"checkpoint","from":1,"line":7,"over":"HEX","instance":"e2ee-keyholder 00…","algorithm":"ecdsa-sha256",
 *    "key":"HEX","signature":"HEX","prev": ...
 *
 * from: the signer knows by itself that the lines from here to line are as they were written; those before it signed as it found
 * them. over: line's hash. key: the public key's fingerprint (crypto/signature.h). */
#ifndef E2EE_KEYIPC_CHECKPOINT_H
#define E2EE_KEYIPC_CHECKPOINT_H

#include "crypto/signature.h"
#include "keyipc/chain.h"

#define CHECKPOINT_EVENT "checkpoint"
#define CHECKPOINT_BACK_MAX 65536 /* lines between a checkpoint and the line that it signs, at most */
#define CHECKPOINT_INSTANCE_BYTES 40
#define CHECKPOINT_ALGORITHM_BYTES 16
#define CHECKPOINT_TEXT_BYTES 512
#define CHECKPOINT_MEMBERS_BYTES 1536

struct checkpoint {
    uint64_t from, line;
    uint8_t hash[SHA256_BYTES];
    char instance[CHECKPOINT_INSTANCE_BYTES + 1]; /* printable ASCII without quote and backslash */
    char algorithm[CHECKPOINT_ALGORITHM_BYTES];   /* a-z, 0-9 and dashes */
    uint8_t key[SHA256_BYTES];
    uint8_t signature[SIGNATURE_BYTES_MAX];
    size_t signature_len;
};

/* The bytes that are signed, as a text; its length. */
size_t checkpoint_text(char out[static CHECKPOINT_TEXT_BYTES], const struct checkpoint *c);
/* The line's members, for chain_append. */
void checkpoint_members(char out[static CHECKPOINT_MEMBERS_BYTES], const struct checkpoint *c);
/* The members of a line that chain_parse has read. ERR_INVALID, and then *c is zeros; there is one spelling for each content. */
bool checkpoint_parse(struct checkpoint *c, const char *members, size_t len, struct err *err) MUST_CHECK;

#endif
