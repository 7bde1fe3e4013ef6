/* A strict JSON reader for hostile and signed texts (RFC 8259): offsets instead of copies, so that a document
 * can be edited in place and every byte that is not edited survives (a 64-bit seed, 1.0, 1e400, white space).
 *
 * Refused: anything after the value, bad UTF-8, lone surrogates (escaped or not), control characters in
 * strings, duplicate keys (compared after unescaping), nesting past LIMIT_JSON_DEPTH, more than
 * LIMIT_JSON_NODES nodes, texts of 4 GiB and more. Time is linear in the text and memory bounded by the node
 * limit, whatever the input. */
#ifndef E2EE_JSON_JSON_H
#define E2EE_JSON_JSON_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

enum json_type { JSON_NULL, JSON_FALSE, JSON_TRUE, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

/* One value. Offsets are bytes into the document's text. */
struct json_node {
    uint32_t start, end;         /* the whole value: a string with its quotes, an object with its braces */
    uint32_t key_start, key_end; /* the member's key with its quotes; both 0 outside objects */
    uint32_t next;               /* index of the next sibling, 0 when last */
    uint32_t first;              /* index of the first child, 0 when none */
    uint32_t count;              /* children */
    uint8_t type;                /* enum json_type */
    uint8_t escaped;             /* a string value that contains a backslash */
    uint8_t key_escaped;         /* a key that contains a backslash */
};

/* A parsed document: a view of a text that must outlive it unchanged. nodes[0] is the root. Reuse one struct
 * for many texts: the node array keeps its size. */
struct json_doc {
    const char *text;
    size_t len;
    struct json_node *nodes;
    size_t count, cap;
};

void json_doc_init(struct json_doc *doc);
void json_doc_free(struct json_doc *doc);

/* Parses text[0..len). On failure doc is empty (count 0) and err (ERR_INVALID, or ERR_MEMORY) names the rule
 * and the byte offset, never the contents. Node count is limited to min(max_nodes, LIMIT_JSON_NODES). */
bool json_parse(struct json_doc *doc, const char *text, size_t len, size_t max_nodes,
                struct err *err) MUST_CHECK;

/* The root value of a parsed document. */
const struct json_node *json_root(const struct json_doc *doc);
/* Member of an object by its exact name after unescaping; NULL when object is NULL, no object, or has none.
 */
const struct json_node *json_member(const struct json_doc *doc, const struct json_node *object,
                                    const char *name);
/* As json_member, but NULL also for a JSON null. */
const struct json_node *json_present(const struct json_doc *doc, const struct json_node *object,
                                     const char *name);
/* Children in order: first child, next sibling; NULL at the end. */
const struct json_node *json_first(const struct json_doc *doc, const struct json_node *parent);
const struct json_node *json_next(const struct json_doc *doc, const struct json_node *node);

/* True when node is a string that unescapes to exactly text / key that does. NULL node: false. */
bool json_string_is(const struct json_doc *doc, const struct json_node *node, const char *text);
bool json_key_is(const struct json_doc *doc, const struct json_node *node, const char *name);
/* The raw bytes between a string's quotes, still escaped: *out points into the text. False when not a string.
 */
bool json_string_raw(const struct json_doc *doc, const struct json_node *node, const char **out, size_t *len);
/* True when node is a string that unescapes to something that begins with text. */
bool json_string_starts(const struct json_doc *doc, const struct json_node *node, const char *text);
/* Unescapes raw[0..len), the inside of a string that was parsed, into out[len]; returns the bytes written. */
size_t json_unescape(uint8_t *out, const char *raw, size_t len);
/* Copies text[0..len), a value that was parsed, into out[len] without the white space outside its strings; returns the
 * bytes written. */
size_t json_compact(uint8_t *out, const char *text, size_t len);
/* Appends the unescaped string to out (UTF-8). False when node is no string or out is full. */
bool json_string_get(const struct json_doc *doc, const struct json_node *node, struct buf *out) MUST_CHECK;
/* Copies the unescaped string, terminated, into out[cap]. False when no string, too long, or it contains
 * U+0000. */
bool json_string_copy(const struct json_doc *doc, const struct json_node *node, char *out,
                      size_t cap) MUST_CHECK;
/* Non-negative integer without fraction or exponent that fits. */
bool json_u64(const struct json_doc *doc, const struct json_node *node, uint64_t *out) MUST_CHECK;
/* JSON true or false. */
bool json_bool(const struct json_node *node, bool *out) MUST_CHECK;
/* A number of at most 400 characters as a double (for comparing with defaults only); 1e400 gives infinity. */
bool json_double(const struct json_doc *doc, const struct json_node *node, double *out) MUST_CHECK;

/* Appends text as a JSON string with its quotes; U+0000..U+001F, quote and backslash escaped. text is UTF-8.
 */
bool json_append_string(struct buf *out, const char *text, size_t len);
/* The same without the quotes, for text that arrives in pieces. */
bool json_append_escaped(struct buf *out, const char *text, size_t len);
/* True when text[0..len) is valid UTF-8 without surrogates. */
bool json_utf8_valid(const char *text, size_t len);

#endif
