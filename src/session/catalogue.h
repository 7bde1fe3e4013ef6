/* The provider's list of models: an immutable snapshot, shared by reference count. Only models with both
 * supportsE2EE and supportsTeeAttestation are in it (protocol.md section 5: route on the flags, not on the name). */
#ifndef E2EE_SESSION_CATALOGUE_H
#define E2EE_SESSION_CATALOGUE_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/limits.h"

struct catalogue_model {
    char id[LIMIT_MODEL_ID_BYTES + 1];
    char name[LIMIT_MODEL_ID_BYTES + 1]; /* for people; may be empty */
    char owned_by[LIMIT_MODEL_ID_BYTES + 1];
    uint64_t created;             /* epoch seconds; 0 unknown */
    uint64_t context_tokens;      /* 0 unknown */
    uint64_t output_tokens;       /* 0 unknown */
    double input_usd, output_usd; /* for a million tokens; negative unknown */
    bool vision, reasoning;
};

struct catalogue;

/* Parses the body of GET /models. A row that breaks the form is left out; a body that does is ERR_UPSTREAM. One
 * reference, the caller's. */
struct catalogue *catalogue_parse(const char *text, size_t len, int64_t now_ns, struct err *err) MUST_CHECK;
struct catalogue *catalogue_ref(struct catalogue *catalogue);
void catalogue_unref(struct catalogue *catalogue); /* NULL is fine */
size_t catalogue_count(const struct catalogue *catalogue);
const struct catalogue_model *catalogue_at(const struct catalogue *catalogue, size_t index);
/* NULL when there is no such E2EE model. */
const struct catalogue_model *catalogue_find(const struct catalogue *catalogue, const char *id);
/* When it was fetched, CLOCK_BOOTTIME. */
int64_t catalogue_fetched_ns(const struct catalogue *catalogue);

/* OpenAI's form of the list, or of one model: {"id","object":"model","created","owned_by"} plus context_length,
 * which clients such as Open WebUI read. */
bool catalogue_append_list(const struct catalogue *catalogue, struct buf *out);
bool catalogue_append_model(const struct catalogue_model *model, struct buf *out);

#endif
