/* Allocation faults, and a wall clock that was set: each unit test is linked with
 * --wrap=mem_alloc,mem_calloc,clock_wall_s. */
#ifndef E2EE_TESTS_FAULT_H
#define E2EE_TESTS_FAULT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The nth allocation from now (1 = the next) fails, once. 0 switches off. */
void fault_alloc_at(size_t nth);
/* True when the armed failure has happened. */
bool fault_alloc_hit(void);
/* From now on clock_wall_s says offset_s more than the machine's clock does, in every thread. clock_boot_ns stays. */
void fault_clock_set(int64_t offset_s);

#endif
