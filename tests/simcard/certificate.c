#include "certificate.h"

#include <string.h>

#include "tlv.h"

#define TAG_AUTHENTICATED 0x67
#define TAG_CERTIFICATE 0x7f21
#define TAG_BODY 0x7f4e
#define TAG_PROFILE 0x5f29
#define TAG_AUTHORITY 0x42
#define TAG_PUBLIC_KEY 0x7f49
#define TAG_HOLDER 0x5f20
#define TAG_SIGNATURE 0x5f37
#define PARTS_MAX 800
#define AUTHORITY "ESSIMCA00001"

static const uint8_t signature[64] = {0x5a};
/* id-TA-ECDSA-SHA-256: 0.4.0.127.0.7.2.2.2.2.3 */
static const uint8_t ecdsa_sha256[] = {0x04, 0x00, 0x7f, 0x00, 0x07, 0x02, 0x02, 0x02, 0x02, 0x03};

/* Body and signature around a public key, into one certificate. */
static bool put_certificate(const char *authority, size_t authority_len, const uint8_t *key, size_t key_len,
                            const void *holder, size_t holder_len, uint8_t *out, size_t cap, size_t *len)
{
    uint8_t body[PARTS_MAX], whole[PARTS_MAX];
    size_t body_len = 0, whole_len = 0;
    const uint8_t profile = 0;
    return tlv_put(body, sizeof body, &body_len, TAG_PROFILE, &profile, 1) &&
           tlv_put(body, sizeof body, &body_len, TAG_AUTHORITY, authority, authority_len) &&
           tlv_put(body, sizeof body, &body_len, TAG_PUBLIC_KEY, key, key_len) &&
           tlv_put(body, sizeof body, &body_len, TAG_HOLDER, holder, holder_len) &&
           tlv_put(whole, sizeof whole, &whole_len, TAG_BODY, body, body_len) &&
           tlv_put(whole, sizeof whole, &whole_len, TAG_SIGNATURE, signature, sizeof signature) &&
           tlv_put(out, cap, len, TAG_CERTIFICATE, whole, whole_len);
}

/* The request's domain parameters with the point (tag 86) where the order of tags wants it. */
static bool put_public_key(const uint8_t *params, size_t params_len, const uint8_t point[CURVE_POINT],
                           uint8_t *out, size_t cap, size_t *len)
{
    static const uint16_t tags[] = {0x06, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87};
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++) {
        const uint8_t *value = point;
        size_t n = CURVE_POINT;
        if (tags[i] != 0x86 && !tlv_find(params, params_len, tags[i], &value, &n)) {
            return false;
        }
        if (!tlv_put(out, cap, len, tags[i], value, n)) {
            return false;
        }
    }
    return true;
}

bool certificate_request(const uint8_t *request, size_t request_len, const uint8_t point[CURVE_POINT],
                         uint8_t *out, size_t cap, size_t *len)
{
    const uint8_t *params, *holder;
    uint8_t key[PARTS_MAX], whole[PARTS_MAX];
    size_t params_len, holder_len, key_len = 0, whole_len = 0;
    *len = 0;
    return tlv_find(request, request_len, TAG_PUBLIC_KEY, &params, &params_len) &&
           tlv_find(request, request_len, TAG_HOLDER, &holder, &holder_len) &&
           put_public_key(params, params_len, point, key, sizeof key, &key_len) &&
           put_certificate(AUTHORITY, strlen(AUTHORITY), key, key_len, holder, holder_len, whole,
                           sizeof whole, &whole_len) &&
           tlv_put(whole, sizeof whole, &whole_len, TAG_AUTHORITY, AUTHORITY, strlen(AUTHORITY)) &&
           tlv_put(whole, sizeof whole, &whole_len, TAG_SIGNATURE, signature, sizeof signature) &&
           tlv_put(out, cap, len, TAG_AUTHENTICATED, whole, whole_len);
}

bool certificate_device(const char *holder, uint8_t *out, size_t cap, size_t *len)
{
    uint8_t key[PARTS_MAX], scalar[CURVE_SCALAR], point[CURVE_POINT];
    size_t key_len = 0;
    *len = 0;
    return curve_generate(scalar, point) &&
           tlv_put(key, sizeof key, &key_len, 0x06, ecdsa_sha256, sizeof ecdsa_sha256) &&
           tlv_put(key, sizeof key, &key_len, 0x86, point, sizeof point) &&
           put_certificate(AUTHORITY, strlen(AUTHORITY), key, key_len, holder, strlen(holder), out, cap, len);
}
