#include "supervisor/kept_key.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "base/limits.h"
#include "base/mem.h"

#define PAGE_BYTES LIMIT_API_KEY_BYTES

static bool make_page(struct kept_key *key, struct err *err)
{
    void *page = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) {
        return err_errno(err, ERR_MEMORY, errno, "no memory for the API key");
    }
    if (mlock(page, PAGE_BYTES) != 0) {
        err_errno(err, ERR_MEMORY, errno,
                  "cannot lock %d bytes of memory for the API key: raise RLIMIT_MEMLOCK (ulimit -l, "
                  "LimitMEMLOCK= in a unit)",
                  PAGE_BYTES);
        munmap(page, PAGE_BYTES);
        return false;
    }
#ifdef MADV_DONTDUMP
    madvise(page, PAGE_BYTES, MADV_DONTDUMP);
#endif
    key->page = page;
    return true;
}

bool kept_key_take(struct kept_key *key, struct err *err)
{
    char *value = getenv("VENICE_API_KEY");
    size_t len = value != NULL ? strlen(value) : 0;
    bool ok = true;
    *key = (struct kept_key){NULL, 0};
    if (len > LIMIT_API_KEY_BYTES) {
        ok = err_set(err, ERR_CONFIG, "VENICE_API_KEY is longer than %d bytes", LIMIT_API_KEY_BYTES);
    } else if (len > 0 && (ok = make_page(key, err))) {
        memcpy(key->page, value, len);
        key->len = len;
    }
    if (len > 0) {
        mem_wipe(value, len);
        unsetenv("VENICE_API_KEY");
    }
    return ok;
}

bool kept_key_send(const struct kept_key *key, int fd, struct err *err)
{
    uint8_t length[2] = {(uint8_t)(key->len >> 8), (uint8_t)key->len};
    if (send(fd, length, sizeof length, MSG_NOSIGNAL) != (ssize_t)sizeof length ||
        (key->len > 0 && send(fd, key->page, key->len, MSG_NOSIGNAL) != (ssize_t)key->len)) {
        return err_errno(err, ERR_IO, errno, "cannot hand the API key to the proxy");
    }
    return true;
}

void kept_key_drop(struct kept_key *key)
{
    if (key->page != NULL) {
        mem_wipe(key->page, PAGE_BYTES);
        munmap(key->page, PAGE_BYTES);
    }
    *key = (struct kept_key){NULL, 0};
}
