/* A keyholder, a client with one key, a model and a server: what most suites of misbehaving tokens need. */
#ifndef E2EE_TESTS_HSM_BENCH_H
#define E2EE_TESTS_HSM_BENCH_H

#include "harness.h"

#include <unistd.h>

#include "base/clock.h"

struct bench {
    struct kh k;
    struct kh_peer model, server;
    uint8_t point[POINT_BYTES];
    uint64_t key;
    int control;
};

/* After kh_prepare. */
static inline void begin(struct bench *b)
{
    if (!kh_start(&b->k)) {
        fail_msg("%s", b->k.report);
    }
    kh_peer_new(&b->model);
    kh_peer_new(&b->server);
    b->control = kh_control(&b->k, NULL);
}

static inline enum err_kind derive(struct bench *b, char why[241])
{
    return kh_derive(&b->k, b->control, b->key, 1, &b->server, b->point, why);
}

static inline void end(struct bench *b)
{
    kh_peer_free(&b->model);
    kh_peer_free(&b->server);
    close(b->control);
}

static inline void end_clean(struct bench *b)
{
    end(b);
    assert_int_equal(kh_stop(&b->k), KEYIPC_EXIT_OK);
    kh_await(&b->k, "mock.log", "finalized objects=0 sessions=0 logged_in=0");
    kh_remove(&b->k);
}

/* Derives until it fails (or n have gone well). */
static inline enum err_kind derive_until(struct bench *b, int n, char why[241])
{
    enum err_kind kind = ERR_NONE;
    for (int i = 0; i < n && kind == ERR_NONE; i++) {
        kind = derive(b, why);
    }
    return kind;
}

/* As soon as the token lets us. */
static inline void open_within(struct bench *b, int seconds)
{
    char why[241] = "";
    int64_t deadline = clock_boot_ns() + seconds * CLOCK_NS_PER_S;
    while (kh_try_open(&b->k, b->control, &b->model, &b->key, b->point, why) != ERR_NONE) {
        if (clock_boot_ns() > deadline) {
            fail_msg("it does not come back: %s", why);
        }
        usleep(20000);
    }
}

static inline void open_again(struct bench *b)
{
    open_within(b, 15);
}

#endif
