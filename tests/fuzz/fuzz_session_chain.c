/* Issuer chains as a mirror sends them in a header: never a crash, and nothing decoded that holds a NUL. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "session/collateral_fetch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf out;
    char *text = mem_strndup((const char *)data, size);
    if (text == NULL) {
        return 0;
    }
    buf_init(&out, 32768);
    if (collateral_chain_decode(&out, text, NULL) ? out.len > 0 && memchr(out.data, 0, out.len) != NULL
                                                  : out.len != 0) {
        abort();
    }
    buf_free(&out);
    mem_free(text);
    return 0;
}
