/* The scalar of session custody. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "crypto/hash.h"
#include "hsm/session_key.h"

static struct secret shared_secret(void)
{
    struct secret z;
    assert_true(secret_new(&z, ECDH_BYTES, NULL));
    memset(z.data, 0x5a, z.len);
    return z;
}

static void test_makes_a_pair(void **state)
{
    struct secret z = shared_secret(), first, second;
    uint8_t point[POINT_BYTES], again[POINT_BYTES];
    struct err err = {0};
    assert_true(session_key_make(&first, point, &z, &err));
    assert_true(session_key_make(&second, again, &z, &err));
    assert_int_equal(first.len, SCALAR_BYTES);
    assert_false(secret_equal(&first, &second)); /* another salt each time */
    assert_memory_not_equal(point, again, POINT_BYTES);
    assert_true(point_from_scalar(again, &first, &err));
    assert_memory_equal(point, again, POINT_BYTES);
    secret_free(&first);
    secret_free(&second);
    secret_free(&z);
    assert_int_equal(secret_live_count(), 0);
}

/* Both sides of one exchange get the same key. */
static void test_derives(void **state)
{
    struct secret z = shared_secret(), scalar, server, ours, theirs, shared;
    uint8_t point[POINT_BYTES], server_point[POINT_BYTES];
    struct err err = {0};
    assert_true(session_key_make(&scalar, point, &z, &err));
    assert_true(point_random_scalar(&server, &err) && point_from_scalar(server_point, &server, &err));
    assert_true(session_key_derive(&ours, &scalar, server_point, &err));
    assert_true(point_ecdh(&shared, &server, point, &err) && hash_protocol_key(&theirs, &shared, &err));
    assert_true(secret_equal(&ours, &theirs));
    memset(server_point + 1, 0xff, 32);
    secret_free(&ours);
    assert_false(session_key_derive(&ours, &scalar, server_point, &err));
    assert_null(ours.data);
    secret_free(&theirs);
    secret_free(&shared);
    secret_free(&server);
    secret_free(&scalar);
    secret_free(&z);
    assert_int_equal(secret_live_count(), 0);
}

/* Nothing stays when the locked heap is full, wherever it gets full: a few places are left, one more each time. */
static void test_no_memory(void **state)
{
    static struct secret hog[40000];
    struct secret z = shared_secret(), scalar;
    uint8_t point[POINT_BYTES];
    size_t count = 0;
    bool ok = false;
    while (count < sizeof hog / sizeof *hog && secret_new(&hog[count], SCALAR_BYTES, NULL)) {
        count++;
    }
    assert_true(count > 1000 && count < sizeof hog / sizeof *hog);
    size_t live = secret_live_count();
    for (int left = 0; left < 16 && !ok; left++) {
        struct err err = {0};
        ok = session_key_make(&scalar, point, &z, &err);
        assert_int_equal(secret_live_count(), ok ? live + 1 : live);
        assert_true(ok || (scalar.data == NULL && err.kind == ERR_MEMORY));
        if (!ok) {
            secret_free(&hog[--count]);
            live--;
        }
    }
    assert_true(ok);
    secret_free(&scalar);
    while (count > 0) {
        secret_free(&hog[--count]);
    }
    secret_free(&z);
    assert_int_equal(secret_live_count(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_makes_a_pair),
        cmocka_unit_test(test_derives),
        cmocka_unit_test(test_no_memory),
    };
    if (!secret_heap_init(NULL)) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
