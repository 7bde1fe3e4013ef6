/* Stop sequences, which never leave for the upstream (they are the user's words): the proxy applies them to the opened
 * content itself. Text that may be the beginning of a sequence is held back until it is decided; what is given out
 * ends before the first match. Matching is by bytes: since sequences and texts are whole UTF-8, every cut falls
 * between characters. */
#ifndef E2EE_WIRE_STOP_H
#define E2EE_WIRE_STOP_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/limits.h"

/* A request's sequences, compiled; read-only afterwards, so any thread may share it. Holds the user's words: wiped
 * when freed. */
struct stop_set;

/* texts[i] is lens[i] bytes of UTF-8, count at most LIMIT_STOP_SEQUENCES, each 1 to LIMIT_STOP_BYTES bytes:
 * ERR_INVALID otherwise. NULL on failure. */
struct stop_set *stop_set_new(const char *const *texts, const size_t *lens, size_t count,
                              struct err *err) MUST_CHECK;
void stop_set_free(struct stop_set *set);

/* The state of one choice's content. All zero is the start. */
struct stop_state {
    uint16_t matched[LIMIT_STOP_SEQUENCES]; /* bytes of each sequence that the text so far ends with */
    uint16_t held;                          /* the longest of them: bytes held back */
    uint8_t holder;                         /* the sequence whose beginning is held */
    bool stopped;                           /* a sequence was found: no more text comes */
};

/* Reads len more bytes of content and appends to out what may be given out now. After a match (state->stopped) out
 * has got the text before it, and every further feed adds nothing. False only when out is full (buf_check). */
bool stop_feed(const struct stop_set *set, struct stop_state *state, const uint8_t *text, size_t len,
               struct buf *out) MUST_CHECK;
/* The choice ended without a match: appends what was held back. */
bool stop_flush(const struct stop_set *set, struct stop_state *state, struct buf *out) MUST_CHECK;

#endif
