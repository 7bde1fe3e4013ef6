/* Ordinary heap. The only place that calls malloc and free, so that tests can make each allocation fail
 * (tests/unit/fault.h, by the linker's --wrap) and lint can forbid the rest. */
#ifndef E2EE_BASE_MEM_H
#define E2EE_BASE_MEM_H

#include <stddef.h>

#include "base/attr.h"
#include "base/err.h"

/* Uninitialised bytes, or NULL. size 0 gives a valid pointer. Free with mem_free. */
void *mem_alloc(size_t size) MUST_CHECK;
/* count * size zero bytes, or NULL, also when the product overflows. */
void *mem_calloc(size_t count, size_t size) MUST_CHECK;
/* Copy of a terminated string, or NULL. */
char *mem_strdup(const char *text) MUST_CHECK;
char *mem_strndup(const char *text, size_t len) MUST_CHECK;
void mem_free(void *p);
/* Overwrites len bytes, and the compiler may not leave it out. */
void mem_wipe(void *p, size_t len);
/* Wipes the whole usable block, then frees it. For plaintext. NULL is fine. */
void mem_free_wipe(void *p);

/* malloc family for event_set_mem_functions and CRYPTO_set_mem_functions whose free and realloc wipe:
 * plaintext and key schedules also live in evbuffers and library contexts on the ordinary heap. */
void *mem_wiping_malloc(size_t size);
void *mem_wiping_realloc(void *p, size_t size);
void mem_wiping_free(void *p);

/* Makes libcrypto allocate through the wiping functions. Call first thing in main, before any OpenSSL call;
 * fails with ERR_INTERNAL when OpenSSL has allocated already. */
bool mem_install_openssl(struct err *err) MUST_CHECK;

#endif
