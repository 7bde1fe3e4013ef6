#include "app/print_verdict.h"

#include <stdio.h>

#include "app/command.h"

#define PRINTED_BYTES_MAX 1048576

int print_verdict(const struct attest_verdict *verdict, bool json)
{
    struct buf out;
    struct err err = {0};
    buf_init(&out, PRINTED_BYTES_MAX);
    bool ok = json ? verdict_to_json(verdict, &out, &err) : verdict_to_text(verdict, &out, &err);
    if (ok) {
        fwrite(out.data, 1, out.len, stdout);
        if (json) {
            putchar('\n');
        }
    }
    buf_free(&out);
    return !ok ? command_failed(&err) : verdict->verified ? 0 : 1;
}
