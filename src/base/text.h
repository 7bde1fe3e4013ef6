/* Strict reading of small texts: numbers, switches, files. */
#ifndef E2EE_BASE_TEXT_H
#define E2EE_BASE_TEXT_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/secret.h"

/* Decimal digits only, whole string, within [min, max]. */
bool text_u64(uint64_t *out, const char *text, uint64_t min, uint64_t max) MUST_CHECK;
/* "on", "yes", "true", "1" and their opposites. */
bool text_bool(bool *out, const char *text) MUST_CHECK;
/* Whole regular file into out (its maximum applies). */
bool text_read_file(struct buf *out, const char *path, struct err *err) MUST_CHECK;
/* Whole regular file of at most max bytes into locked memory, one trailing newline (LF or CRLF) removed; an
 * empty file is an error. For PINs and API keys: the bytes touch no ordinary memory. */
bool text_read_secret(struct secret *out, const char *path, size_t max, struct err *err) MUST_CHECK;
/* Writes data to path through a 0600 temporary file beside it, fsync and rename. */
bool text_write_file_atomic(const char *path, const void *data, size_t len, struct err *err) MUST_CHECK;

#endif
