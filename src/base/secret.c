#include "base/secret.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/resource.h>

#include <openssl/crypto.h>

#include "base/mem.h"

#define SECURE_HEAP_BYTES (1u << 20)
#define SECURE_HEAP_MINIMUM 64

static atomic_size_t live_secrets;

bool secret_heap_init(struct err *err)
{
    if (CRYPTO_secure_malloc_initialized()) {
        return true;
    }
    int result = CRYPTO_secure_malloc_init(SECURE_HEAP_BYTES, SECURE_HEAP_MINIMUM);
    if (result == 1) {
        return true;
    }
    struct rlimit limit = {0, 0};
    getrlimit(RLIMIT_MEMLOCK, &limit);
    CRYPTO_secure_malloc_done();
    return err_set(
        err, ERR_MEMORY,
        "cannot lock %u bytes for keys (RLIMIT_MEMLOCK is %llu bytes); raise it with `ulimit -l 2048`, "
        "or LimitMEMLOCK=2M in the systemd unit",
        SECURE_HEAP_BYTES, (unsigned long long)limit.rlim_cur);
}

bool secret_new(struct secret *out, size_t len, struct err *err)
{
    *out = SECRET_EMPTY;
    /* Before initialisation OPENSSL_secure_malloc would hand out ordinary memory without a word. */
    if (!CRYPTO_secure_malloc_initialized()) {
        return err_set(err, ERR_MEMORY, "the locked heap for keys is not set up");
    }
    uint8_t *data = OPENSSL_secure_zalloc(len > 0 ? len : 1);
    if (data == NULL || !CRYPTO_secure_allocated(data)) {
        OPENSSL_secure_free(data);
        return err_set(err, ERR_MEMORY, "the locked heap for keys is full (%zu bytes in use)",
                       CRYPTO_secure_used());
    }
    out->data = data;
    out->len = len;
    atomic_fetch_add(&live_secrets, 1);
    return true;
}

bool secret_copy(struct secret *out, const uint8_t *data, size_t len, struct err *err)
{
    if (!secret_new(out, len, err)) {
        return false;
    }
    memcpy(out->data, data, len);
    return true;
}

void secret_free(struct secret *s)
{
    if (s->data != NULL) {
        OPENSSL_secure_clear_free(s->data, s->len);
        atomic_fetch_sub(&live_secrets, 1);
    }
    *s = SECRET_EMPTY;
}

void secret_truncate(struct secret *s, size_t len)
{
    if (len < s->len) {
        mem_wipe(s->data + len, s->len - len);
        s->len = len;
    }
}

void secret_move(struct secret *dst, struct secret *src)
{
    secret_free(dst);
    *dst = *src;
    *src = SECRET_EMPTY;
}

bool secret_equal(const struct secret *a, const struct secret *b)
{
    return a->len == b->len && secret_bytes_equal(a->data, b->data, a->len);
}

size_t secret_live_count(void)
{
    return atomic_load(&live_secrets);
}

void secret_wipe(void *p, size_t len)
{
    mem_wipe(p, len);
}

bool secret_bytes_equal(const void *a, const void *b, size_t len)
{
    return len == 0 || CRYPTO_memcmp(a, b, len) == 0;
}
