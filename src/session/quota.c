#include "session/quota.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "session/budget.h"

#define BOOT_ID_CHARS 36
#define LINE_CHARS 21 /* 20 digits and a newline */
#define FILE_CHARS(count) (BOOT_ID_CHARS + 1 + (count)*LINE_CHARS)
#define LOCK_WAIT_MS 2000
#define LOCK_PAUSE_MS 10
#define EARLIER_BOOT 1 /* ns after this one's begin */

struct quota {
    char path[PATH_MAX];
    char boot[BOOT_ID_CHARS + 1];
    unsigned count;
    int64_t window_ns;
    pthread_mutex_t lock; /* of what follows */
    struct budget own;    /* what this process took: all there is where the file fails */
    bool warned;
};

/* Without it times of an earlier boot are taken for this one's, which costs a minute's wait at most. */
static void read_boot_id(char out[static BOOT_ID_CHARS + 1])
{
    memset(out, '-', BOOT_ID_CHARS);
    out[BOOT_ID_CHARS] = '\0';
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        char id[BOOT_ID_CHARS];
        if (read(fd, id, sizeof id) == (ssize_t)sizeof id) {
            memcpy(out, id, sizeof id);
        }
        close(fd);
    }
}

struct quota *quota_new(const char *path, unsigned count, int64_t window_ns, struct err *err)
{
    struct quota *q = mem_calloc(1, sizeof *q);
    if (q == NULL || strlen(path) >= sizeof q->path) {
        mem_free(q);
        err_set(err, ERR_MEMORY, "no memory for the count of attestations");
        return NULL;
    }
    memcpy(q->path, path, strlen(path) + 1);
    read_boot_id(q->boot);
    q->count = q->own.count = count;
    q->window_ns = q->own.window_ns = window_ns;
    pthread_mutex_init(&q->lock, NULL);
    int fd = open(q->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd >= 0) {
        close(fd);
    }
    return q;
}

const char *quota_path(const struct quota *quota)
{
    return quota->path;
}

void quota_free(struct quota *q)
{
    if (q != NULL) {
        pthread_mutex_destroy(&q->lock);
        mem_free(q);
    }
}

static bool lock_file(int fd)
{
    for (int waited = 0; flock(fd, LOCK_EX | LOCK_NB) != 0; waited += LOCK_PAUSE_MS) {
        if ((errno != EWOULDBLOCK && errno != EINTR) || waited >= LOCK_WAIT_MS) {
            return false;
        }
        nanosleep(&(struct timespec){0, LOCK_PAUSE_MS * CLOCK_NS_PER_MS}, NULL);
    }
    return true;
}

/* text into the times of uses, 0 where there is none. False: no such file. */
static bool parse(const struct quota *q, const char *text, size_t len, int64_t now, int64_t *used)
{
    memset(used, 0, q->count * sizeof *used);
    if (len == 0) {
        return true;
    }
    if (len != FILE_CHARS(q->count)) {
        return false;
    }
    bool same = memcmp(text, q->boot, BOOT_ID_CHARS) == 0;
    for (unsigned i = 0; i < q->count; i++) {
        const char *line = text + BOOT_ID_CHARS + 1 + i * LINE_CHARS;
        int64_t value = 0;
        for (int d = 0; d < LINE_CHARS - 1; d++) {
            if (line[d] < '0' || line[d] > '9' || value > INT64_MAX / 10 - 1) {
                return false;
            }
            value = value * 10 + (line[d] - '0');
        }
        if (line[LINE_CHARS - 1] != '\n' || (same && value > now)) {
            return false;
        }
        used[i] = same || value == 0 ? value : EARLIER_BOOT;
    }
    return true;
}

static bool save(const struct quota *q, int fd, const int64_t *used)
{
    char text[FILE_CHARS(BUDGET_MAX) + 1];
    size_t len = (size_t)snprintf(text, sizeof text, "%s\n", q->boot);
    for (unsigned i = 0; i < q->count; i++) {
        len += (size_t)snprintf(text + len, sizeof text - len, "%020" PRId64 "\n", used[i]);
    }
    return ftruncate(fd, (off_t)len) == 0 && pwrite(fd, text, len, 0) == (ssize_t)len;
}

/* With the file locked. False with errno: it cannot be read or written. */
static bool take_locked(const struct quota *q, int fd, int64_t now, int64_t *wait_ns)
{
    char text[FILE_CHARS(BUDGET_MAX) + 1];
    int64_t used[BUDGET_MAX];
    unsigned oldest = 0;
    ssize_t n = pread(fd, text, sizeof text, 0);
    if (n < 0) {
        return false;
    }
    if (!parse(q, text, (size_t)n, now, used)) {
        log_warn("%s is damaged, and counts as full for the next minute", q->path);
        for (unsigned i = 0; i < q->count; i++) {
            used[i] = now;
        }
        *wait_ns = q->window_ns;
        return save(q, fd, used);
    }
    for (unsigned i = 1; i < q->count; i++) {
        oldest = used[i] < used[oldest] ? i : oldest;
    }
    *wait_ns = used[oldest] == 0 ? 0 : used[oldest] + q->window_ns - now;
    if (*wait_ns > 0) {
        return true;
    }
    *wait_ns = 0;
    used[oldest] = now;
    return save(q, fd, used);
}

static bool take_from_file(const struct quota *q, int64_t *wait_ns)
{
    int fd = open(q->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return false;
    }
    /* The moment is taken under the lock, or it could lie before another process's. */
    bool ok = lock_file(fd) && take_locked(q, fd, clock_boot_ns(), wait_ns);
    int why = errno;
    close(fd);
    errno = why;
    return ok;
}

int64_t quota_take(struct quota *q)
{
    int64_t wait_ns = 0;
    bool shared = take_from_file(q, &wait_ns);
    int why = errno;
    if (shared && wait_ns > 0) {
        return wait_ns;
    }
    pthread_mutex_lock(&q->lock);
    bool warn = !shared && !q->warned;
    q->warned = q->warned || !shared;
    /* Of use also where the file works: somebody may have removed it. */
    wait_ns = budget_take(&q->own, clock_boot_ns());
    pthread_mutex_unlock(&q->lock);
    if (warn) {
        log_warn("%s cannot be used (%s): other processes' attestations are not counted", q->path,
                 strerror(why));
    }
    return wait_ns;
}
