/* Seeded defect: libFuzzer must reach it from an empty corpus within 100,000 runs (scripts/detectors). */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len > 1 && data[0] == 'e' && data[1] == '2')
        abort();
    return 0;
}
