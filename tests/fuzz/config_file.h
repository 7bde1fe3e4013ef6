/* For the fuzzers of configuration: the input as a file that only this process has. */
#ifndef E2EE_FUZZ_CONFIG_FILE_H
#define E2EE_FUZZ_CONFIG_FILE_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define CONFIG_FILE_PATH_BYTES 32

/* The descriptor, to be closed, and the path by which it is read. */
static inline int config_file(const void *data, size_t size, char path[CONFIG_FILE_PATH_BYTES])
{
    int fd = memfd_create("config", MFD_CLOEXEC);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size) {
        abort();
    }
    snprintf(path, CONFIG_FILE_PATH_BYTES, "/proc/self/fd/%d", fd);
    return fd;
}

#endif
