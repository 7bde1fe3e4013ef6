#include "wire/field.h"

#include <string.h>

#include "base/hex.h"
#include "base/secret.h"
#include "crypto/hash.h"

/* Offsets within a field's bytes. */
#define NONCE_AT POINT_BYTES
#define SEALED_AT (POINT_BYTES + AEAD_NONCE_BYTES)
#define HEX_STEP 2048

bool field_is_sealed(const char *text, size_t len)
{
    return len >= FIELD_MIN_CHARS && len % 2 == 0 && text[0] == '0' && text[1] == '4' && hex_all(text, len);
}

bool field_decode(struct field *out, uint8_t *bytes, const char *text, size_t len, struct err *err)
{
    *out = (struct field){0};
    bool like_point = len >= POINT_HEX_CHARS && text[0] == '0' && text[1] == '4';
    if (like_point && (len < FIELD_MIN_CHARS || len % 2 != 0) && hex_all(text, len)) {
        return err_set(err, ERR_DECRYPT, "a sealed field of %zu hex digits has an impossible length", len);
    }
    if (!like_point || len < FIELD_MIN_CHARS || !hex_decode(bytes, text, len)) {
        return err_set(err, ERR_PLAINTEXT, "a field of %zu bytes that should be sealed is not", len);
    }
    out->point = bytes;
    out->nonce = bytes + NONCE_AT;
    out->sealed = bytes + SEALED_AT;
    out->sealed_len = len / 2 - SEALED_AT;
    return true;
}

/* A field's bytes are built in the second half of the room that its hex takes, then spread over the whole. */
uint8_t *field_room(struct buf *out, size_t max)
{
    if (max > SIZE_MAX / 4 || !buf_reserve(out, FIELD_CHARS(max))) {
        return NULL;
    }
    return out->data + out->len + FIELD_CHARS(max) / 2 + SEALED_AT;
}

/* Digits overtake bytes only where those were read already: digit 2i+1 lies before byte half+i for all i < half. */
static void spread_hex(char *digits, const uint8_t *bytes, size_t len)
{
    uint8_t step[HEX_STEP];
    for (size_t done = 0; done < len; done += HEX_STEP) {
        size_t n = len - done < HEX_STEP ? len - done : HEX_STEP;
        memcpy(step, bytes + done, n);
        hex_encode(digits + 2 * done, step, n);
    }
}

bool field_seal_room_with_nonce(struct buf *out, size_t max, size_t len, struct aead *key,
                                const uint8_t point[static POINT_BYTES],
                                const uint8_t nonce[static AEAD_NONCE_BYTES], struct err *err)
{
    uint8_t *bytes = out->data + out->len + FIELD_CHARS(max) / 2;
    memcpy(bytes, point, POINT_BYTES);
    memcpy(bytes + NONCE_AT, nonce, AEAD_NONCE_BYTES);
    if (!aead_seal(key, bytes + SEALED_AT, bytes + NONCE_AT, bytes + SEALED_AT, len, err)) {
        secret_wipe(bytes, FIELD_CHARS(max) / 2);
        return false;
    }
    spread_hex((char *)out->data + out->len, bytes, FIELD_EXTRA_BYTES + len);
    out->len += FIELD_CHARS(len);
    return true;
}

bool field_seal_room(struct buf *out, size_t max, size_t len, struct aead *key,
                     const uint8_t point[static POINT_BYTES], struct err *err)
{
    uint8_t nonce[AEAD_NONCE_BYTES];
    if (!hash_random(nonce, sizeof nonce, err)) {
        secret_wipe(out->data + out->len, FIELD_CHARS(max));
        return false;
    }
    return field_seal_room_with_nonce(out, max, len, key, point, nonce, err);
}

bool field_seal(struct buf *out, struct aead *key, const uint8_t point[static POINT_BYTES], const void *plain,
                size_t len, struct err *err)
{
    uint8_t *room = field_room(out, len);
    if (room == NULL) {
        return err_set(err, ERR_TOO_LARGE, "a sealed field of %zu bytes does not fit, or memory ran out",
                       len);
    }
    if (len > 0) {
        memcpy(room, plain, len);
    }
    return field_seal_room(out, len, len, key, point, err);
}
