/* Sixteen bytes at once, by the vector types that GCC and clang have on every machine: what looks at each byte of an answer. */
#ifndef E2EE_BASE_BYTES16_H
#define E2EE_BASE_BYTES16_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

typedef uint8_t bytes16 __attribute__((vector_size(16)));
typedef int8_t signed16 __attribute__((vector_size(16)));

static inline bytes16 bytes16_load(const void *at)
{
    bytes16 v;
    memcpy(&v, at, sizeof v);
    return v;
}

/* Is any byte of marks, 0 or 0xff each, set? */
static inline bool bytes16_any(bytes16 marks)
{
    uint64_t halves[2];
    memcpy(halves, &marks, sizeof halves);
    return (halves[0] | halves[1]) != 0;
}

/* Bytes before the first that is set; one is. */
static inline unsigned bytes16_first(bytes16 marks)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    uint64_t halves[2];
    memcpy(halves, &marks, sizeof halves);
    return (halves[0] != 0 ? (unsigned)__builtin_ctzll(halves[0])
                           : 64 + (unsigned)__builtin_ctzll(halves[1])) /
           8;
#else
    unsigned n = 0;
    while (marks[n] == 0) {
        n++;
    }
    return n;
#endif
}

#endif
