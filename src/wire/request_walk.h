/* The walk over a parsed request body by the table of wire/fields.h: fills the plan, the info and the stop sequences.
 * Used by wire/request*.c only. */
#ifndef E2EE_WIRE_REQUEST_WALK_H
#define E2EE_WIRE_REQUEST_WALK_H

#include "wire/fields.h"
#include "wire/plan.h"
#include "wire/request.h"
#include "json/json.h"

struct walk_stops {
    struct buf text; /* the sequences, each terminated; its memory does not move */
    const char *texts[LIMIT_STOP_SEQUENCES];
    size_t lens[LIMIT_STOP_SEQUENCES];
    size_t count;
};

struct walk {
    const struct json_doc *doc;
    struct plan *plan;
    struct request_info *info;
    struct walk_stops *stops;
    bool dropped[FIELDS_RULES_MAX]; /* by index in the table */
    size_t unknown;                 /* members that the table does not have */
    bool has_model, has_messages, has_stream, has_options, has_venice;
    uint32_t message;                /* index of the message being read */
    bool role_is_tool;               /* of that message */
    const struct json_node *refusal; /* sealed in place of its missing content, or NULL */
    char *param;                     /* REQUEST_PARAM_BYTES */
    struct err *err;
};

/* Reads the whole request, an object. A plan that ran out of memory is the caller's to notice. */
bool walk_request(struct walk *w, const struct json_node *root) MUST_CHECK;

/* For the walk's own files. Names the field at fault in w->param and sets kind and message: the name, then text.
 * Returns false. */
bool walk_fault(struct walk *w, enum err_kind kind, enum fields_where where, const char *name,
                const char *text);
/* As walk_fault for a feature that cannot be carried: the rule's note is the advice. */
bool walk_unsupported(struct walk *w, const struct fields_rule *rule);
/* Checks a content and plans its sealing; null is copied. */
bool walk_content(struct walk *w, const struct fields_rule *rule, const struct json_node *value) MUST_CHECK;
/* Takes the value of stop. */
bool walk_stop(struct walk *w, const struct json_node *value) MUST_CHECK;

#endif
