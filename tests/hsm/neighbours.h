/* Two keyholders with one state folder (instance-0 and instance-1) on one token: whatever befalls the one, the other's key
 * derives on. For a suite that says which module it is. */
#ifndef E2EE_TESTS_HSM_NEIGHBOURS_H
#define E2EE_TESTS_HSM_NEIGHBOURS_H

#include "bench.h"

#include <signal.h>
#include <string.h>

/* Once more from its start: begin makes peers anew. */
static inline void neighbour_up(struct bench *b)
{
    begin(b);
    open_again(b);
}

static inline void neighbour_killed(struct bench *b)
{
    assert_int_equal(kill(b->k.pid, SIGKILL), 0);
    assert_int_equal(kh_wait(&b->k), -SIGKILL);
    close(b->k.channel);
    b->k.channel = -1;
    end(b);
}

static inline void neighbour_ends(struct bench *b)
{
    end(b);
    assert_int_equal(kh_stop(&b->k), KEYIPC_EXIT_OK);
}

static inline void serves(struct bench *b)
{
    char why[241] = "";
    enum err_kind kind = derive_until(b, 3, why);
    if (kind != ERR_NONE) {
        fail_msg("the neighbour's key is gone: %s", why);
    }
}

/* a and b are prepared. keys: how many pairs are on the token. */
static inline void neighbours(struct bench *a, struct bench *b, int (*keys)(void))
{
    neighbour_up(a);
    neighbour_up(b); /* its start sweeps what the dead left: a is alive */
    serves(a);
    neighbour_ends(b); /* its end sweeps its own */
    serves(a);
    assert_int_equal(keys(), 1);
    neighbour_up(b);
    neighbour_killed(b);
    serves(a);
    assert_int_equal(keys(), 2);
    neighbour_up(b); /* takes what it left itself, and nothing else */
    assert_int_equal(keys(), 2);
    serves(a);
    serves(b);
    neighbour_killed(a);
    serves(b);
    neighbour_up(a);
    assert_int_equal(keys(), 2);
    serves(b);
    serves(a);
    kh_close_key(&b->k, b->control, b->key);
    serves(a);
    neighbour_ends(a);
    neighbour_ends(b);
    assert_int_equal(keys(), 0);
}

#endif
