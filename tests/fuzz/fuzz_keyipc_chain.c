/* Any bytes as a custody log: no crash, and a line that passes is one that its own fields make again, checkpoints too. */
#include <stdlib.h>
#include <string.h>

#include "keyipc/checkpoint.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* With the members of a line, or with what follows "=" in the input: a fuzzer does not find hashes. */
static void try_checkpoint(const char *members, size_t len)
{
    char again[CHECKPOINT_MEMBERS_BYTES], text[CHECKPOINT_TEXT_BYTES];
    struct checkpoint c;
    struct err err = {0};
    if (!checkpoint_parse(&c, members, len, &err)) {
        if (c.line != 0 || c.signature_len != 0 || err.kind != ERR_INVALID) {
            abort();
        }
        return;
    }
    checkpoint_members(again, &c);
    if (strlen(again) != len || memcmp(again, members, len) != 0 ||
        checkpoint_text(text, &c) >= sizeof text || c.from > c.line || c.signature_len > sizeof c.signature) {
        abort();
    }
}

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
        if (ok && (line.seq == 0 || line.event[0] == '\0' || check.last.seq != line.seq ||
                   line.members + line.members_len > n)) {
            abort();
        }
        if (ok) {
            try_checkpoint(text + line.members, line.members_len);
        } else if (n > 0 && text[0] == '=') {
            try_checkpoint(text + 1, n - 1);
        }
        text += used;
        size -= used;
    }
    return 0;
}
