#include "base/mem.h"

#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

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
        OPENSSL_cleanse(p, malloc_usable_size(p));
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

static void *crypto_malloc(size_t size, const char *file, int line)
{
    return mem_wiping_malloc(size);
}

static void *crypto_realloc(void *p, size_t size, const char *file, int line)
{
    return mem_wiping_realloc(p, size);
}

static void crypto_free(void *p, const char *file, int line)
{
    mem_wiping_free(p);
}

bool mem_install_openssl(struct err *err)
{
    if (CRYPTO_set_mem_functions(crypto_malloc, crypto_realloc, crypto_free) != 1) {
        return err_set(err, ERR_INTERNAL, "OpenSSL allocated memory before its allocator was set");
    }
    return true;
}
