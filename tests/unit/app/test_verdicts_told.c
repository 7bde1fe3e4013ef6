/* What /health and /metrics tell of the last verdicts, also when the clock is set under them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/status.h"
#include "app/verifier_internal.h"
#include "base/clock.h"
#include "base/mem.h"
#include "fault.h"

#define DAY 86400

static struct verifier *v;
static struct attest_verdict *verdict;
static struct buf out;

static int set_up(void **state)
{
    v = mem_calloc(1, sizeof *v);
    verdict = mem_alloc(sizeof *verdict);
    assert_true(v != NULL && verdict != NULL);
    pthread_mutex_init(&v->lock, NULL);
    buf_init(&out, 65536);
    return 0;
}

static int tear_down(void **state)
{
    fault_clock_set(0);
    pthread_mutex_destroy(&v->lock);
    mem_free(v);
    mem_free(verdict);
    buf_free(&out);
    return 0;
}

static void note(bool gpus)
{
    verdict_init(verdict, clock_wall_s());
    verdict->platform.collateral_expires = clock_wall_s() + 2 * DAY;
    if (gpus) {
        verdict_pass(verdict, "gpu.evidence", "there");
        verdict_pass(verdict, "gpu.devices", "good");
    } else {
        verdict_add(verdict, "gpu.evidence", CHECK_NOT_CHECKED, false, "no GPU evidence");
    }
    verdict_pass(verdict, "made", "up");
    verdict_close(verdict);
    assert_true(verdict->verified);
    verifier_note(v, "m", verdict);
}

/* The number behind name in what was written. */
static long long number(const char *name)
{
    const char *at = strstr(buf_cstr(&out), name);
    if (at == NULL) {
        fail_msg("%s is not in %s", name, buf_cstr(&out));
        return 0;
    }
    return strtoll(at + strlen(name), NULL, 10);
}

static void ages_do_not_follow_the_clock(void **state)
{
    const int64_t jumps[] = {0, DAY, -DAY, 0};
    note(true);
    for (size_t i = 0; i < 4; i++) {
        fault_clock_set(jumps[i]);
        buf_reset(&out);
        status_append_verdict_metrics(v, &out);
        long long age = number("\ne2ee_proxy_attestation_age_seconds{model=\"m\"} ");
        assert_true(age >= 0 && age < 60);
        /* The end of collateral is a date, and moves. */
        long long left = number("\ne2ee_proxy_attestation_collateral_seconds_left{model=\"m\"} ");
        assert_true(left <= 2 * DAY - jumps[i] && left > 2 * DAY - jumps[i] - 60);
        buf_reset(&out);
        status_append_attestations(v, &out);
        age = number("\"age_seconds\":");
        assert_true(age >= 0 && age < 60);
    }
}

static void gpus_that_show_nothing(void **state)
{
    const bool turns[] = {false, false, true, false};
    for (size_t i = 0; i < 4; i++) {
        note(turns[i]);
        buf_reset(&out);
        status_append_verdict_metrics(v, &out);
        assert_int_equal(number("\ne2ee_proxy_attestation_gpus{model=\"m\"} "), turns[i]);
        assert_int_equal(v->outcomes[0].gpus_missed, !turns[i]);
    }
    /* A refusal warns of nothing: it says why itself. */
    verdict_init(verdict, 0);
    verdict_fail(verdict, "body", "made up");
    verdict_close(verdict);
    verifier_note(v, "other", verdict);
    assert_false(v->outcomes[1].gpus_missed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(ages_do_not_follow_the_clock, set_up, tear_down),
        cmocka_unit_test_setup_teardown(gpus_that_show_nothing, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("verdicts as they are told", tests, NULL, NULL);
}
