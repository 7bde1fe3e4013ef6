#include "base/hex.h"

#include <string.h>

#include "base/bytes16.h"

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

typedef uint16_t pairs8 __attribute__((vector_size(16)));
typedef uint8_t bytes8 __attribute__((vector_size(8)));

/* The values of sixteen digits; *bad gets bits where one is none. */
static bytes16 values16(const char *text, bytes16 *bad)
{
    bytes16 c = bytes16_load(text);
    bytes16 digit = c - '0', letter = (c | 0x20) - 'a';
    bytes16 is_digit = (bytes16)(digit <= 9), is_letter = (bytes16)(letter <= 5);
    *bad |= ~(is_digit | is_letter);
    return (digit & is_digit) | ((letter + 10) & is_letter);
}

/* As many digits as come in sixteens; returns their number. out may begin where text does. */
static size_t decode_vectors(uint8_t *out, const char *text, size_t digits, bool *good)
{
    size_t i = 0;
    *good = true;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    bytes16 bad = {0};
    for (; digits - i >= 16; i += 16) {
        pairs8 pairs = (pairs8)values16(text + i, &bad); /* the first of two digits is the low byte */
        bytes8 bytes = __builtin_convertvector((pairs << 4 | pairs >> 8) & 0xff, bytes8);
        memcpy(out + i / 2, &bytes, sizeof bytes);
    }
    *good = !bytes16_any(bad);
#else
    (void)values16;
#endif
    return i;
}

bool hex_decode(uint8_t *out, const char *text, size_t digits)
{
    uint8_t good = 0x10;
    bool all;
    if (digits % 2 != 0) {
        return false;
    }
    for (size_t i = decode_vectors(out, text, digits, &all); i < digits; i += 2) {
        uint8_t high = digit_value[(uint8_t)text[i]];
        uint8_t low = digit_value[(uint8_t)text[i + 1]];
        good &= high & low & 0x10;
        out[i / 2] = (uint8_t)((high & 15) << 4 | (low & 15));
    }
    return good == 0x10 && all;
}

bool hex_all(const char *text, size_t len)
{
    uint8_t good = 0x10;
    for (size_t i = 0; i < len; i++) {
        good &= digit_value[(uint8_t)text[i]] & 0x10;
    }
    return good == 0x10;
}

/* One more than the digit's value; 0 for what is none in both alphabets. A table, because no branch predictor guesses digits. */
static const uint8_t base64_digit[256] = {
    ['A'] = 1,  ['B'] = 2,  ['C'] = 3,  ['D'] = 4,  ['E'] = 5,  ['F'] = 6,  ['G'] = 7,  ['H'] = 8,
    ['I'] = 9,  ['J'] = 10, ['K'] = 11, ['L'] = 12, ['M'] = 13, ['N'] = 14, ['O'] = 15, ['P'] = 16,
    ['Q'] = 17, ['R'] = 18, ['S'] = 19, ['T'] = 20, ['U'] = 21, ['V'] = 22, ['W'] = 23, ['X'] = 24,
    ['Y'] = 25, ['Z'] = 26, ['a'] = 27, ['b'] = 28, ['c'] = 29, ['d'] = 30, ['e'] = 31, ['f'] = 32,
    ['g'] = 33, ['h'] = 34, ['i'] = 35, ['j'] = 36, ['k'] = 37, ['l'] = 38, ['m'] = 39, ['n'] = 40,
    ['o'] = 41, ['p'] = 42, ['q'] = 43, ['r'] = 44, ['s'] = 45, ['t'] = 46, ['u'] = 47, ['v'] = 48,
    ['w'] = 49, ['x'] = 50, ['y'] = 51, ['z'] = 52, ['0'] = 53, ['1'] = 54, ['2'] = 55, ['3'] = 56,
    ['4'] = 57, ['5'] = 58, ['6'] = 59, ['7'] = 60, ['8'] = 61, ['9'] = 62};

static int base64_value(char c, bool url)
{
    int value = base64_digit[(uint8_t)c] - 1;
    if (value < 0) {
        value = c == (url ? '-' : '+') ? 62 : c == (url ? '_' : '/') ? 63 : -1;
    }
    return value;
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
