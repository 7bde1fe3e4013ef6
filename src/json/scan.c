#include "json/internal.h"

#include <string.h>

#define EACH(byte) (UINT64_C(0x0101010101010101) * (byte))
#define HAS_ZERO(w) (((w)-EACH(1)) & ~(w)&EACH(0x80))

/* Bytes before the first whose high bit is set in marks, in the text's order. */
static uint32_t first_marked(uint64_t marks)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    return (uint32_t)__builtin_ctzll(marks) / 8;
#else
    (void)marks;
    return 0; /* the caller goes on byte by byte */
#endif
}

size_t json_skip_plain(const char *text, size_t pos, size_t len)
{
    while (len - pos >= 8) {
        uint64_t w;
        memcpy(&w, text + pos, 8);
        uint64_t quote = w ^ EACH('"'), backslash = w ^ EACH('\\');
        uint64_t control = (w - EACH(0x20)) & ~w & EACH(0x80);
        /* The lowest mark is right; borrows can only set wrong ones above it. */
        uint64_t marks = HAS_ZERO(quote) | HAS_ZERO(backslash) | control | (w & EACH(0x80));
        if (marks != 0) {
            return pos + first_marked(marks);
        }
        pos += 8;
    }
    return pos;
}

uint32_t json_utf8_sequence(const uint8_t *s, size_t left)
{
    uint8_t lead = s[0], low = 0x80, high = 0xbf;
    uint32_t n;
    if (lead >= 0xc2 && lead <= 0xdf) {
        n = 2;
    } else if (lead >= 0xe0 && lead <= 0xef) {
        n = 3;
        low = lead == 0xe0 ? 0xa0 : 0x80;
        high = lead == 0xed ? 0x9f : 0xbf;
    } else if (lead >= 0xf0 && lead <= 0xf4) {
        n = 4;
        low = lead == 0xf0 ? 0x90 : 0x80;
        high = lead == 0xf4 ? 0x8f : 0xbf;
    } else {
        return 0;
    }
    if (left < n || s[1] < low || s[1] > high) {
        return 0;
    }
    for (uint32_t i = 2; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return n;
}

bool json_utf8_valid(const char *text, size_t len)
{
    size_t pos = 0;
    while (pos < len) {
        uint64_t w = 0;
        if (len - pos >= sizeof w) {
            memcpy(&w, text + pos, sizeof w);
            if ((w & EACH(0x80)) == 0) {
                pos += sizeof w;
                continue;
            }
        }
        if ((uint8_t)text[pos] < 0x80) {
            pos++;
            continue;
        }
        uint32_t n = json_utf8_sequence((const uint8_t *)text + pos, len - pos);
        if (n == 0) {
            return false;
        }
        pos += n;
    }
    return true;
}
