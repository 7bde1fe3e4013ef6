/* Shared by answer.c (life and rendering), answer_parse.c (judgement) and answer_forms.c. */
#ifndef E2EE_WIRE_ANSWER_INTERNAL_H
#define E2EE_WIRE_ANSWER_INTERNAL_H

#include "wire/answer.h"

enum answer_edit_kind {
    ANSWER_EDIT_CUT,           /* left out */
    ANSWER_EDIT_FIELD,         /* fields[which]: its plaintext */
    ANSWER_EDIT_FINISH,        /* choices[which]: new_finish if there is one */
    ANSWER_EDIT_FINISH_INSERT, /* the same where the choice has no finish_reason; empty span */
    ANSWER_EDIT_CHOICES_INSERT /* "choices":[] for a usage event that has none; empty span */
};

struct answer_edit {
    struct answer_span span;
    uint32_t which;
    uint8_t kind;
};

/* Makes room for one more element of size bytes in *array (count used of *cap). False: ERR_MEMORY. */
bool answer_grow(void **array, size_t count, size_t *cap, size_t size, struct err *err) MUST_CHECK;

/* On the curve; remembers the last one that was. */
bool answer_point_valid(struct answer_parser *p, const uint8_t point[static POINT_BYTES]);

#define ANSWER_NUMBER_MAX 32 /* characters of a number that passes */

/* null, false, "", [] or {}. */
bool answer_is_empty(const struct json_node *node);
/* Empty, or holding nothing that is not. The reader bounds the depth. */
bool answer_is_hollow(const struct json_doc *doc, const struct json_node *node);
/* A string of at most 128 characters of [A-Za-z0-9._:/@+-], without escapes. */
bool answer_is_identifier(const struct json_doc *doc, const struct json_node *node);
/* Numbers, true, false, null and identifiers only, in values and keys, nested at most depth deep. */
bool answer_is_figures(const struct json_doc *doc, const struct json_node *node, int depth);
/* A string of [a-z_]{0,24}. */
bool answer_is_finish(const struct json_doc *doc, const struct json_node *node);

#endif
