/* Shared by the files of this layer: reading keys and strings that the parser has already checked. */
#ifndef E2EE_JSON_INTERNAL_H
#define E2EE_JSON_INTERNAL_H

#include "json/json.h"

/* Sixteen bytes at a time from pos up to near the first quote, backslash, control or non-ASCII character: nearly all of a
 * streamed chunk is one long hex string. Returns where to go on byte by byte. */
size_t json_skip_plain(const char *text, size_t pos, size_t len);

/* Bytes of the UTF-8 sequence at s (2 to 4), 0 when it is none: overlong forms, surrogates and what lies past
 * U+10FFFF included. */
uint32_t json_utf8_sequence(const uint8_t *s, size_t left);

/* Decodes the escape at p (which points at a backslash of a checked string) into 1 to 4 bytes of UTF-8. Returns the
 * position after it; a surrogate pair is one escape. */
const char *json_unescape_one(const char *p, uint8_t out[static 4], size_t *out_len);

/* Refuses two members of one name in the object nodes[object]. O(n log n) comparisons whatever the keys are. */
bool json_keys_unique(const struct json_doc *doc, uint32_t object, struct err *err) MUST_CHECK;

#endif
