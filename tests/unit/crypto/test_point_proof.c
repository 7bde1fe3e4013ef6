/* A shared secret that a token derived is proven by one more derivation, of a blinded point. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "crypto/point.h"

struct bench {
    struct secret own, other, model, scalar; /* own: the token's key */
    uint8_t own_point[POINT_BYTES], model_point[POINT_BYTES], blinded[POINT_BYTES];
};

static void begin(struct bench *b)
{
    assert_true(point_random_scalar(&b->own, NULL) && point_random_scalar(&b->other, NULL) &&
                point_random_scalar(&b->model, NULL) && point_random_scalar(&b->scalar, NULL));
    assert_true(point_from_scalar(b->own_point, &b->own, NULL) &&
                point_from_scalar(b->model_point, &b->model, NULL));
    assert_true(point_blind(b->blinded, b->model_point, &b->scalar, NULL));
}

static void end(struct bench *b)
{
    secret_free(&b->own);
    secret_free(&b->other);
    secret_free(&b->model);
    secret_free(&b->scalar);
    assert_int_equal(secret_live_count(), 0);
}

/* Does the secret of key x and point, with that of key blinded_x and blinded, pass? */
static bool passes(const struct bench *b, const struct secret *x, const uint8_t *point,
                   const struct secret *blinded_x, const uint8_t *blinded)
{
    struct secret first = SECRET_EMPTY, second = SECRET_EMPTY;
    bool proven = true;
    assert_true(point_ecdh(&first, x, point, NULL) && point_ecdh(&second, blinded_x, blinded, NULL));
    assert_true(point_ecdh_proven(&first, &second, &b->scalar, b->own_point, &proven, NULL));
    secret_free(&first);
    secret_free(&second);
    return proven;
}

/* Either Y of the secret's X: half of all keys have the one, half the other. */
static void test_right(void **state)
{
    for (int i = 0; i < 64; i++) {
        struct bench b;
        begin(&b);
        assert_true(passes(&b, &b.own, b.model_point, &b.own, b.blinded));
        end(&b);
    }
}

static void test_wrong(void **state)
{
    struct bench b;
    uint8_t another[POINT_BYTES];
    begin(&b);
    assert_true(point_from_scalar(another, &b.other, NULL));
    assert_false(passes(&b, &b.other, b.model_point, &b.own, b.blinded));   /* another key, once */
    assert_false(passes(&b, &b.own, b.model_point, &b.other, b.blinded));   /* in the proof */
    assert_false(passes(&b, &b.other, b.model_point, &b.other, b.blinded)); /* each time */
    assert_false(passes(&b, &b.own, another, &b.own, b.blinded));           /* another point */
    assert_false(passes(&b, &b.own, b.model_point, &b.own, b.model_point)); /* the first secret once more */
    /* The two exchanged pass, as -(Z + r own) + r own is -Z: hence a scalar that did not exist when x was derived. */
    assert_true(passes(&b, &b.own, b.blinded, &b.own, b.model_point));
    assert_false(passes(&b, &b.own, b.blinded, &b.own, b.blinded));
    end(&b);
}

/* Every bit of either secret counts; half of such X have no point at all. */
static void test_flipped(void **state)
{
    struct bench b;
    struct secret first, second;
    bool proven;
    begin(&b);
    assert_true(point_ecdh(&first, &b.own, b.model_point, NULL));
    assert_true(point_ecdh(&second, &b.own, b.blinded, NULL));
    for (size_t bit = 0; bit < 2 * ECDH_BYTES * 8; bit++) {
        uint8_t *byte = bit / 8 < ECDH_BYTES ? &first.data[bit / 8] : &second.data[bit / 8 - ECDH_BYTES];
        *byte ^= (uint8_t)(1 << bit % 8);
        assert_true(point_ecdh_proven(&first, &second, &b.scalar, b.own_point, &proven, NULL));
        assert_false(proven);
        *byte ^= (uint8_t)(1 << bit % 8);
    }
    assert_true(point_ecdh_proven(&first, &second, &b.scalar, b.own_point, &proven, NULL) && proven);
    memset(first.data, 0, first.len);
    assert_true(point_ecdh_proven(&first, &second, &b.scalar, b.own_point, &proven, NULL));
    assert_false(proven);
    memset(first.data, 0xff, first.len); /* past p */
    assert_true(point_ecdh_proven(&first, &second, &b.scalar, b.own_point, &proven, NULL));
    assert_false(proven);
    secret_free(&first);
    secret_free(&second);
    end(&b);
}

/* point + scalar * G is what the sum of the scalars gives. */
static void test_blind(void **state)
{
    struct secret one, two;
    uint8_t a[POINT_BYTES], b[POINT_BYTES];
    const uint8_t numbers[2][SCALAR_BYTES] = {{[SCALAR_BYTES - 1] = 1}, {[SCALAR_BYTES - 1] = 2}};
    assert_true(secret_copy(&one, numbers[0], SCALAR_BYTES, NULL));
    assert_true(secret_copy(&two, numbers[1], SCALAR_BYTES, NULL));
    assert_true(point_from_scalar(a, &one, NULL));
    assert_true(point_blind(b, a, &one, NULL));
    assert_true(point_from_scalar(a, &two, NULL));
    assert_memory_equal(a, b, POINT_BYTES);
    secret_free(&one);
    secret_free(&two);
}

static void test_refused(void **state)
{
    struct bench b;
    struct secret short_one, x;
    struct err err = {0};
    uint8_t out[POINT_BYTES], bad[POINT_BYTES];
    const uint8_t zeros[POINT_BYTES] = {0};
    bool proven = true;
    begin(&b);
    assert_true(secret_new(&short_one, ECDH_BYTES - 1, NULL) && secret_new(&x, ECDH_BYTES, NULL));
    memcpy(bad, b.model_point, POINT_BYTES);
    bad[POINT_BYTES - 1] ^= 1;
    assert_false(point_blind(out, bad, &b.scalar, &err));
    assert_int_equal(err.kind, ERR_INVALID);
    assert_memory_equal(out, zeros, POINT_BYTES);
    assert_false(point_blind(out, b.model_point, &short_one, NULL));
    assert_false(point_ecdh_proven(&short_one, &x, &b.scalar, b.own_point, &proven, &err));
    assert_false(proven);
    assert_false(point_ecdh_proven(&x, &short_one, &b.scalar, b.own_point, &proven, NULL));
    assert_false(point_ecdh_proven(&x, &x, &short_one, b.own_point, &proven, NULL));
    assert_false(point_ecdh_proven(&x, &x, &b.scalar, bad, &proven, NULL));
    assert_false(point_ecdh_proven(&x, &x, &x, b.own_point, &proven, NULL)); /* the scalar 0 */
    secret_free(&short_one);
    secret_free(&x);
    end(&b);
}

static int set_up(void **state)
{
    struct err err = {0};
    return secret_heap_init(&err) ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_right), cmocka_unit_test(test_wrong),   cmocka_unit_test(test_flipped),
        cmocka_unit_test(test_blind), cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests_name("point proof", tests, set_up, NULL);
}
