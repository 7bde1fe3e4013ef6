/*
 * Small helpers of the simulated enclave. Nothing here comes from src/: the simulator is a second, independent
 * statement of docs/PROTOCOL.md, so it may not inherit a mistake of the first one.
 *
 * The simulator is a test program: out of memory ends it. Single thread.
 */
#ifndef SIM_UTIL_H
#define SIM_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void *sim_alloc(size_t size); /* zeroed, never NULL */
void *sim_resize(void *p, size_t size);
char *sim_strdup(const char *s);
char *sim_strndup(const char *s, size_t len);

/* Growable bytes, always followed by a NUL that len does not count. Zero-initialised is empty. */
struct bytes {
    uint8_t *p;
    size_t len, cap;
};
void bytes_add(struct bytes *b, const void *data, size_t len);
void bytes_str(struct bytes *b, const char *s);
void bytes_fmt(struct bytes *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void bytes_number(struct bytes *b, long n);
void bytes_hex(struct bytes *b, const void *data, size_t len); /* appends lowercase hex */
void bytes_json(struct bytes *b, const char *s, size_t len);   /* appends a quoted JSON string */
void bytes_clear(struct bytes *b);
void bytes_free(struct bytes *b);
const char *bytes_text(const struct bytes *b); /* never NULL */

void hex_encode(const void *data, size_t len, char *out); /* out: 2 * len + 1 */
/* Exactly len bytes from exactly 2 * len hex digits of either case. */
bool hex_decode(const char *hex, size_t hex_len, uint8_t *out, size_t len);
bool hex_only(const char *s, size_t len, bool lower_only);
char *base64_encode(const void *data, size_t len); /* caller frees */

bool utf8_valid(const uint8_t *p, size_t len);
/* Length in bytes of the first n code points of valid UTF-8. */
size_t utf8_prefix(const char *p, size_t len, size_t n);

void random_bytes(void *out, size_t len);
int64_t now_ms(void);   /* CLOCK_MONOTONIC */
int64_t now_unix(void); /* seconds */

/* Decodes %XX ('+' stays '+': a model id may hold one). NULL on a broken escape. Caller frees. */
char *url_decode(const char *s, size_t len);
/* The decoded value of a query parameter, NULL when absent; *count tells how often it is there. Caller frees. */
char *query_get(const char *query, const char *name, int *count);

#endif
