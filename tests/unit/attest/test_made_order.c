/* In which order made-up evidence is judged, and in which words: what is said of steps that were not reached. */
#include "made.h"

static struct made m;
static struct pki_spec spec;

static int set_up(void **state)
{
    made_init(&m);
    pki_spec_good(&spec, MADE_NOW);
    return 0;
}

static int tear_down(void **state)
{
    made_free(&m);
    return 0;
}

/* TD 1.5 has two SVNs, and a refusal names the one that it is about. */
static void which_svn(void **state)
{
    static const struct {
        uint8_t svn[2], svn2[2]; /* SVN, and version of the module */
        bool td15;
        const char *check, *has, *lacks;
    } cases[] = {
        {{5, 2}, {5, 1}, false, "tdx.module", "version 2", "TEE_TCB_SVN"},
        {{5, 2}, {5, 1}, true, "tdx.module", "(TEE_TCB_SVN, at launch)", "SVN2"},
        {{5, 1}, {5, 9}, true, "tdx.module", "version 9 (TEE_TCB_SVN2, running now)", "launch"},
        {{5, 1},
         {2, 1},
         true,
         "tdx.module",
         "SVN 2 of TDX module version 1 (TEE_TCB_SVN2, running now)",
         "launch"},
        {{5, 1}, {2, 0}, true, "tcb.level", "(TEE_TCB_SVN2, running now)", "launch"},
        {{2, 0}, {5, 1}, true, "tcb.level", "(TEE_TCB_SVN, at launch)", "SVN2"},
        {{5, 1}, {3, 1}, true, "tcb.status", "revoked this TCB (TEE_TCB_SVN2, running now)", "launch"},
        {{3, 1}, {5, 1}, true, "tcb.status", "revoked this TCB (TEE_TCB_SVN, at launch)", "SVN2"},
    };
    spec.module_status[1] = "Revoked"; /* from SVN 3 */
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        memcpy(spec.tee_tcb_svn, cases[i].svn, 2);
        memcpy(spec.tee_tcb_svn2, cases[i].svn2, 2);
        spec.version = cases[i].td15 ? 5 : 4;
        spec.body_type = cases[i].td15 ? 3 : 2;
        made_judge(&m, &spec);
        made_expect(&m, cases[i].has, cases[i].check);
        if (strstr(m.v->reason, cases[i].has) == NULL || strstr(m.v->reason, cases[i].lacks) != NULL) {
            fail_msg("case %zu: %s", i, m.v->reason);
        }
    }
}

int main(void)
{
#define MADE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        MADE(which_svn),
    };
    return cmocka_run_group_tests_name("order of the checks", tests, NULL, NULL);
}
