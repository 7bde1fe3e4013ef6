#include "fault.h"

#include <stdatomic.h>

#include "base/clock.h"
#include "base/mem.h"

static _Thread_local size_t countdown;
static _Thread_local bool hit;

void *__real_mem_alloc(size_t size);
void *__real_mem_calloc(size_t count, size_t size);
void *__wrap_mem_alloc(size_t size);
void *__wrap_mem_calloc(size_t count, size_t size);

void fault_alloc_at(size_t nth)
{
    countdown = nth;
    hit = false;
}

bool fault_alloc_hit(void)
{
    return hit;
}

static _Atomic int64_t wall_offset;

int64_t __real_clock_wall_s(void);
int64_t __wrap_clock_wall_s(void);

void fault_clock_set(int64_t offset_s)
{
    atomic_store(&wall_offset, offset_s);
}

int64_t __wrap_clock_wall_s(void)
{
    return __real_clock_wall_s() + atomic_load(&wall_offset);
}

static bool due(void)
{
    if (countdown > 0 && --countdown == 0) {
        hit = true;
        return true;
    }
    return false;
}

void *__wrap_mem_alloc(size_t size)
{
    return due() ? NULL : __real_mem_alloc(size);
}

void *__wrap_mem_calloc(size_t count, size_t size)
{
    return due() ? NULL : __real_mem_calloc(count, size);
}
