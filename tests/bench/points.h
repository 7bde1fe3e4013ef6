/* Points that nobody else has, for what benchmarks derive with. */
#ifndef E2EE_BENCH_POINTS_H
#define E2EE_BENCH_POINTS_H

#include <stddef.h>

#define POINT_BYTES 65 /* uncompressed */

/* Fills count points. Ends the program where there is no randomness. */
void make_points(unsigned char (*points)[POINT_BYTES], size_t count);

#endif
