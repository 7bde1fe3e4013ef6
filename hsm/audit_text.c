/* What events are made of. */
#include <stdio.h>
#include <string.h>

#include "base/hex.h"
#include "hsm/audit.h"

const char *audit_quote(struct audit_text *out, const char *text)
{
    size_t n = 0;
    out->text[n++] = '"';
    for (; *text != '\0' && n < sizeof out->text - 3; text++) {
        char c = *text >= 0x20 && *text < 0x7f ? *text : '?';
        if (c == '"' || c == '\\') {
            out->text[n++] = '\\';
        }
        out->text[n++] = c;
    }
    out->text[n++] = '"';
    out->text[n] = '\0';
    return out->text;
}

const char *audit_point(struct audit_text *out, const uint8_t point[static POINT_BYTES])
{
    uint8_t hash[SHA256_BYTES];
    if (point[0] != 4 || !hash_sha256(hash, point, POINT_BYTES)) {
        return "null";
    }
    out->text[0] = '"';
    for (size_t i = 0; i < sizeof hash; i++) {
        snprintf(out->text + 1 + 2 * i, 3, "%02x", hash[i]);
    }
    memcpy(out->text + 1 + 2 * sizeof hash, "\"", 2);
    return out->text;
}

const char *audit_flag(int flag)
{
    return flag < 0 ? "null" : flag != 0 ? "true" : "false";
}
