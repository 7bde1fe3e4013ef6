#include "base/mem.h"

#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if !defined(E2EE_HAVE_EXPLICIT_BZERO)
#include <openssl/crypto.h>
#endif

void *mem_alloc(size_t size)
{
    return malloc(size > 0 ? size : 1);
}

void *mem_calloc(size_t count, size_t size)
{
    return calloc(count > 0 ? count : 1, size > 0 ? size : 1);
}

char *mem_strdup(const char *text)
{
    return mem_strndup(text, strlen(text));
}

char *mem_strndup(const char *text, size_t len)
{
    char *copy = mem_alloc(len + 1);
    if (copy != NULL) {
        memcpy(copy, text, len);
        copy[len] = '\0';
    }
    return copy;
}

/* OPENSSL_cleanse goes eight bytes at a time, and OpenSSL frees a read buffer of 16 kB for each TLS record. */
void mem_wipe(void *p, size_t len)
{
#if defined(E2EE_HAVE_EXPLICIT_BZERO)
    explicit_bzero(p, len);
#else
    OPENSSL_cleanse(p, len);
#endif
}

void mem_free(void *p)
{
    free(p);
}

void mem_free_wipe(void *p)
{
    mem_wiping_free(p);
}

void *mem_wiping_malloc(size_t size)
{
    return malloc(size);
}

void mem_wiping_free(void *p)
{
    if (p != NULL) {
        size_t usable = malloc_usable_size(p);
        void *whole = p;
        __asm__(
            ""
            : "+r"(
                whole)); /* else _FORTIFY_SOURCE takes what was asked for as the block's size, where it can see it */
        mem_wipe(whole, usable);
        free(p);
    }
}

void *mem_wiping_realloc(void *p, size_t size)
{
    if (p == NULL) {
        return malloc(size);
    }
    size_t old = malloc_usable_size(p);
    if (size > 0 && size <= old && size >= old / 2) {
        return p;
    }
    void *grown = malloc(size > 0 ? size : 1);
    if (grown == NULL) {
        return NULL;
    }
    memcpy(grown, p, old < size ? old : size);
    mem_wiping_free(p);
    return grown;
}
