/* Sealed fields for tests: one key, a real point, a nonce that counts. */
#ifndef E2EE_TESTS_WIRE_SEALED_H
#define E2EE_TESTS_WIRE_SEALED_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/hex.h"
#include "base/secret.h"
#include "crypto/aead.h"
#include "wire/answer.h"
#include "wire/field.h"

/* docs/PROTOCOL.md section 8, vector A: a point on the curve. */
#define SEALED_POINT                                                                                         \
    "04466d7fcae563e5cb09a0d1870bb580344804617879a14949cf22285f1bae3f27"                                     \
    "6728176c3c6431f8eeda4538dc37c865e2784f3a9e77d044f33e407797e1278a"

static struct aead *sealed_aead;
static uint8_t sealed_point[POINT_BYTES];
static uint64_t sealed_count;

static inline int sealed_set_up(void **state)
{
    struct secret key;
    if (!secret_heap_init(NULL) || !secret_new(&key, AEAD_KEY_BYTES, NULL)) {
        return -1;
    }
    memset(key.data, 0x41, key.len);
    sealed_aead = aead_new(NULL);
    bool ok = sealed_aead != NULL && aead_set_key(sealed_aead, &key, NULL) &&
              hex_decode(sealed_point, SEALED_POINT, POINT_HEX_CHARS);
    secret_free(&key);
    return ok ? 0 : -1;
}

static inline int sealed_tear_down(void **state)
{
    aead_free(sealed_aead);
    return 0;
}

/* Appends the sealed hex of text. */
static inline void sealed_append(struct buf *out, const char *text, size_t len)
{
    uint8_t nonce[AEAD_NONCE_BYTES] = {0};
    sealed_count++;
    memcpy(nonce, &sealed_count, sizeof sealed_count);
    uint8_t *room = field_room(out, len);
    assert_non_null(room);
    memcpy(room, text, len);
    assert_true(field_seal_room_with_nonce(out, len, len, sealed_aead, sealed_point, nonce, NULL));
}

/* An event's JSON in which each <text> becomes the sealed hex of text. Quotes are the caller's. */
static inline void sealed_json(struct buf *out, const char *pattern)
{
    buf_reset(out);
    for (const char *p = pattern; *p != '\0';) {
        const char *end = *p == '<' ? strchr(p, '>') : NULL;
        if (end != NULL) {
            sealed_append(out, p + 1, (size_t)(end - p) - 1);
            p = end + 1;
        } else {
            assert_true(buf_append_byte(out, (uint8_t)*p++));
        }
    }
}

/* Parses a pattern and opens every field. */
static inline bool sealed_event(struct answer_parser *p, struct answer_event *event, const char *pattern,
                                struct err *err)
{
    struct buf json;
    buf_init(&json, 64 << 20);
    sealed_json(&json, pattern);
    bool ok = answer_parse(p, event, (const char *)json.data, json.len, err);
    buf_free(&json);
    for (size_t i = 0; ok && i < event->field_count; i++) {
        ok = answer_open(event, i, sealed_aead, err);
    }
    return ok;
}

#endif
