/* Intel's tcbInfo as a value: levels come out in order, without repetitions, whatever came in. */
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
    static struct tcb_info out;
    struct signed_json s;
    if (!signed_json_parse(&s, (const char *)data, size, "tcbInfo", NULL)) {
        return 0;
    }
    if (tcb_info_read(&out, &s, NULL)) {
        struct sgx_extension best;
        uint8_t svn[SGX_COMPONENTS];
        memset(&best, 0xff, sizeof best);
        memset(svn, 0xff, sizeof svn);
        best.pcesvn = UINT16_MAX;
        if (out.level_count == 0 || tcb_info_level(&out, &best, svn) != &out.level[0]) {
            abort();
        }
        for (size_t i = 0; i < out.module_count; i++) {
            descending(&out.module[i].levels);
            if (tcb_info_module(&out, out.module[i].version) != &out.module[i]) {
                abort();
            }
        }
    }
    signed_json_free(&s);
    return 0;
}
