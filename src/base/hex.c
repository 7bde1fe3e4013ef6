#include "base/hex.h"

#include <string.h>

/* 0x10 | value for a hex digit, 0 for anything else. */
static const uint8_t digit_value[256] = {
    ['0'] = 0x10, ['1'] = 0x11, ['2'] = 0x12, ['3'] = 0x13, ['4'] = 0x14, ['5'] = 0x15,
    ['6'] = 0x16, ['7'] = 0x17, ['8'] = 0x18, ['9'] = 0x19, ['a'] = 0x1a, ['b'] = 0x1b,
    ['c'] = 0x1c, ['d'] = 0x1d, ['e'] = 0x1e, ['f'] = 0x1f, ['A'] = 0x1a, ['B'] = 0x1b,
    ['C'] = 0x1c, ['D'] = 0x1d, ['E'] = 0x1e, ['F'] = 0x1f,
};

void hex_encode(char *out, const uint8_t *data, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < len; i++) {
        out[2 * i] = digits[data[i] >> 4];
        out[2 * i + 1] = digits[data[i] & 15];
    }
}

char *hex_str(char *out, const uint8_t *data, size_t len)
{
    hex_encode(out, data, len);
    out[2 * len] = '\0';
    return out;
}

bool hex_decode(uint8_t *out, const char *text, size_t digits)
{
    uint8_t good = 0x10;
    if (digits % 2 != 0) {
        return false;
    }
    for (size_t i = 0; i < digits / 2; i++) {
        uint8_t high = digit_value[(uint8_t)text[2 * i]];
        uint8_t low = digit_value[(uint8_t)text[2 * i + 1]];
        good &= high & low & 0x10;
        out[i] = (uint8_t)((high & 15) << 4 | (low & 15));
    }
    return good == 0x10;
}

bool hex_all(const char *text, size_t len)
{
    uint8_t good = 0x10;
    for (size_t i = 0; i < len; i++) {
        good &= digit_value[(uint8_t)text[i]] & 0x10;
    }
    return good == 0x10;
}

static int base64_value(char c, bool url)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    if (c == (url ? '-' : '+')) {
        return 62;
    }
    return c == (url ? '_' : '/') ? 63 : -1;
}

bool base64_decode(uint8_t *out, size_t out_cap, size_t *out_len, const char *text, size_t len, bool url)
{
    *out_len = 0;
    size_t body = len;
    if (len % 4 == 0 && len > 0 && text[len - 1] == '=') {
        body -= text[len - 2] == '=' ? 2 : 1;
    }
    if (body % 4 == 1 || out_cap < body / 4 * 3 + (body % 4 > 0 ? body % 4 - 1 : 0)) {
        return false;
    }
    uint32_t bits = 0;
    unsigned held = 0;
    size_t n = 0;
    for (size_t i = 0; i < body; i++) {
        int value = base64_value(text[i], url);
        if (value < 0) {
            return false;
        }
        bits = bits << 6 | (uint32_t)value;
        held += 6;
        if (held >= 8) {
            held -= 8;
            out[n++] = (uint8_t)(bits >> held);
            bits &= (1u << held) - 1;
        }
    }
    if (bits != 0) {
        return false;
    }
    *out_len = n;
    return true;
}

void base64_encode(char *out, const uint8_t *data, size_t len)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t o = 0;
    for (size_t i = 0; i < len; i += 3) {
        uint32_t v = (uint32_t)data[i] << 16 | (i + 1 < len ? (uint32_t)data[i + 1] << 8 : 0) |
                     (i + 2 < len ? data[i + 2] : 0);
        out[o++] = alphabet[v >> 18];
        out[o++] = alphabet[v >> 12 & 63];
        out[o++] = i + 1 < len ? alphabet[v >> 6 & 63] : '=';
        out[o++] = i + 2 < len ? alphabet[v & 63] : '=';
    }
    out[o] = '\0';
}
