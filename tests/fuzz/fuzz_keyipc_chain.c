/* Any bytes as a custody log: no crash, and a line that passes is one that its own fields make again. */
#include <stdlib.h>
#include <string.h>

#include "keyipc/chain.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct chain_check check = {0};
    const char *text = (const char *)data;
    while (size > 0) {
        const char *lf = memchr(text, '\n', size);
        size_t n = lf != NULL ? (size_t)(lf - text) : size, used = lf != NULL ? n + 1 : n;
        struct chain_line line;
        struct err err = {0};
        bool ok = chain_check_line(&check, &line, text, n, &err);
        if (ok && (line.seq == 0 || line.event[0] == '\0' || check.last.seq != line.seq)) {
            abort();
        }
        text += used;
        size -= used;
    }
    return 0;
}
