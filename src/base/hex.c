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

#define EACH(byte) (UINT64_C(0x0101010101010101) * (byte))

/* Eight digits at once, as bytes of a word: every chunk of an answer comes through here. A letter has bit 6 set; its
 * value is the low nibble and 9. *bad becomes other than 0 when one is no digit. The word is in the text's order. */
static uint32_t decode_word(uint64_t w, uint64_t *bad)
{
    uint64_t letter = (w >> 6) & EACH(1), high = (w >> 4) & EACH(0xf);
    uint64_t value = (w & EACH(0xf)) + 9 * letter;
    *bad |= (high & ~(letter << 1)) ^ (EACH(3) + letter);  /* 3 for digits, 4 or 6 for letters */
    *bad |= value & EACH(0x10);                            /* past f */
    *bad |= (((value + EACH(6)) >> 4) ^ letter) & EACH(1); /* a letter below a, a digit past 9 */
    uint64_t pairs = (value << 4 | value >> 8) & UINT64_C(0x00ff00ff00ff00ff);
    pairs = (pairs | pairs >> 8) & UINT64_C(0x0000ffff0000ffff);
    return (uint32_t)(pairs | pairs >> 16);
}

/* As many digits as come in words; returns their number. out may begin where text does. */
static size_t decode_words(uint8_t *out, const char *text, size_t digits, uint64_t *bad)
{
    size_t i = 0;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    for (; digits - i >= 8; i += 8) {
        uint64_t w;
        memcpy(&w, text + i, sizeof w);
        uint32_t bytes = decode_word(w, bad);
        memcpy(out + i / 2, &bytes, sizeof bytes);
    }
#else
    (void)decode_word;
#endif
    return i;
}

bool hex_decode(uint8_t *out, const char *text, size_t digits)
{
    uint8_t good = 0x10;
    uint64_t bad = 0;
    if (digits % 2 != 0) {
        return false;
    }
    for (size_t i = decode_words(out, text, digits, &bad); i < digits; i += 2) {
        uint8_t high = digit_value[(uint8_t)text[i]];
        uint8_t low = digit_value[(uint8_t)text[i + 1]];
        good &= high & low & 0x10;
        out[i / 2] = (uint8_t)((high & 15) << 4 | (low & 15));
    }
    return good == 0x10 && bad == 0;
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
