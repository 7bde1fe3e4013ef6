#include "hsm/forked.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#define FDS 1024 /* a keyholder opens far fewer */

static atomic_bool ours[FDS];

static void in_child(void)
{
    for (int fd = 0; fd < FDS; fd++) {
        if (atomic_load(&ours[fd])) {
            close(fd);
        }
    }
}

bool forked_init(struct err *err)
{
    int failed = pthread_atfork(NULL, NULL, in_child);
    return failed == 0 || err_errno(err, ERR_MEMORY, failed, "pthread_atfork");
}

static void set(int fd, bool value)
{
    if (fd >= 0 && fd < FDS) {
        atomic_store(&ours[fd], value);
    }
}

void forked_close(int fd)
{
    set(fd, true);
}

void forked_forget(int fd)
{
    set(fd, false);
}
