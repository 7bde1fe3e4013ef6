/* A wall clock that a test sets, for the executable of test_clock.py: the linker's --wrap puts it in the place of
 * base/clock.h's. The file clock-offset in $HOME, which is among the few variables that processes hand on, holds the
 * seconds by which the clock is wrong, as a native int64_t; it is mapped once, so that a sandbox has no say in it. */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int64_t __real_clock_wall_s(void);
int64_t __wrap_clock_wall_s(void);

static const _Atomic int64_t *offset;

__attribute__((constructor)) static void map_offset(void)
{
    char path[512];
    const char *home = getenv("HOME");
    snprintf(path, sizeof path, "%s/clock-offset", home != NULL ? home : "");
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    void *page = fd >= 0 ? mmap(NULL, sizeof *offset, PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;
    if (page == MAP_FAILED)
        perror("clock-offset");
    else
        offset = page;
    if (fd >= 0)
        close(fd);
}

int64_t __wrap_clock_wall_s(void)
{
    return __real_clock_wall_s() + (offset != NULL ? atomic_load(offset) : 0);
}
