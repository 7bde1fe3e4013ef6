/* The memory of seen (point, nonce) pairs: SipHash's published answers, the ring against a plain list, threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>

#include "base/hex.h"
#include "base/limits.h"
#include "fault.h"
#include "wire/replay.h"

static void assert_siphash(size_t len, const char *hex)
{
    uint8_t key[16], data[64], got[16];
    char text[33];
    for (size_t i = 0; i < sizeof data; i++) {
        data[i] = (uint8_t)i;
        key[i % 16] = (uint8_t)(i % 16);
    }
    struct replay_mark mark = replay_siphash(key, data, len);
    for (int i = 0; i < 8; i++) {
        got[i] = (uint8_t)(mark.low >> 8 * i);
        got[8 + i] = (uint8_t)(mark.high >> 8 * i);
    }
    assert_string_equal(hex_str(text, got, sizeof got), hex);
}

/* vectors_sip128 of SipHash's reference code. */
static void test_siphash_known_answers(void **state)
{
    assert_siphash(0, "a3817f04ba25a8e66df67214c7550293");
    assert_siphash(1, "da87c1d86b99af44347659119b22fc45");
    assert_siphash(2, "8177228da4a45dc7fca38bdef60affe4");
    assert_siphash(3, "9c70b60c5267a94e5f33b6b02985ed51");
    assert_siphash(7, "a1f1ebbed8dbc153c0b84aa61ff08239");
    assert_siphash(8, "3b62a9ba6258f5610f83e264f31497b4");
    assert_siphash(15, "5493e99933b0a8117e08ec0f97cfc3d9");
}

static struct replay_mark mark_of(uint32_t n)
{
    uint8_t point[POINT_BYTES] = {4}, nonce[AEAD_NONCE_BYTES] = {0};
    memcpy(point + 1, &n, sizeof n);
    return replay_mark(point, nonce);
}

static void test_pairs(void **state)
{
    struct replay *session = replay_new(100, NULL);
    struct replay_response a = {0}, b = {0};
    struct err err = {0};
    uint8_t point[POINT_BYTES] = {4}, nonce[AEAD_NONCE_BYTES] = {0};
    assert_non_null(session);
    assert_true(replay_check(session, &a, point, nonce, &err));
    nonce[11] = 1;
    assert_true(replay_check(session, &a, point, nonce, &err));
    point[64] = 1;
    assert_true(replay_check(session, &a, point, nonce, &err));
    assert_false(replay_check(session, &a, point, nonce, &err));
    assert_int_equal(err.kind, ERR_DECRYPT);
    err_clear(&err);
    /* Another answer of the same session. */
    assert_false(replay_check(session, &b, point, nonce, &err));
    assert_int_equal(err.kind, ERR_DECRYPT);
    replay_response_free(&a);
    replay_response_free(&b);
    replay_free(session);
    replay_free(NULL);
}

/* The ring forgets exactly the oldest, and finds the others after any number of removals. */
static void test_ring_forgets_oldest(void **state)
{
    for (uint32_t size = 1; size <= 70; size += size < 6 ? 1 : 16) {
        struct replay *r = replay_new(size, NULL);
        assert_non_null(r);
        for (uint32_t n = 0; n < 8 * size; n++) {
            assert_true(replay_add(r, mark_of(n), NULL));
            for (uint32_t back = 0; back < size && back <= n; back++) {
                assert_false(replay_add(r, mark_of(n - back), NULL));
            }
        }
        /* Forgotten: accepted again, and pushes out the oldest. */
        assert_true(replay_add(r, mark_of(7 * size - 1), NULL));
        assert_true(replay_add(r, mark_of(7 * size), NULL));
        replay_free(r);
    }
}

static void test_full_size(void **state)
{
    struct replay *r = replay_new(LIMIT_REPLAY_FIELDS, NULL);
    assert_non_null(r);
    for (uint32_t n = 0; n < 3 * LIMIT_REPLAY_FIELDS; n++) {
        assert_true(replay_add(r, mark_of(n), NULL));
    }
    assert_false(replay_add(r, mark_of(2 * LIMIT_REPLAY_FIELDS), NULL));
    assert_false(replay_add(r, mark_of(3 * LIMIT_REPLAY_FIELDS - 1), NULL));
    assert_true(replay_add(r, mark_of(2 * LIMIT_REPLAY_FIELDS - 1), NULL));
    replay_free(r);
}

static void test_response_grows(void **state)
{
    struct replay_response r = {0};
    assert_true(replay_key_init(NULL));
    for (uint32_t n = 0; n < 20000; n++) {
        assert_true(replay_response_add(&r, mark_of(n), NULL));
    }
    assert_int_equal(r.cap, 32768);
    for (uint32_t n = 0; n < 20000; n++) {
        assert_false(replay_response_add(&r, mark_of(n), NULL));
    }
    assert_int_equal(r.count, 20000);
    /* The value that means empty is remembered as another. */
    assert_true(replay_response_add(&r, (struct replay_mark){0, 5}, NULL));
    assert_false(replay_response_add(&r, (struct replay_mark){0, 5}, NULL));
    replay_response_free(&r);
    assert_null(r.slots);
}

#define THREADS 4
#define EACH 5000

struct job {
    struct replay *r;
    size_t fresh;
};

static void *add_all(void *arg)
{
    struct job *job = arg;
    for (uint32_t n = 0; n < EACH; n++) {
        job->fresh += replay_add(job->r, mark_of(n), NULL);
    }
    return NULL;
}

/* Each mark is fresh for exactly one of the threads that bring it. */
static void test_threads(void **state)
{
    struct job jobs[THREADS];
    pthread_t threads[THREADS];
    struct replay *r = replay_new(LIMIT_REPLAY_FIELDS, NULL);
    size_t fresh = 0;
    assert_non_null(r);
    for (int i = 0; i < THREADS; i++) {
        jobs[i] = (struct job){r, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, add_all, &jobs[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        fresh += jobs[i].fresh;
    }
    assert_int_equal(fresh, EACH);
    replay_free(r);
}

static void test_allocation_failure(void **state)
{
    struct err err = {0};
    struct replay *r = NULL;
    for (size_t nth = 1; r == NULL; nth++) {
        fault_alloc_at(nth);
        r = replay_new(16, &err);
        assert_true((r == NULL) == fault_alloc_hit());
        assert_true(r != NULL || err.kind == ERR_MEMORY);
        fault_alloc_at(0);
    }
    replay_free(r);
    struct replay_response response = {0};
    fault_alloc_at(1);
    assert_false(replay_response_add(&response, mark_of(1), &err));
    fault_alloc_at(0);
    assert_int_equal(err.kind, ERR_MEMORY);
    assert_int_equal(response.count, 0);
    assert_null(replay_new(0, &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_siphash_known_answers), cmocka_unit_test(test_pairs),
        cmocka_unit_test(test_ring_forgets_oldest),   cmocka_unit_test(test_full_size),
        cmocka_unit_test(test_response_grows),        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_allocation_failure),
    };
    return cmocka_run_group_tests_name("replay", tests, NULL, NULL);
}
