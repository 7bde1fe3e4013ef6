/* Growable byte buffer with a maximum, for bodies and plaintext: wiped on growth and free. A failed append
 * empties the buffer and marks it failed, so that a chain of appends needs one check at the end. */
#ifndef E2EE_BASE_BUF_H
#define E2EE_BASE_BUF_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct buf {
    uint8_t *data; /* len valid bytes, not terminated; moves when the buffer grows */
    size_t len;
    size_t cap;
    size_t max;  /* never holds more than this many bytes */
    bool failed; /* an append did not fit or memory ran out; sticky until buf_reset */
};

/* Empty buffer that holds at most max bytes. Allocates nothing. */
void buf_init(struct buf *b, size_t max);
/* Wipes and frees; the buffer stays usable with its maximum. */
void buf_free(struct buf *b);
/* Forgets the contents (wiped) and the failure, keeps the memory. */
void buf_reset(struct buf *b);
/* Room for extra more bytes, or false and failed. */
bool buf_reserve(struct buf *b, size_t extra);
bool buf_append(struct buf *b, const void *data, size_t len);
bool buf_append_str(struct buf *b, const char *text);
bool buf_append_byte(struct buf *b, uint8_t byte);
bool buf_appendf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Lower-case hex of data. */
bool buf_append_hex(struct buf *b, const uint8_t *data, size_t len);
/* Removes the first n bytes (n <= len), wiping what becomes free. */
void buf_consume(struct buf *b, size_t n);
/* Terminated view of the contents, valid until the next change; NULL when failed or out of memory. The
 * terminator is not counted in len. */
const char *buf_cstr(struct buf *b);
/* Turns a failed buffer into an error: ERR_TOO_LARGE naming what, or ERR_MEMORY. True when not failed. */
bool buf_check(const struct buf *b, const char *what, struct err *err) MUST_CHECK;
/* Moves src into dst (whose old contents are freed); src becomes empty. */
void buf_move(struct buf *dst, struct buf *src);

#endif
