#include "app/api_key.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/text.h"

bool api_key_read(struct secret *key, const struct config *config, struct err *err)
{
    *key = SECRET_EMPTY;
    char *value = getenv("VENICE_API_KEY");
    size_t len = value != NULL ? strlen(value) : 0;
    bool ok = true;
    if (config->api_key_file != NULL) {
        ok = text_read_secret(key, config->api_key_file, LIMIT_API_KEY_BYTES, err) ||
             err_context(err, "--api-key-file");
    } else if (len > LIMIT_API_KEY_BYTES) {
        ok = err_set(err, ERR_CONFIG, "VENICE_API_KEY is longer than %d bytes", LIMIT_API_KEY_BYTES);
    } else if (len > 0) {
        ok = secret_copy(key, (const uint8_t *)value, len, err);
    }
    if (len > 0) {
        secret_wipe(value, len);
        unsetenv("VENICE_API_KEY");
    }
    return ok;
}

static bool read_all(int fd, uint8_t *data, size_t len)
{
    while (len > 0) {
        ssize_t n = read(fd, data, len);
        if (n == 0 || (n < 0 && errno != EINTR)) {
            return false;
        }
        if (n > 0) {
            data += n;
            len -= (size_t)n;
        }
    }
    return true;
}

bool api_key_receive(struct secret *key, int fd, struct err *err)
{
    uint8_t length[2];
    *key = SECRET_EMPTY;
    if (!read_all(fd, length, sizeof length)) {
        return err_set(err, ERR_IO, "the supervisor is gone");
    }
    size_t len = (size_t)length[0] << 8 | length[1];
    if (len == 0) {
        return true;
    }
    if (len > LIMIT_API_KEY_BYTES) {
        return err_set(err, ERR_PROTOCOL, "the supervisor sent an API key of %zu bytes", len);
    }
    if (!secret_new(key, len, err)) {
        return false;
    }
    if (!read_all(fd, key->data, len)) {
        secret_free(key);
        return err_set(err, ERR_IO, "the supervisor is gone");
    }
    return true;
}
