/* Apart from text.c, which needs OpenSSL for what is secret: the supervisor has none. */
#include "base/text.h"

#include <string.h>

bool text_u64(uint64_t *out, const char *text, uint64_t min, uint64_t max)
{
    uint64_t value = 0;
    if (*text == '\0') {
        return false;
    }
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9') {
            return false;
        }
        uint64_t digit = (uint64_t)(*text - '0');
        if (value > (UINT64_MAX - digit) / 10) {
            return false;
        }
        value = value * 10 + digit;
    }
    if (value < min || value > max) {
        return false;
    }
    *out = value;
    return true;
}

bool text_bool(bool *out, const char *text)
{
    static const char *const words[2][4] = {{"off", "no", "false", "0"}, {"on", "yes", "true", "1"}};
    for (int value = 0; value < 2; value++) {
        for (int i = 0; i < 4; i++) {
            if (strcmp(text, words[value][i]) == 0) {
                *out = value != 0;
                return true;
            }
        }
    }
    return false;
}
