/* The provider's API key on its way into locked memory. */
#ifndef E2EE_APP_API_KEY_H
#define E2EE_APP_API_KEY_H

#include "app/config.h"
#include "base/secret.h"

/* --api-key-file, else VENICE_API_KEY, which is overwritten where it lies (that is what /proc/PID/environ shows) and
 * removed. *key is empty when there is neither. ERR_CONFIG, ERR_IO, ERR_MEMORY. */
bool api_key_read(struct secret *key, const struct config *config, struct err *err) MUST_CHECK;
/* The key that the supervisor took from its environment: 2-byte big-endian length, bytes. Blocking. */
bool api_key_receive(struct secret *key, int fd, struct err *err) MUST_CHECK;

#endif
