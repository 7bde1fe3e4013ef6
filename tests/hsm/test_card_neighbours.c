/* The same on the simulated SmartCard-HSM, through OpenSC's module and pcscd. */
#include "neighbours.h"

#include <stdio.h>
#include <stdlib.h>

#include "real.h"

static int keys(void)
{
    return (int)real_keys();
}

static void test_card(void **state)
{
    struct bench a, b;
    char state_dir[96];
    kh_prepare(&a.k, "opensc");
    kh_prepare(&b.k, "opensc");
    snprintf(state_dir, sizeof state_dir, "%s/state", a.k.dir);
    kh_arg(&b.k, "--state-dir", state_dir);
    neighbours(&a, &b, keys);
    kh_remove(&b.k);
    kh_remove(&a.k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_card)};
    struct err err = {0};
    if (!secret_heap_init(&err)) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    const char *missing = real_begin("opensc");
    if (missing != NULL) {
        bool ci = getenv("CI") != NULL;
        printf("%s: %s\n", ci ? "FAILED" : "SKIPPED", missing);
        return ci ? 1 : 77;
    }
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    real_end();
    return failed;
}
