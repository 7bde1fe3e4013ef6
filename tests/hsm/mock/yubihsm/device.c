/* The device behind the module: 16 sessions that it forgets after 30 s of silence, and whether it is plugged in. */
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "yubihsm.h"

#define SESSIONS 16

struct state {
    struct {
        uint64_t owner; /* random, 0: free */
        int64_t used_ns;
    } sessions[SESSIONS];
};

static pthread_mutex_t operation = PTHREAD_MUTEX_INITIALIZER;
static struct state here; /* without MOCK_DEVICE */
static uint64_t own;      /* our session, also after the device forgot it; 0: none */
static bool absent, unlocked, repeatable;

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_BOOTTIME, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* The state with what the device has forgotten taken out. Other processes wait until it is put back. */
static int take_state(struct state *s)
{
    const char *path = getenv("MOCK_DEVICE");
    int fd = path != NULL ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
    int64_t idle_ns = (int64_t)mock_env("MOCK_DEVICE_IDLE_MS", 30000) * 1000000, now = now_ns();
    *s = here;
    if (fd >= 0 && (flock(fd, LOCK_EX) != 0 || pread(fd, s, sizeof *s, 0) != (ssize_t)sizeof *s)) {
        memset(s, 0, sizeof *s);
    }
    for (int i = 0; i < SESSIONS; i++) {
        if (now - s->sessions[i].used_ns > idle_ns) {
            s->sessions[i].owner = 0;
        }
    }
    return fd;
}

static void put_state(int fd, const struct state *s)
{
    here = *s;
    if (fd >= 0) {
        if (pwrite(fd, s, sizeof *s, 0) != (ssize_t)sizeof *s) {
            abort();
        }
        close(fd);
    }
}

static CK_RV new_session(struct state *s)
{
    unsigned long limit = mock_env("MOCK_DEVICE_SESSIONS", SESSIONS);
    for (unsigned long i = 0; i < limit && i < SESSIONS; i++) {
        if (s->sessions[i].owner == 0) {
            if (getrandom(&own, sizeof own, 0) != (ssize_t)sizeof own) {
                abort();
            }
            s->sessions[i].owner = own;
            s->sessions[i].used_ns = now_ns();
            return CKR_OK;
        }
    }
    return CKR_SESSION_COUNT;
}

static bool use_session(struct state *s)
{
    for (int i = 0; i < SESSIONS; i++) {
        if (s->sessions[i].owner == own) {
            s->sessions[i].used_ns = now_ns();
            return true;
        }
    }
    return false;
}

static bool pulled_out(void)
{
    const char *path = getenv("MOCK_GONE");
    return path != NULL && access(path, F_OK) == 0;
}

void yubi_device_found(bool locks)
{
    absent = pulled_out();
    unlocked = !locks;
}

bool yubi_device_absent(void)
{
    return absent;
}

CK_RV yubi_device_login(bool can_repeat)
{
    struct state s;
    repeatable = can_repeat;
    int fd = take_state(&s);
    CK_RV rv = new_session(&s);
    put_state(fd, &s);
    return rv;
}

void yubi_device_logout(void)
{
    struct state s;
    int fd = take_state(&s);
    for (int i = 0; i < SESSIONS; i++) {
        if (own != 0 && s.sessions[i].owner == own) {
            s.sessions[i].owner = 0;
        }
    }
    put_state(fd, &s);
    own = 0;
}

void yubi_device_forget(void)
{
    own = 0;
}

/* Our session is used, and made again by the module itself when the device has forgotten it. */
static CK_RV keep_session(void)
{
    struct state s;
    CK_RV rv = CKR_OK;
    if (own == 0) {
        return CKR_OK;
    }
    int fd = take_state(&s);
    if (!use_session(&s)) {
        rv = repeatable ? new_session(&s) : CKR_SESSION_CLOSED;
        mock_log(rv == CKR_OK ? "again by itself" : "the device has forgotten the session");
    }
    put_state(fd, &s);
    return rv;
}

CK_RV yubi_device_begin(void)
{
    static unsigned long calls;
    CK_RV rv;
    pthread_mutex_lock(&operation);
    if (absent || pulled_out()) {
        struct state none = {0}, before;
        put_state(take_state(&before), &none); /* without power it knows no sessions */
        rv = CKR_DEVICE_REMOVED;
    } else {
        rv = unlocked && ++calls % 3 != 0 ? CKR_DEVICE_REMOVED : keep_session();
    }
    if (rv != CKR_OK) {
        pthread_mutex_unlock(&operation);
    }
    return rv;
}

CK_RV yubi_device_end(CK_RV rv)
{
    pthread_mutex_unlock(&operation);
    return rv;
}
