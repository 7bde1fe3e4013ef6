/* What one event of an upstream's answer means, and its way to the client: parsed, judged, opened, rendered.
 *
 * The upstream is hostile: whatever the client might show as the model's answer must have come out of a sealed
 * field. What an event may hold (docs/PROTOCOL.md section 3), everything compared after unescaping:
 *  - top level: id, object, model, system_fingerprint, service_tier (strings of at most 128 characters of
 *    [A-Za-z0-9._:/@+-], or null), created (number), usage and cost (numbers, null, true, false and strings of that
 *    kind, nested at most 4 deep, keys of that kind), choices, error. Any other member, or one of another form, is
 *    left out of what the client gets (venice_parameters carries web text; Go's decoder takes "Choices" for
 *    "choices").
 *  - a choice: index, delta, message, logprobs (null or empty), finish_reason and its kin stop_reason, matched_stop,
 *    native_finish_reason ([a-z_]{1,24}, "" or null; the kin also numbers). Others may only be numbers, true, false,
 *    null or empty, and are left out.
 *  - a delta or message (both are treated alike; null is fine): role "assistant", and the sealed content,
 *    reasoning_content, reasoning: "", null, or a sealed field. tool_calls, function_call, refusal, annotations,
 *    audio and unknown members must be null, false or empty; unknown ones are left out.
 * Whatever breaks the last two rules, and a sealed member that is no ciphertext (at least 186 hex digits, even,
 * beginning 04; escapes refused), is ERR_PLAINTEXT; a point off the curve is ERR_DECRYPT; what is no JSON object, or
 * too large, ERR_UPSTREAM.
 *
 * An event owns a copy of its bytes, so it may wait for DERIVE while the transfer goes on; hex is decoded and
 * plaintext opened within that copy, wiped by reset and free. Objects belong to one thread at a time.
 *
 * Use: answer_parse, for each field find the key of field.point and answer_open, perhaps stop_filter_apply, then
 * answer_render or gather_add. */
#ifndef E2EE_WIRE_ANSWER_H
#define E2EE_WIRE_ANSWER_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "crypto/aead.h"
#include "crypto/point.h"
#include "wire/upstream_error.h"
#include "json/json.h"

enum answer_kind {
    ANSWER_NOTHING, /* holds nothing for the client: skip it */
    ANSWER_DONE,    /* [DONE] */
    ANSWER_ERROR,   /* in-band error: event->error */
    ANSWER_USAGE,   /* choices empty or absent, usage there: only for clients that asked for include_usage */
    ANSWER_CHUNK    /* at least one choice; perhaps sealed fields */
};

enum answer_member { ANSWER_CONTENT, ANSWER_REASONING_CONTENT, ANSWER_REASONING, ANSWER_MEMBER_COUNT };
/* Top-level members that a gathered answer or a chunk of our own repeats. */
enum answer_meta {
    ANSWER_ID,
    ANSWER_CREATED,
    ANSWER_MODEL,
    ANSWER_USAGE_OBJECT,
    ANSWER_FINGERPRINT,
    ANSWER_SERVICE_TIER,
    ANSWER_COST,
    ANSWER_META_COUNT
};

/* A piece of event->text; start == end when absent. */
struct answer_span {
    uint32_t start, end;
};

/* One non-empty sealed string, in the order of the text. */
struct answer_field {
    const uint8_t *point; /* POINT_BYTES, on the curve; with nonce and sealed a view of the event */
    const uint8_t *nonce; /* AEAD_NONCE_BYTES */
    uint8_t *sealed;      /* ciphertext and tag, AEAD_TAG_BYTES at least */
    size_t sealed_len;
    const uint8_t
        *text; /* plaintext, NULL before answer_open; may be pointed at bytes that live until rendering */
    size_t text_len;
    struct answer_span span; /* the string with its quotes */
    uint32_t choice;         /* position in event->choices */
    uint8_t member;          /* enum answer_member */
};

struct answer_choice {
    struct answer_span span;   /* the choice object */
    struct answer_span finish; /* value of finish_reason: a string, a number or null */
    uint32_t index;            /* the member "index", else the position */
    bool finished;             /* finish_reason is a non-empty string */
    bool bare;                 /* the object has no member that is rendered */
    /* Set by the caller before rendering: */
    bool dropped;           /* leave the choice out */
    const char *new_finish; /* a static word that replaces finish_reason, or NULL */
    const uint8_t
        *tail;       /* text to give after this choice's earlier content and before this event, as a chunk */
    size_t tail_len; /* of our own; lives until rendering */
};

struct answer_edit;

struct answer_event {
    enum answer_kind kind;
    bool multiline;  /* the text has line ends, between tokens */
    struct buf text; /* the event's bytes, sealed strings decoded or opened in place */
    struct answer_field *fields;
    size_t field_count, field_cap;
    struct answer_choice *choices;
    size_t choice_count, choice_cap;
    struct answer_edit *edits; /* what rendering changes, ordered and disjoint */
    size_t edit_count, edit_cap;
    struct answer_span meta[ANSWER_META_COUNT];
    struct upstream_error error;
    void *user; /* the exchange's */
};

/* Scratch space of answer_parse; one for a thread serves any number of streams. */
struct answer_parser {
    struct json_doc doc;
    uint8_t point
        [POINT_BYTES]; /* the last one that was found to be on the curve: most fields come under it again */
};

void answer_parser_init(struct answer_parser *p);
void answer_parser_free(struct answer_parser *p);

/* An empty event. Reuse it: answer_parse keeps its memory. NULL with ERR_MEMORY. */
struct answer_event *answer_event_new(struct err *err) MUST_CHECK;
/* Wipes the contents and keeps the memory, unless that is more than 64 KiB. */
void answer_event_reset(struct answer_event *event);
/* Wipes and frees. NULL is fine. */
void answer_event_free(struct answer_event *event);

/* Reads one event's data (as sse_feed hands it out) into event, whatever that held before. On failure event is
 * empty and err says which rule was broken, by the names of members of our own table only: ERR_PLAINTEXT,
 * ERR_DECRYPT, ERR_UPSTREAM, ERR_MEMORY. */
bool answer_parse(struct answer_parser *p, struct answer_event *event, const char *data, size_t len,
                  struct err *err) MUST_CHECK;

/* Opens field i in place with the key that aead holds. ERR_DECRYPT when the tag is wrong or the plaintext is no
 * UTF-8 (every server seals whole characters: docs/PROTOCOL.md section 3). */
bool answer_open(struct answer_event *event, size_t i, struct aead *aead, struct err *err) MUST_CHECK;

/* Appends "data: ...\n\n" of a CHUNK or USAGE event, after one such line for each tail; nothing when all its choices
 * are dropped. Sealed strings become their plaintext, what the rules leave out is left out, everything else
 * passes byte for byte, line ends between tokens apart (they become spaces: an event of one data line). All fields
 * of choices that are not dropped must have their text (ERR_INTERNAL). ERR_MEMORY when out is full. */
bool answer_render(const struct answer_event *event, struct buf *out, struct err *err) MUST_CHECK;
/* Appends "data: [DONE]\n\n". */
bool answer_render_done(struct buf *out);
/* Appends a chunk of our own: head is what answer_head made, then the choice's index and content. */
bool answer_render_chunk(struct buf *out, const char *head, size_t head_len, uint32_t index,
                         const uint8_t *text, size_t len);
/* Appends `{"id":...,"object":"chat.completion.chunk","created":...,"model":...` as far as the event has them. */
bool answer_head(const struct answer_event *event, struct buf *out);

#endif
