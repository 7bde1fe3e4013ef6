#include "tlv.h"

#include <string.h>

static bool put(uint8_t *out, size_t cap, size_t *len, const void *bytes, size_t n)
{
    if (n > cap - *len) {
        return false;
    }
    if (n > 0) {
        memcpy(out + *len, bytes, n);
    }
    *len += n;
    return true;
}

bool tlv_put(uint8_t *out, size_t cap, size_t *len, uint16_t tag, const void *value, size_t value_len)
{
    uint8_t head[6];
    size_t n = 0;
    if (value_len > 0xffff) {
        return false;
    }
    if (tag > 0xff) {
        head[n++] = (uint8_t)(tag >> 8);
    }
    head[n++] = (uint8_t)tag;
    if (value_len > 0xff) {
        head[n++] = 0x82;
        head[n++] = (uint8_t)(value_len >> 8);
    } else if (value_len > 0x7f) {
        head[n++] = 0x81;
    }
    head[n++] = (uint8_t)value_len;
    return put(out, cap, len, head, n) && put(out, cap, len, value, value_len);
}

bool tlv_find(const uint8_t *data, size_t len, uint16_t tag, const uint8_t **value, size_t *value_len)
{
    for (size_t at = 0; at + 2 <= len;) {
        uint16_t found = data[at++];
        if ((found & 0x1f) == 0x1f) {
            found = (uint16_t)(found << 8 | data[at++]);
        }
        if (at >= len) {
            return false;
        }
        size_t n = data[at++];
        size_t more = n > 0x80 ? n & 0x7f : 0;
        if (n == 0x80 || more > 2 || more > len - at) {
            return false;
        }
        for (size_t i = 0; i < more; i++) {
            n = (i == 0 ? 0 : n << 8) | data[at++];
        }
        if (n > len - at) {
            return false;
        }
        if (found == tag) {
            *value = data + at;
            *value_len = n;
            return true;
        }
        at += n;
    }
    return false;
}
