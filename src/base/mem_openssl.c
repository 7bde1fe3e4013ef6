/* Apart from mem.c: the supervisor has no OpenSSL. */
#include "base/mem.h"

#include <openssl/crypto.h>

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
    /* Its texts of errors are shown nowhere: errors of ours say what failed. */
    OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CRYPTO_STRINGS, NULL);
    return true;
}
