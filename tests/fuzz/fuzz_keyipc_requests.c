/* What a client sends: decoding never reads past the end, and what it accepts encodes to the same bytes. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "keyipc/keyipc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err;
    size_t at = 0;
    if (!secret_heap_init(&err)) {
        abort();
    }
    for (;;) {
        struct keyipc_message m;
        struct buf again;
        size_t used = 0;
        if (!keyipc_decode(&m, &used, data + at, size - at, false, &err) || used == 0) {
            break;
        }
        buf_init(&again, LIMIT_KEYIPC_FRAME_BYTES);
        if (!keyipc_encode(&again, &m, &err) || again.len != used ||
            memcmp(again.data, data + at, used) != 0) {
            abort();
        }
        buf_free(&again);
        keyipc_message_clear(&m);
        at += used;
    }
    if (secret_live_count() != 0) {
        abort();
    }
    return 0;
}
