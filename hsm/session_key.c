#include "hsm/session_key.h"

#include <string.h>

#include "crypto/hash.h"

#define SALT_BYTES 32
#define ATTEMPTS 4 /* each is out of range once in 2^128 */

static const char info[] = "e2ee-hsm-proxy/response/v1";

static bool attempt(struct secret *scalar, uint8_t point[static POINT_BYTES], const struct secret *z,
                    struct err *err)
{
    struct secret salt = SECRET_EMPTY;
    bool ok = secret_new(&salt, SALT_BYTES, err) && hash_random(salt.data, salt.len, err) &&
              hash_hkdf_sha256(scalar, SCALAR_BYTES, z, salt.data, salt.len, info, sizeof info - 1, err) &&
              point_from_scalar(point, scalar, err);
    secret_free(&salt);
    if (!ok) {
        secret_free(scalar);
        memset(point, 0, POINT_BYTES);
    }
    return ok;
}

bool session_key_make(struct secret *scalar, uint8_t point[static POINT_BYTES], const struct secret *z,
                      struct err *err)
{
    *scalar = SECRET_EMPTY;
    for (int i = 1; i < ATTEMPTS; i++) {
        if (attempt(scalar, point, z, NULL)) {
            return true;
        }
    }
    return attempt(scalar, point, z, err); /* the last one says why */
}

bool session_key_derive(struct secret *key, const struct secret *scalar,
                        const uint8_t server_point[static POINT_BYTES], struct err *err)
{
    struct secret z = SECRET_EMPTY;
    *key = SECRET_EMPTY;
    bool ok = point_ecdh(&z, scalar, server_point, err) && hash_protocol_key(key, &z, err);
    secret_free(&z);
    return ok;
}
