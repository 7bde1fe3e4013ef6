/* Server-sent events: all at once, byte by byte and in pieces of a size that the input names give equal events. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "wire/sse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool on_event(void *arg, const char *data, size_t len, struct err *err)
{
    struct buf *out = arg;
    uint32_t n = (uint32_t)len;
    if (len == 0) {
        abort();
    }
    return buf_append(out, &n, sizeof n) && buf_append(out, data, len);
}

static void feed(struct buf *out, const uint8_t *data, size_t size, size_t step)
{
    struct sse p;
    sse_init(&p);
    buf_init(out, 64 << 20);
    for (size_t at = 0; at < size; at += step) {
        size_t n = size - at < step ? size - at : step;
        uint8_t *piece = malloc(n);
        if (piece == NULL) {
            abort();
        }
        memcpy(piece, data + at, n);
        bool ok = sse_feed(&p, piece, n, on_event, out, NULL);
        free(piece);
        if (!ok) {
            abort();
        }
    }
    sse_free(&p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf whole, other;
    if (size == 0) {
        return 0;
    }
    size_t steps[] = {1, 2 + data[0] % 61u};
    feed(&whole, data, size, size);
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        feed(&other, data, size, steps[i]);
        if (other.len != whole.len || (whole.len > 0 && memcmp(other.data, whole.data, whole.len) != 0)) {
            abort();
        }
        buf_free(&other);
    }
    buf_free(&whole);
    return 0;
}
