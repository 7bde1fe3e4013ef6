#include "json/internal.h"

#include <string.h>

#include "base/bytes16.h"

size_t json_skip_plain(const char *text, size_t pos, size_t len)
{
    for (; len - pos >= 16; pos += 16) {
        bytes16 c = bytes16_load(text + pos);
        /* As signed numbers what is not ASCII is below the first printable one too. */
        bytes16 marks = (bytes16)(c == '"') | (bytes16)(c == '\\') | (bytes16)((signed16)c < ' ');
        if (bytes16_any(marks)) {
            return pos + bytes16_first(marks);
        }
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
        if (len - pos >= 16 && !bytes16_any((bytes16)((signed16)bytes16_load(text + pos) < 0))) {
            pos += 16;
            continue;
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
