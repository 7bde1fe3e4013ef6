/* VENICE_API_KEY between the starts of the proxy: in a page of its own that is locked into memory and in no core dump. The
 * supervisor has no OpenSSL, whose secure heap base/secret.h uses. */
#ifndef E2EE_SUPERVISOR_KEPT_KEY_H
#define E2EE_SUPERVISOR_KEPT_KEY_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct kept_key {
    uint8_t *page; /* NULL: no key */
    size_t len;
};

/* Takes it from the environment, where it is overwritten (that is what /proc/PID/environ shows) and removed; also after a
 * failure. Empty when there is none. ERR_CONFIG, ERR_MEMORY. */
bool kept_key_take(struct kept_key *key, struct err *err) MUST_CHECK;
/* As supervisor.h says. Blocking; ERR_IO. */
bool kept_key_send(const struct kept_key *key, int fd, struct err *err) MUST_CHECK;
void kept_key_drop(struct kept_key *key);

#endif
