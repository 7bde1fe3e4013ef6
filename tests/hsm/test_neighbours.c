/* Two keyholders on one token that keeps every key: neither touches the other's (tokens.md: a label's sweep kills a second
 * keyholder's keys of that label). */
#include "neighbours.h"

#include <stdio.h>
#include <sys/stat.h>

#include "mock/mock_store.h"

static char store[128];

/* A pair is two objects of the mock. */
static int keys(void)
{
    struct stat st;
    return stat(store, &st) == 0 ? (int)((size_t)st.st_size / sizeof(struct mock_object) / 2) : 0;
}

static void side_by_side(const char *module)
{
    struct bench a, b;
    char state_dir[96];
    kh_prepare(&a.k, module);
    snprintf(store, sizeof store, "%s/store", a.k.dir);
    kh_env(&a.k, "MOCK_STORE", store);
    kh_prepare(&b.k, module);
    kh_arg(&b.k, "--module-env", "MOCK_STORE");
    snprintf(state_dir, sizeof state_dir, "%s/state", a.k.dir);
    kh_arg(&b.k, "--state-dir", state_dir);
    neighbours(&a, &b, keys);
    kh_remove(&b.k);
    kh_remove(&a.k);
}

static void test_card(void **state)
{
    side_by_side("token_objects_only");
}

static void test_yubihsm(void **state)
{
    side_by_side("yubihsm");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_card), cmocka_unit_test(test_yubihsm)};
    struct err err = {0};
    if (!secret_heap_init(&err)) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
