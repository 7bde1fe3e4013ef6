/* Durations in buckets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/histogram.h"

static void test_buckets(void **state)
{
    assert_int_equal(histogram_bucket(-5), 0);
    assert_int_equal(histogram_bucket(0), 0);
    for (size_t i = 0; i < HISTOGRAM_BUCKETS - 1; i++) {
        assert_int_equal(histogram_bucket(histogram_bounds_us[i] * 1000),
                         i); /* a bound belongs to its bucket */
        assert_int_equal(histogram_bucket(histogram_bounds_us[i] * 1000 + 1), i + 1);
    }
    assert_int_equal(histogram_bucket(INT64_MAX), HISTOGRAM_BUCKETS - 1);
}

static void test_add_and_merge(void **state)
{
    struct histogram a = {{0}, 0}, b = {{0}, 0};
    histogram_add(&a, 100000);
    histogram_add(&a, 7000000000);
    histogram_add(&b, 100000);
    histogram_add(&b, -1); /* a clock that went back counts, and adds nothing */
    histogram_merge(&a, &b);
    assert_int_equal(a.counts[0], 3);
    assert_int_equal(a.counts[HISTOGRAM_BUCKETS - 1], 1);
    assert_int_equal(a.sum_ns, 7000200000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_buckets), cmocka_unit_test(test_add_and_merge)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
