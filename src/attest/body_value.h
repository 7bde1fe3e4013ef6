/* Members of the attestation body that servers spell in more than one way: JSON within strings, hex or base64
 * (protocol.md section 1). */
#ifndef E2EE_ATTEST_BODY_VALUE_H
#define E2EE_ATTEST_BODY_VALUE_H

#include "base/buf.h"
#include "base/err.h"
#include "json/json.h"

#define BODY_QUOTE_TEXT_BYTES 200000

/* An object that may be spelled as itself or as a string of JSON. */
struct body_value {
    struct buf text;
    struct json_doc own;
    const struct json_doc *doc;   /* where node lives: the body's document or own */
    const struct json_node *node; /* NULL: absent */
};

void body_value_init(struct body_value *o);
void body_value_free(struct body_value *o);
/* node may be NULL (absent). name is for messages. */
bool body_value_object(struct body_value *o, const struct json_doc *doc, const struct json_node *node,
                       const char *name, struct err *err) MUST_CHECK;
/* The text of a value into out: an object or array as it stands, a string unescaped, and again while that is once
 * more a JSON string. */
bool body_value_text(struct buf *out, const struct json_doc *doc, const struct json_node *node,
                     const char *name, struct err *err) MUST_CHECK;
/* Hex of either case, or base64: the provider's documents say base64, every capture is hex (protocol.md section 0). */
bool body_value_quote(struct buf *out, const struct json_doc *doc, const struct json_node *node,
                      struct err *err) MUST_CHECK;

#endif
