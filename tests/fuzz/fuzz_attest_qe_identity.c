/* Intel's enclaveIdentity as a value: levels come out in order, without repetitions, whatever came in. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "attest/tcb_info.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void descending(const struct tcb_svn_levels *levels)
{
    for (size_t i = 1; i < levels->count; i++) {
        if (levels->level[i - 1].isvsvn <= levels->level[i].isvsvn) {
            abort();
        }
    }
    if (levels->count > TCB_MODULE_LEVELS_MAX || tcb_svn_find(levels, UINT16_MAX) != &levels->level[0]) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct qe_identity out;
    struct signed_json s;
    if (!signed_json_parse(&s, (const char *)data, size, "enclaveIdentity", NULL)) {
        return 0;
    }
    if (qe_identity_read(&out, &s, NULL)) {
        descending(&out.levels);
        if (out.issued > out.next_update || out.isvprodid > UINT16_MAX) {
            abort();
        }
    }
    signed_json_free(&s);
    return 0;
}
