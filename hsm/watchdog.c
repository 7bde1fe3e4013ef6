#include "hsm/watchdog.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "keyipc/start.h"

#define THREADS 544 /* of 8 tokens with 64 sessions each, and some; further ones are not watched */
#define PERIOD_NS (250 * CLOCK_NS_PER_MS)

static struct watched {
    atomic_llong since_ns; /* 0: in no call */
    _Atomic(const char *) name;
    atomic_llong limit_ns;
} watched[THREADS];
static atomic_uint watched_count;
static _Thread_local struct watched *own;
static int64_t limit_ns;
static void (*hang_callback)(const char *call);

static void enter(const char *name, int64_t may_last_ns)
{
    if (own == NULL) {
        unsigned index = atomic_fetch_add(&watched_count, 1);
        if (index >= THREADS) {
            atomic_fetch_sub(&watched_count, 1);
            return;
        }
        own = &watched[index];
    }
    atomic_store_explicit(&own->name, name, memory_order_relaxed);
    atomic_store_explicit(&own->limit_ns, may_last_ns, memory_order_relaxed);
    atomic_store_explicit(&own->since_ns, clock_boot_ns(), memory_order_release);
}

void watchdog_enter(const char *name)
{
    enter(name, limit_ns);
}

void watchdog_enter_slow(const char *name, unsigned limit_s)
{
    int64_t wanted = (int64_t)limit_s * CLOCK_NS_PER_S;
    enter(name, wanted > limit_ns ? wanted : limit_ns);
}

void watchdog_leave(void)
{
    if (own != NULL) {
        atomic_store_explicit(&own->since_ns, 0, memory_order_release);
    }
}

static void look(void)
{
    int64_t now = clock_boot_ns();
    for (unsigned i = 0; i < THREADS; i++) {
        int64_t since = atomic_load_explicit(&watched[i].since_ns, memory_order_acquire);
        int64_t may_last = atomic_load_explicit(&watched[i].limit_ns, memory_order_relaxed);
        if (since != 0 && now - since > may_last) {
            const char *name = atomic_load_explicit(&watched[i].name, memory_order_relaxed);
            log_error(
                "the token's module has been in %s for more than %lld s (hung, or waiting for a touch): "
                "ending, so that a fresh keyholder can take over",
                name, (long long)(may_last / CLOCK_NS_PER_S));
            if (hang_callback != NULL) {
                hang_callback(name);
            }
            _exit(KEYIPC_EXIT_TOKEN);
        }
    }
}

static void *watch(void *unused)
{
    int64_t last = clock_boot_ns();
    for (;;) {
        struct timespec pause = {0, PERIOD_NS};
        nanosleep(&pause, NULL);
        /* After a stop (SIGSTOP, suspend) every running call looks old: give it a full limit again. */
        int64_t now = clock_boot_ns();
        if (now - last > 8 * PERIOD_NS) {
            for (unsigned i = 0; i < THREADS; i++) {
                long long since = atomic_load(&watched[i].since_ns);
                if (since != 0) {
                    atomic_compare_exchange_strong(&watched[i].since_ns, &since, now);
                }
            }
        } else {
            look();
        }
        last = now;
    }
    return NULL;
}

bool watchdog_start(unsigned limit_s, void (*on_hang)(const char *call), struct err *err)
{
    pthread_t thread;
    sigset_t all, before;
    limit_ns = (int64_t)limit_s * CLOCK_NS_PER_S;
    hang_callback = on_hang;
    /* A process's signal goes to any thread that does not block it: here it would end the process, keys and all. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&thread, NULL, watch, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed != 0) {
        return err_errno(err, ERR_IO, failed, "cannot start the watchdog thread");
    }
    pthread_detach(thread);
    return true;
}
