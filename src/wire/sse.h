/* Server-sent events by the WHATWG HTML standard, section 9.2: lines end in CR, LF or CRLF, one BOM in front is
 * skipped, comments and the fields event, id and retry are ignored, several data lines are joined by LF, an event
 * ends at an empty line, and one that the stream's end cuts off is dropped. Input may be split anywhere.
 *
 * An event of one data line that lies whole in the bytes fed is handed out as a view of them, without a copy.
 * One parser belongs to one stream and one thread. */
#ifndef E2EE_WIRE_SSE_H
#define E2EE_WIRE_SSE_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

struct sse {
    struct buf line; /* the part of an unfinished line that earlier feeds brought */
    struct buf data; /* data lines of the event so far, joined by LF */
    size_t max;      /* bytes of one line and of one event's data */
    uint8_t bom;     /* bytes of a BOM seen at the start; past it SSE_STARTED */
    bool has_data;   /* the event has a data field, if only an empty one */
    bool after_cr;   /* a LF that comes next belongs to the CR before it */
    bool skipping;   /* the unfinished line is a comment or an ignored field: nothing of it is kept */
    size_t skipped;  /* its bytes so far */
};

/* One event's data, valid only during the call, len > 0. Returning false (with err filled) ends the feed. The
 * callback may not feed or free the parser. */
typedef bool sse_event_cb(void *arg, const char *data, size_t len, struct err *err);

/* Limits are LIMIT_SSE_EVENT_BYTES. Allocates nothing. */
void sse_init(struct sse *p);
/* Wipes and frees. */
void sse_free(struct sse *p);
/* Parses len more bytes, calling cb for each event that they complete, in order. False when cb said so, or
 * ERR_UPSTREAM for a line or event past the limit, ERR_MEMORY; the parser must not be fed again. */
bool sse_feed(struct sse *p, const void *bytes, size_t len, sse_event_cb *cb, void *arg,
              struct err *err) MUST_CHECK;
/* True when the stream's end now would cut off an event or a line: what the end of the stream drops. */
bool sse_unfinished(const struct sse *p);

#endif
