/* The upstream body of one request as a list of steps over the client's text: copied spans, fixed words, strings to be
 * sealed. Made once by request_parse, run by each request_seal. Used by wire/request*.c only. */
#ifndef E2EE_WIRE_PLAN_H
#define E2EE_WIRE_PLAN_H

#include <stdint.h>

#include "base/buf.h"
#include "crypto/aead.h"
#include "crypto/point.h"

enum plan_kind {
    PLAN_COPY,         /* the span, byte for byte */
    PLAN_WORD,         /* a fixed word of ours */
    PLAN_MODEL,        /* the upstream's model id as a JSON string */
    PLAN_SEAL_CONTENT, /* the inside of a string; text that looks like a JSON array is wrapped */
    PLAN_SEAL_TEXT,    /* the inside of a string */
    PLAN_SEAL_PARTS    /* an array, as compact JSON */
};

struct plan_step {
    enum plan_kind kind;
    uint32_t start, end; /* span of the client's text */
    const char *word;
};

struct plan {
    struct plan_step *steps;
    size_t count, cap;
    size_t out_max; /* bytes that running the steps writes at most */
    bool failed;    /* memory ran out; sticky */
    bool muted;     /* adds nothing: what is walked is only checked */
};

void plan_init(struct plan *p);
void plan_free(struct plan *p);
/* Adjacent copied spans become one. */
void plan_copy(struct plan *p, size_t start, size_t end);
/* word is kept by reference. */
void plan_word(struct plan *p, const char *word);
void plan_model(struct plan *p);
void plan_seal(struct plan *p, enum plan_kind kind, size_t start, size_t end);

/* Appends what the steps write to out, which is empty on failure. */
bool plan_run(const struct plan *p, const char *text, const char *model, struct aead *key,
              const uint8_t point[static POINT_BYTES], struct buf *out, struct err *err) MUST_CHECK;

#endif
