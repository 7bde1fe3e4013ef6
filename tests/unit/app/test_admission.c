/* Who is let in to the token, and how much each may ask of it at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "app/admission.h"
#include "base/clock.h"

#define MS CLOCK_NS_PER_MS

static void test_limit(void **state)
{
    struct admission a;
    struct claim claims[12], late;
    struct err err = {0};
    uint16_t retry;
    admission_init(&a, 1000 * MS);
    for (int i = 0; i < 10; i++) {
        assert_true(admission_enter(&a, &claims[i], 100 * MS, &retry, &err));
    }
    assert_false(admission_enter(&a, &late, 100 * MS, &retry, &err));
    assert_int_equal(err.kind, ERR_TOKEN);
    assert_in_range(retry, 1, 2);
    admission_leave(&late); /* a refused one has nothing to give back */
    assert_int_equal(atomic_load(&a.claims), 10);
    /* One has its key: there is room until it asks again. */
    admission_asked(&claims[0]);
    admission_answered(&claims[0]);
    assert_int_equal(atomic_load(&a.claims), 9);
    assert_true(admission_enter(&a, &claims[10], 100 * MS, &retry, &err));
    admission_asked(&claims[0]);
    admission_asked(&claims[0]);
    assert_int_equal(atomic_load(&a.claims), 11);
    assert_false(admission_enter(&a, &late, 100 * MS, &retry, &err));
    admission_answered(&claims[0]);
    assert_int_equal(atomic_load(&a.claims), 11); /* it still awaits one */
    for (int i = 0; i < 11; i++) {
        admission_leave(&claims[i]);
    }
    assert_int_equal(atomic_load(&a.claims), 0);
}

static void test_never_the_only_one(void **state)
{
    struct admission a;
    struct claim claim, other;
    struct err err = {0};
    uint16_t retry;
    admission_init(&a, 1000 * MS);
    assert_true(admission_enter(&a, &claim, 5000 * MS, &retry, &err));
    assert_false(admission_enter(&a, &other, 5000 * MS, &retry, &err));
    assert_in_range(retry, 9, 11);
    admission_leave(&claim);
}

static void test_unknown_cost(void **state)
{
    struct admission a;
    struct claim claims[1000];
    struct err err = {0};
    uint16_t retry;
    admission_init(&a, 1000 * MS);
    for (int i = 0; i < 1000; i++) {
        assert_true(admission_enter(&a, &claims[i], 0, &retry, &err));
    }
    assert_int_equal(admission_window(&a), 32);
}

static void test_window(void **state)
{
    struct admission a;
    struct claim claims[64];
    struct err err = {0};
    uint16_t retry;
    admission_init(&a, 60000 * MS);
    assert_true(admission_enter(&a, &claims[0], 1 * MS, &retry, &err));
    assert_int_equal(admission_window(&a), 32); /* alone with a fast token */
    for (int i = 1; i < 64; i++) {
        assert_true(admission_enter(&a, &claims[i], 5 * MS, &retry, &err));
    }
    assert_int_equal(admission_window(&a), 3); /* 64 at 5 ms: 320 ms a turn */
    assert_true(admission_enter(&a, &claims[0], 100 * MS, &retry, &err));
    assert_int_equal(admission_window(&a), 2); /* never less: the token must not idle */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_never_the_only_one),
        cmocka_unit_test(test_unknown_cost),
        cmocka_unit_test(test_window),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
