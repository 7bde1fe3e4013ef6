/* stream:false: the events of an upstream stream gathered into one chat.completion. Plaintext lives in wiping buffers
 * only. One thread. */
#ifndef E2EE_WIRE_GATHER_H
#define E2EE_WIRE_GATHER_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "wire/answer.h"

struct gather;

struct gather *gather_new(struct err *err) MUST_CHECK;
void gather_free(struct gather *g);
/* Adds a CHUNK or USAGE event whose fields are opened; obeys what a caller set in its choices (dropped, new_finish,
 * tail). Other kinds add nothing. ERR_UPSTREAM past LIMIT_GATHERED_ANSWER_BYTES of text in all or
 * LIMIT_ANSWER_CHOICES choices, ERR_MEMORY; the gathered answer is then unusable. */
bool gather_add(struct gather *g, const struct answer_event *event, struct err *err) MUST_CHECK;
/* Adds text to a choice's content. */
bool gather_add_text(struct gather *g, uint32_t index, enum answer_member member, const uint8_t *text,
                     size_t len, struct err *err) MUST_CHECK;
/* Bytes of text that it holds. */
size_t gather_bytes(const struct gather *g);
/* Appends the JSON of the whole: choices by index, content null where none was sent, reasoning_content and reasoning
 * where they were, finish_reason, usage and cost in the upstream's own bytes. ERR_UPSTREAM when no choice ever came,
 * ERR_MEMORY when out is full. */
bool gather_finish(const struct gather *g, struct buf *out, struct err *err) MUST_CHECK;

#endif
