/* Linked into a keyholder of the tests (--wrap), as tests/unit/fault.h is into unit tests: the E2EE_TEST_ALLOC_AT-th allocation of the
 * process, ordinary or locked, on whatever thread, fails once and is noted in E2EE_TEST_ALLOC_LOG. */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/secret.h"

void *__real_mem_alloc(size_t size);
void *__real_mem_calloc(size_t count, size_t size);
bool __real_secret_new(struct secret *out, size_t len, struct err *err);
void *__wrap_mem_alloc(size_t size);
void *__wrap_mem_calloc(size_t count, size_t size);
bool __wrap_secret_new(struct secret *out, size_t len, struct err *err);

static atomic_ulong done;
static unsigned long at;
static int note = -1;

/* Before main, which cleans the environment. */
__attribute__((constructor)) static void begin(void)
{
    const char *number = getenv("E2EE_TEST_ALLOC_AT"), *path = getenv("E2EE_TEST_ALLOC_LOG");
    at = number != NULL ? strtoul(number, NULL, 10) : 0;
    note = path != NULL ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
}

static bool due(void)
{
    if (at == 0 || atomic_fetch_add(&done, 1) + 1 != at) {
        return false;
    }
    return write(note, "failed\n", 7) == 7;
}

void *__wrap_mem_alloc(size_t size)
{
    return due() ? NULL : __real_mem_alloc(size);
}

void *__wrap_mem_calloc(size_t count, size_t size)
{
    return due() ? NULL : __real_mem_calloc(count, size);
}

bool __wrap_secret_new(struct secret *out, size_t len, struct err *err)
{
    if (due()) {
        *out = SECRET_EMPTY;
        return err_set(err, ERR_MEMORY, "the locked heap is full (a test)");
    }
    return __real_secret_new(out, len, err);
}
