/* The lines of the custody log, which the keyholder writes and `audit verify` reads: JSON, one event each, chained by
 * SHA-256.
 *
 *   {"seq":7,"time":"2026-11-24T14:00:00.000Z","event":"login", ... ,"prev":"HEX","hash":"HEX"}
 *
 * prev is the hash of the line before (of line 1: zeros), hash that of this line's bytes from its brace to the end of prev's
 * value with its quote. seq counts from 1, over all files of a log. A line ends in LF, which is not part of it. The hash of
 * the last line, the head, stands for the whole log. Any thread. */
#ifndef E2EE_KEYIPC_CHAIN_H
#define E2EE_KEYIPC_CHAIN_H

#include "base/buf.h"
#include "crypto/hash.h"

#define CHAIN_LINE_BYTES_MAX 4096 /* without its LF */
#define CHAIN_EVENT_BYTES 32      /* of an event's name, with terminator: a-z and _ */

/* Where a chain stands: zeros before its first line. */
struct chain_head {
    uint64_t seq;
    uint8_t hash[SHA256_BYTES];
};

struct chain_line {
    uint64_t seq;
    char event[CHAIN_EVENT_BYTES];
    uint8_t prev[SHA256_BYTES], hash[SHA256_BYTES];
    size_t members, members_len; /* where in the text the event's own members are */
};

/* Appends the next line with its LF and moves *head. members: further JSON members, each begun by a comma; "" for none; they
 * are the caller's to be valid and free of control characters. time is RFC 3339. On failure (out is full) *head stays. */
bool chain_append(struct buf *out, struct chain_head *head, const char *time, const char *event,
                  const char *members, struct err *err) MUST_CHECK;

/* One line without its LF, any bytes: its form, and that its hash is its own. ERR_INVALID says which of both. */
bool chain_parse(struct chain_line *line, const char *text, size_t len, struct err *err) MUST_CHECK;

/* Line for line through a log. Begin with zeros. */
struct chain_check {
    struct chain_head last;
    uint64_t first_seq; /* of the first good line, 0: none yet */
    uint64_t lines, findings;
};
/* The next line without its LF. False: err says what is wrong with it (changed, missing lines before it, out of place), and it
 * counts as a finding; the check goes on from what the line says of itself. *line is zeros where it is malformed. */
bool chain_check_line(struct chain_check *check, struct chain_line *line, const char *text, size_t len,
                      struct err *err) MUST_CHECK;

#endif
