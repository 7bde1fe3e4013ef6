/* Calls into the module that never return, one by one: the watchdog ends the keyholder, the next one works, and nothing of the first
 * stays in the token. And one that only takes long, because a person types. */
#include "bench.h"

#include <stdio.h>
#include <string.h>

#define KEEPALIVE_S 15 /* hsm/pool.h */

enum trigger { BY_OPEN, BY_CLOSE, BY_WAITING, BY_EXIT };

static const struct hang {
    const char *call, *at; /* the at-th one from the start of the process */
    enum trigger trigger;
} hangs[] = {
    {"C_GenerateKeyPair", "2", BY_OPEN}, /* after the self test's */
    {"C_DestroyObject", "6", BY_CLOSE},  /* after the self test's three, and an OPEN's two secrets */
    {"C_GenerateRandom", "1", BY_WAITING},
    {"C_Finalize", "1", BY_EXIT},
};

static void trigger(struct bench *b, enum trigger trigger)
{
    struct keyipc_message request = {.op = trigger == BY_OPEN ? KEYIPC_OPEN : KEYIPC_CLOSE};
    if (trigger == BY_OPEN) {
        memcpy(request.u.open.model_point, b->model.point, POINT_BYTES);
        kh_send(b->control, &request);
        return;
    }
    kh_open(&b->k, b->control, &b->model, &b->key, b->point);
    if (trigger == BY_CLOSE) {
        request.u.key_id = b->key;
        kh_send(b->control, &request);
    } else if (trigger == BY_EXIT) {
        close(b->k.channel);
    }
}

static void hang_in(const struct hang *h)
{
    struct bench b;
    char text[241];
    kh_prepare(&b.k, "token_objects_only");
    kh_env(&b.k, "MOCK_STORE", kh_path(&b.k, "store"));
    kh_env(&b.k, "MOCK_FAIL_NAME", h->call);
    kh_env(&b.k, "MOCK_FAIL_AT", h->at);
    kh_env(&b.k, "MOCK_FAIL_HANG", "1");
    kh_arg(&b.k, "--token-timeout", "1");
    begin(&b);
    int64_t began = clock_boot_ns();
    trigger(&b, h->trigger);
    assert_true(kh_closed(b.control));
    assert_int_equal(kh_wait(&b.k), KEYIPC_EXIT_TOKEN);
    int64_t limit_s = h->trigger == BY_WAITING ? KEEPALIVE_S + 6 : 6;
    assert_true(clock_boot_ns() - began < limit_s * CLOCK_NS_PER_S);
    snprintf(text, sizeof text, "in %s for more than 1 s", h->call);
    assert_true(kh_count(&b.k, "log", text) > 0);
    if (h->trigger != BY_EXIT) {
        close(b.k.channel);
    }
    end(&b);
    kh_env(&b.k, "MOCK_FAIL_AT", "0");
    begin(&b);
    open_again(&b);
    assert_int_equal(derive(&b, text), ERR_NONE);
    end_clean(&b);
}

static void test_never_returns(void **state)
{
    for (size_t i = 0; i < sizeof hangs / sizeof *hangs; i++) {
        hang_in(&hangs[i]);
    }
}

/* Whoever types the PIN at the token's keypad may take longer than a call. */
static void test_pin_pad_is_slow(void **state)
{
    struct bench b;
    char why[241];
    kh_prepare(&b.k, "pin_pad");
    kh_env(&b.k, "MOCK_PAD_MS", "3000");
    kh_arg(&b.k, "--token-timeout", "1");
    begin(&b);
    open_again(&b);
    assert_int_equal(derive(&b, why), ERR_NONE);
    end_clean(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_never_returns),
                                       cmocka_unit_test(test_pin_pad_is_slow)};
    struct err err = {0};
    if (!secret_heap_init(&err)) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
