/* Keys, shared secrets and PINs: bytes on OpenSSL's secure heap (mlocked, guarded, excluded from dumps),
 * wiped when freed. Nothing else may hold them longer than one call. */
#ifndef E2EE_BASE_SECRET_H
#define E2EE_BASE_SECRET_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct secret {
    uint8_t *data; /* secure heap; NULL when empty */
    size_t len;    /* bytes */
};

#define SECRET_EMPTY ((struct secret){NULL, 0})

/* Sets the secure heap up: 1 MiB, 64-byte minimum (16,384 keys). Call once at start, before any secret.
 * ERR_MEMORY when the memory could not be locked: the message names RLIMIT_MEMLOCK and how to raise it.
 * OpenSSL's own "2" (allocated but not locked) is a failure here: architecture.md, known traps. */
bool secret_heap_init(struct err *err) MUST_CHECK;

/* len zero bytes in *out, which must be empty. ERR_MEMORY when the secure heap is full: never falls back. */
bool secret_new(struct secret *out, size_t len, struct err *err) MUST_CHECK;
bool secret_copy(struct secret *out, const uint8_t *data, size_t len, struct err *err) MUST_CHECK;
/* Wipes, frees and empties. Empty is fine. */
void secret_free(struct secret *s);
/* Cuts to len <= s->len, wiping the rest. */
void secret_truncate(struct secret *s, size_t len);
/* Moves src into *dst (freeing what dst held) and empties src. */
void secret_move(struct secret *dst, struct secret *src);
/* Constant time in the contents; false at once when the lengths differ. */
bool secret_equal(const struct secret *a, const struct secret *b);
/* Number of secrets alive in this process, for leak tests and metrics. */
size_t secret_live_count(void);

/* Wipes ordinary memory that held a secret for the length of one call. */
void secret_wipe(void *p, size_t len);
/* Constant-time comparison of len bytes. */
bool secret_bytes_equal(const void *a, const void *b, size_t len);

#endif
