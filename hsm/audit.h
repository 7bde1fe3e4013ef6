/* The custody log: what the token was asked to do, one line an event, chained (keyipc/chain.h). One for the process; a thread
 * of its own writes, so that only who must know that a line is on the disk waits for it. Without audit_open every function does
 * nothing and succeeds. Any thread.
 *
 * No key, secret, PIN, prompt or text of a client may be in an event: names, numbers, public keys' hashes, our own errors. */
#ifndef E2EE_HSM_AUDIT_H
#define E2EE_HSM_AUDIT_H

#include "crypto/point.h"
#include "keyipc/chain.h"
#include "keyipc/keyipc.h"

#define AUDIT_MEMBERS_BYTES 2048 /* of an event, with terminator; longer ones are cut to no members at all */
#define AUDIT_TEXT_BYTES 512

struct audit_options {
    const char *path;       /* NULL: no log */
    bool go_on;             /* work on when it cannot be written */
    const char *anchor_dir; /* where the last line is kept in mind (audit_anchor.h), NULL: nowhere */
    bool no_sync;           /* leave it to the kernel when lines reach the disk */
    uint64_t
        max_bytes; /* of a file, about; then it is renamed to PATH.NNNNNNNNNNNN, its first line's number */
};

/* Opens or continues the log and starts its thread: the folder must exist; a last line that a killed keyholder left torn is
 * cut off and noted. ERR_CONFIG (another writes it; its end is no custody log's), ERR_IO, ERR_MEMORY. */
bool audit_open(const struct audit_options *o, struct err *err) MUST_CHECK;
/* Writes what waits, ends the thread. No other thread may be in here. */
void audit_close(void);

/* tell is called on the log's thread, with no lock, after each batch that is on the disk: its last line, and the first of the file
 * that has it. NULL: no more. */
void audit_on_written(void (*tell)(const struct chain_head *head, uint64_t file_first));

/* Queues an event; never waits. members are JSON, each begun by a comma. What does not fit the queue is counted and told
 * by a "gap" later. event is kept by reference. */
void audit_event(const char *event, const char *members, ...) PRINTF_LIKE(2, 3);
/* Waits until all that was queued before is on the disk. ERR_TOKEN when that fails, or takes longer; with go_on it is true
 * then. */
bool audit_flush(unsigned timeout_ms, struct err *err) MUST_CHECK;
/* False (ERR_TOKEN) when nothing may be done now because it could not be written down. Never waits. */
bool audit_admits(struct err *err) MUST_CHECK;

struct audit_state {
    enum keyipc_audit state;
    struct chain_head head; /* of what is on the disk */
    uint64_t lost;          /* events, since the start */
};
void audit_state(struct audit_state *out);

/* text as JSON with its quotes, into *out; what is not printable ASCII becomes '?', too long is cut. */
struct audit_text {
    char text[AUDIT_TEXT_BYTES];
};
const char *audit_quote(struct audit_text *out, const char *text);
/* A public key's fingerprint: hex of the SHA-256 of its 65 bytes, in quotes. */
const char *audit_point(struct audit_text *out, const uint8_t point[static POINT_BYTES]);
/* true, false, or null for what a token does not tell (-1). */
const char *audit_flag(int flag);

#endif
