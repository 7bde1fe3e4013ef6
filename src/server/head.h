/* The bytes of a request's head, judged by the strict grammar before any parser sees them: every line ends with
 * CRLF, no control characters, no folded lines, field names are tokens followed at once by ':'. llhttp 8.1 is
 * lenient about some of these, and a proxy in front of us could read such a head differently. */
#ifndef E2EE_SERVER_HEAD_H
#define E2EE_SERVER_HEAD_H

#include <stddef.h>
#include <stdint.h>

struct head_scan {
    uint8_t state;
    uint8_t blank; /* empty lines seen before the request line */
};

enum head_result { HEAD_MORE, HEAD_DONE, HEAD_BAD };

#define HEAD_SCAN_START ((struct head_scan){0, 0})

/* Looks at data up to the end of the head. *used: bytes looked at; *skip: how many of them, at the beginning, are
 * empty lines before the request line and no part of the head. */
enum head_result head_scan(struct head_scan *s, const uint8_t *data, size_t len, size_t *used, size_t *skip);

#endif
