/* The SGX extension of a PCK certificate. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "attest/sgx.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sgx_extension e, empty;
    memset(&empty, 0, sizeof empty);
    if (sgx_parse(&e, data, size, NULL)) {
        if (memcmp(e.cpusvn, e.component, sizeof e.cpusvn) != 0 || e.pcesvn > UINT16_MAX) {
            abort();
        }
    } else if (memcmp(&e, &empty, sizeof e) != 0) {
        abort();
    }
    return 0;
}
