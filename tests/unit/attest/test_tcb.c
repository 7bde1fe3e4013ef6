/* Intel's convergence of statuses, exhaustively, against a table written from Intel's documents instead of from the
 * code: rows are the platform's level, columns the worst of quoting enclave and TDX module. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>

#include "attest/tcb.h"

#define UTD "UpToDate"
#define SWH "SWHardeningNeeded"
#define CN "ConfigurationNeeded"
#define CSW "ConfigurationAndSWHardeningNeeded"
#define OOD "OutOfDate"
#define OCN "OutOfDateConfigurationNeeded"
#define RVK "Revoked"
#define TRA "TDRelaunchAdvised"
#define TRC "TDRelaunchAdvisedConfigurationNeeded"

static const char *const words[] = {UTD, SWH, CN, CSW, OOD, OCN, RVK};
#define WORDS (sizeof words / sizeof words[0])

/* [platform] -> with every part good, one out of date, one revoked */
static const char *const converged[WORDS][3] = {
    {UTD, OOD, RVK}, {SWH, OOD, RVK}, {CN, OCN, RVK},  {CSW, OCN, RVK},
    {OOD, OOD, RVK}, {OCN, OCN, RVK}, {RVK, RVK, RVK},
};

/* [launch][current] */
static const char *const relaunched[WORDS][WORDS] = {
    {UTD, UTD, UTD, UTD, UTD, UTD, UTD}, {SWH, SWH, SWH, SWH, SWH, SWH, SWH},
    {CN, CN, CN, CN, CN, CN, CN},        {CSW, CSW, CSW, CSW, CSW, CSW, CSW},
    {TRA, TRA, TRC, TRC, OOD, OOD, OOD}, {TRC, TRC, TRC, TRC, OCN, OCN, OCN},
    {RVK, RVK, RVK, RVK, RVK, RVK, RVK},
};

static enum tcb_status status(const char *word)
{
    enum tcb_status s;
    assert_true(tcb_status_parse(&s, word));
    assert_string_equal(tcb_status_name(s), word);
    return s;
}

static void convergence(void **state)
{
    static const char *const parts[] = {UTD, OOD, RVK};
    (void)state;
    for (size_t p = 0; p < WORDS; p++) {
        for (size_t q = 0; q < 3; q++) {
            for (size_t m = 0; m < 3; m++) {
                enum tcb_status got = tcb_converge(status(words[p]), status(parts[q]), status(parts[m]));
                assert_string_equal(tcb_status_name(got), converged[p][q > m ? q : m]);
            }
            assert_string_equal(tcb_status_name(tcb_converge(status(words[p]), status(parts[q]), TCB_NONE)),
                                converged[p][q]);
        }
    }
}

static void relaunch(void **state)
{
    (void)state;
    for (size_t l = 0; l < WORDS; l++) {
        for (size_t c = 0; c < WORDS; c++) {
            assert_string_equal(tcb_status_name(tcb_relaunch(status(words[l]), status(words[c]))),
                                relaunched[l][c]);
        }
    }
}

static void other_words(void **state)
{
    static const char *const bad[] = {"", "none", "uptodate", "UpToDate ", "Unknown", "revoked"};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        enum tcb_status s = TCB_UP_TO_DATE;
        assert_false(tcb_status_parse(&s, bad[i]));
        assert_int_equal(s, TCB_NONE);
    }
    assert_string_equal(tcb_status_name((enum tcb_status)99), "none");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(convergence),
        cmocka_unit_test(relaunch),
        cmocka_unit_test(other_words),
    };
    return cmocka_run_group_tests_name("TCB statuses", tests, NULL, NULL);
}
