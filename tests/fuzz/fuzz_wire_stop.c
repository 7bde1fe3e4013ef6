/* Stop sequences: input is lines of sequences, an empty line, text. Any cut gives what the definition says: the text
 * before the match that ends first, the longest of those that end there. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "wire/stop.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t expected(const char *const *texts, const size_t *lens, size_t count, const uint8_t *text,
                       size_t len, bool *stopped)
{
    for (size_t end = 1; end <= len; end++) {
        size_t longest = 0;
        for (size_t i = 0; i < count; i++) {
            if (lens[i] <= end && lens[i] > longest && memcmp(text + end - lens[i], texts[i], lens[i]) == 0) {
                longest = lens[i];
            }
        }
        if (longest > 0) {
            *stopped = true;
            return end - longest;
        }
    }
    *stopped = false;
    return len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *texts[LIMIT_STOP_SEQUENCES] = {NULL};
    size_t lens[LIMIT_STOP_SEQUENCES] = {0}, count = 0;
    while (count < LIMIT_STOP_SEQUENCES) {
        const uint8_t *end = size > 0 ? memchr(data, '\n', size) : NULL;
        if (end == NULL || end == data || end - data > LIMIT_STOP_BYTES) {
            break;
        }
        texts[count] = (const char *)data;
        lens[count++] = (size_t)(end - data);
        size -= (size_t)(end - data) + 1;
        data = end + 1;
    }
    struct stop_set *set = stop_set_new(texts, lens, count, NULL);
    if (set == NULL) {
        abort();
    }
    bool stopped;
    size_t want = expected(texts, lens, count, data, size, &stopped);
    for (size_t step = 1; step < size + 8; step += 1 + step / 2) {
        struct stop_state state = {0};
        struct buf out;
        buf_init(&out, size + 1);
        for (size_t at = 0; at < size; at += step) {
            if (!stop_feed(set, &state, data + at, size - at < step ? size - at : step, &out)) {
                abort();
            }
        }
        if (!stop_flush(set, &state, &out) || state.stopped != stopped || out.len != want ||
            (want > 0 && memcmp(out.data, data, want) != 0)) {
            abort();
        }
        buf_free(&out);
    }
    stop_set_free(set);
    return 0;
}
