/* Allocation faults: each unit test is linked with --wrap=mem_alloc,mem_calloc. */
#ifndef E2EE_TESTS_FAULT_H
#define E2EE_TESTS_FAULT_H

#include <stdbool.h>
#include <stddef.h>

/* The nth allocation from now (1 = the next) fails, once. 0 switches off. */
void fault_alloc_at(size_t nth);
/* True when the armed failure has happened. */
bool fault_alloc_hit(void);

#endif
