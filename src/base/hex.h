/* Hex and base64 (RFC 4648). */
#ifndef E2EE_BASE_HEX_H
#define E2EE_BASE_HEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"

/* Writes 2*len lower-case digits, no terminator. */
void hex_encode(char *out, const uint8_t *data, size_t len);
/* As hex_encode with a terminator: out holds 2*len+1. Returns out. */
char *hex_str(char *out, const uint8_t *data, size_t len);
/* Exactly digits hex characters of either case into digits/2 bytes; false on odd length or another character.
 */
bool hex_decode(uint8_t *out, const char *text, size_t digits) MUST_CHECK;
/* True when all of text[0..len) are hex digits. */
bool hex_all(const char *text, size_t len);

/* Bytes needed at most to decode len characters. */
#define BASE64_DECODED_MAX(len) ((len) / 4 * 3 + 3)
/* Standard alphabet (url: the URL-safe one), padding optional, white space refused. *out_len is set to 0 on
 * failure: wrong character, wrong padding, non-zero leftover bits. */
bool base64_decode(uint8_t *out, size_t out_cap, size_t *out_len, const char *text, size_t len,
                   bool url) MUST_CHECK;
/* Standard alphabet with padding; out holds (len+2)/3*4+1. */
void base64_encode(char *out, const uint8_t *data, size_t len);

#endif
