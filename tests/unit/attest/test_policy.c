/* Policy files, and pins judged by them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "attest/pins.h"
#include "base/mem.h"
#include "fault.h"

#define H20 "5555555555555555555555555555555555555555"
#define H32 "4444444444444444444444444444444444444444444444444444444444444444"
#define H48 "111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111"

static void refused(void **state)
{
    static const struct {
        const char *text, *where;
    } bad[] = {
        {"[tcb]\naccept = Revoked\n", "line 2"},
        {"[tcb]\naccept = Fine\n", "line 2"},
        {"[tcb]\n\nmin_evaluation = -1\n", "line 3"},
        {"[tcb]\nmin_evaluation = 1\nmin_evaluation = 2\n", "line 3"},
        {"[tcb]\nallow_stale = 1 day\n", "line 2"},
        {"[tcb]\nallow_advisories = <x>\n", "line 2"},
        {"[tcb]\nacept = UpToDate\n", "line 2"},
        {"[tpm]\na = b\n", "line 2"},
        {"a = b\n", "line 1"},
        {"[tcb]\nnonsense\n", "line 2"},
        {"[pins]\nmode = off\n", "line 2"},
        {"[pins]\nmode = warn\nmode = warn\n", "line 3"},
        {"[gpu]\ncheck = maybe\n", "line 2"},
        {"[pin a]\nmodel = m\nmrtd = 11\n", "line 3"},
        {"[pin a]\nmodel = m\nmrtd = " H48 "\n", "[pin a]"},
        {"[pin a]\nmodel = m\n", "pins nothing"},
        {"[pin a]\ncompose_hash = " H32 "\n", "no model"},
        {"[pin a]\nmodel = m\napp_id = " H20 "\n", "kms"},
        {"[pin a]\nmodel = m\napp_id = " H20 "\nkey_provider = tpm\nkey_provider_id_sha256 = " H32 "\n",
         "kms"},
        {"[pin a]\nmodel = m\nkey_provider_id = 00\n", "without"},
        {"[pin a]\nmodel = m\ncolour = red\n", "line 3"},
        {"[tcb]\naccept = UpToDate                                                                           "
         "       "
         "                                                                                                   "
         "     \n",
         "line 2"},
    };
    struct attest_policy p;
    (void)state;
    policy_init(&p);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct err err = {0};
        if (policy_parse(&p, "f.ini", bad[i].text, &err)) {
            fail_msg("accepted: %s", bad[i].text);
        }
        assert_int_equal(err.kind, ERR_CONFIG);
        if (strstr(err.message, bad[i].where) == NULL) {
            fail_msg("%s says: %s", bad[i].text, err.message);
        }
        assert_int_equal(p.accepted_count, 0);
    }
    policy_free(&p);
}

/* Three ways to look at GPUs; each is shown as what it was written as. */
static void gpu_checks(void **state)
{
    static const struct {
        const char *word;
        bool enforced, required;
    } ways[] = {{"report", false, false}, {"enforce", true, false}, {"require", true, true}};
    struct attest_policy p;
    struct buf text;
    struct err err = {0};
    char line[64];
    (void)state;
    policy_init(&p);
    buf_init(&text, 0);
    assert_true(p.gpu_enforced && !p.gpu_required);
    for (size_t i = 0; i < 3; i++) {
        uint8_t a[SHA256_BYTES], b[SHA256_BYTES];
        assert_true(policy_digest(&p, a));
        snprintf(line, sizeof line, "[gpu]\ncheck = %s\n", ways[i].word);
        assert_true(policy_parse(&p, "f.ini", line, &err));
        assert_int_equal(p.gpu_enforced, ways[i].enforced);
        assert_int_equal(p.gpu_required, ways[i].required);
        assert_true(policy_digest(&p, b));
        assert_memory_not_equal(a, b, sizeof a); /* sessions end when it changes */
        assert_true(policy_show(&p, &text, &err));
        snprintf(line, sizeof line, "; f.ini, line 2:\ncheck = %s\n", ways[i].word);
        assert_non_null(strstr(buf_cstr(&text), line));
    }
    buf_free(&text);
    policy_free(&p);
}

static const char full[] =
    "[tcb]\naccept = OutOfDate\nmin_evaluation = 20\nallow_stale = 60\n[pins]\nmode = policy\n[gpu]\n"
    "check = report\n[pin a]\nmodel = m\nmrtd = " H48 "\nrtmr1 = " H48 "\nrtmr2 = " H48
    "\ncompose_hash = " H32 "\nkey_provider = kms\nkey_provider_id_sha256 = " H32
    "\n[pin b]\nmodel = *\napp_id = " H20 "\nkey_provider = kms\nkey_provider_id = 00\n";

static void shown(void **state)
{
    struct attest_policy p, again;
    struct buf text;
    struct err err = {0};
    uint8_t a[SHA256_BYTES], b[SHA256_BYTES];
    (void)state;
    policy_init(&p);
    policy_init(&again);
    buf_init(&text, 0);
    assert_true(policy_show(&p, &text, &err));
    assert_non_null(strstr(buf_cstr(&text), "; built in:\naccept = UpToDate, SWHardeningNeeded\n"));
    assert_non_null(strstr(buf_cstr(&text), "mode = first-use"));
    assert_true(policy_parse(&p, "f.ini", full, &err));
    assert_int_equal(p.accept, TCB_BIT(TCB_UP_TO_DATE) | TCB_BIT(TCB_OUT_OF_DATE));
    assert_int_equal(p.min_evaluation, 20);
    assert_int_equal(p.allow_stale_s, 60);
    assert_int_equal(p.pins, POLICY_PINS_POLICY);
    assert_false(p.gpu_enforced);
    assert_int_equal(p.accepted_count, 2);
    assert_true(policy_show(&p, &text, &err));
    assert_non_null(strstr(buf_cstr(&text), "; f.ini, line 3:\nmin_evaluation = 20\n"));
    assert_true(policy_parse(&again, "g.ini", buf_cstr(&text), &err));
    assert_true(policy_digest(&p, a) && policy_digest(&again, b));
    assert_memory_equal(a, b, sizeof a);
    again.min_evaluation++;
    assert_true(policy_digest(&again, b));
    assert_memory_not_equal(a, b, sizeof a);
    for (size_t n = 1;; n++) {
        fault_alloc_at(n);
        bool ok = policy_parse(&p, "f.ini", full, &err);
        bool hit = fault_alloc_hit();
        fault_alloc_at(0);
        assert_true(ok != hit);
        if (ok) {
            break;
        }
        assert_int_equal(err.kind, ERR_MEMORY);
        assert_null(p.accepted);
    }
    buf_free(&text);
    policy_free(&p);
    policy_free(&again);
}

/* A verified guest whose values are those of pin a above. */
static void guest(struct attest_verdict *v)
{
    verdict_init(v, 1);
    v->quote_verified = v->measurements.present = v->guest.log_replayed = true;
    memset(v->measurements.mrtd, 0x11, MEASUREMENT_BYTES);
    memset(v->measurements.rtmr[1], 0x11, MEASUREMENT_BYTES);
    memset(v->measurements.rtmr[2], 0x11, MEASUREMENT_BYTES);
    v->guest.has_compose_hash = v->guest.has_key_provider = v->guest.has_app_id = true;
    memset(v->guest.compose_hash, 0x44, sizeof v->guest.compose_hash);
    memset(v->guest.key_provider_id, 0x44, sizeof v->guest.key_provider_id);
    memset(v->guest.app_id, 0x77, sizeof v->guest.app_id);
    snprintf(v->guest.key_provider, sizeof v->guest.key_provider, "kms");
}

static enum check_result pinned(struct attest_verdict *v, const struct attest_policy *p, const char *model,
                                const struct attest_pin *stored, size_t count)
{
    pins_check(v, p, model, stored, count);
    verdict_close(v);
    return verdict_find(v, "pins")->result;
}

static void pins_by_policy(void **state)
{
    struct attest_policy p;
    struct err err = {0};
    struct attest_verdict *v = mem_alloc(sizeof *v);
    (void)state;
    assert_non_null(v);
    policy_init(&p);
    assert_true(policy_parse(&p, "f.ini", full, &err));
    guest(v);
    assert_int_equal(pinned(v, &p, "m", NULL, 0), CHECK_PASS);
    assert_true(v->verified);
    assert_int_equal(v->level, ATTEST_LEVEL_3);
    guest(v);
    v->guest.compose_hash[0] = 0;
    assert_int_equal(pinned(v, &p, "m", NULL, 0), CHECK_FAIL);
    assert_false(v->verified);
    assert_non_null(strstr(v->reason, "compose-hash pinned 4444444444444444, now 0044444444444444"));
    guest(v);
    assert_int_equal(pinned(v, &p, "other", NULL, 0), CHECK_FAIL);
    /* The id of pin b's provider is another one, so that its app id counts for nothing. */
    memset(v->guest.app_id, 0x55, sizeof v->guest.app_id);
    assert_int_equal(pinned(v, &p, "other", NULL, 0), CHECK_FAIL);
    guest(v);
    memset(v->guest.app_id, 0x55, sizeof v->guest.app_id);
    assert_true(hash_sha256(v->guest.key_provider_id, "", 1));
    assert_int_equal(pinned(v, &p, "other", NULL, 0), CHECK_PASS);
    assert_int_equal(v->level, ATTEST_LEVEL_1);
    policy_free(&p);
    p.pins = POLICY_PINS_POLICY;
    guest(v);
    assert_int_equal(pinned(v, &p, "m", NULL, 0), CHECK_FAIL);
    mem_free(v);
}

static void pins_of_first_use(void **state)
{
    struct attest_policy p;
    struct attest_pin stored[2];
    struct attest_verdict *v = mem_alloc(sizeof *v);
    (void)state;
    assert_non_null(v);
    policy_init(&p);
    guest(v);
    assert_int_equal(pinned(v, &p, "m", NULL, 0), CHECK_PASS);
    assert_true(v->verified && v->pin_new);
    assert_int_equal(v->level, ATTEST_LEVEL_1);
    assert_true(pins_from_verdict(&stored[0], v, "m"));
    guest(v);
    assert_int_equal(pinned(v, &p, "m", stored, 1), CHECK_PASS);
    assert_false(v->pin_new);
    assert_int_equal(v->level, ATTEST_LEVEL_3);
    guest(v);
    v->measurements.rtmr[2][0] = 9;
    assert_int_equal(pinned(v, &p, "m", stored, 1), CHECK_FAIL);
    assert_non_null(strstr(v->reason, "RTMR2 pinned 1111111111111111, now 0911111111111111"));
    /* Side by side with the first one, once it was accepted. */
    v->verified = true;
    assert_true(pins_from_verdict(&stored[1], v, "m"));
    guest(v);
    v->measurements.rtmr[2][0] = 9;
    assert_int_equal(pinned(v, &p, "m", stored, 2), CHECK_PASS);
    /* Without an event log nothing is known of the compose file, and a pin of it is not met. */
    guest(v);
    memset(&v->guest, 0, sizeof v->guest);
    assert_int_equal(pinned(v, &p, "m", stored, 2), CHECK_FAIL);
    /* warn: loud, but it passes. */
    p.pins = POLICY_PINS_WARN;
    guest(v);
    v->guest.compose_hash[1] = 1;
    assert_int_equal(pinned(v, &p, "m", stored, 2), CHECK_FAIL);
    assert_true(v->verified);
    assert_int_equal(v->level, ATTEST_LEVEL_1);
    /* Nothing is stored of a quote that was not verified. */
    p.pins = POLICY_PINS_FIRST_USE;
    guest(v);
    v->quote_verified = false;
    assert_int_equal(pinned(v, &p, "m", NULL, 0), CHECK_NOT_CHECKED);
    assert_false(v->pin_new);
    assert_false(pins_from_verdict(&stored[0], v, "m"));
    mem_free(v);
}

/* A pin written for the store is a policy's section. */
static void pins_written(void **state)
{
    struct attest_policy p;
    struct attest_pin seen;
    struct buf text;
    struct err err = {0};
    struct attest_verdict *v = mem_alloc(sizeof *v);
    (void)state;
    assert_non_null(v);
    guest(v);
    assert_true(pins_from_verdict(&seen, v, "e2ee-model-1"));
    buf_init(&text, 65536);
    assert_true(pins_write(&text, &seen));
    policy_init(&p);
    if (!policy_parse(&p, "store", buf_cstr(&text), &err)) {
        fail_msg("%s", err.message);
    }
    assert_int_equal(p.accepted_count, 1);
    assert_memory_equal(&p.accepted[0], &seen, sizeof seen);
    policy_free(&p);
    buf_free(&text);
    mem_free(v);
}

/* A list of checks that is full refuses. */
static void full_verdict(void **state)
{
    struct attest_verdict *v = mem_alloc(sizeof *v);
    (void)state;
    assert_non_null(v);
    verdict_init(v, 0);
    verdict_close(v);
    assert_false(v->verified);
    for (size_t i = 0; i < VERDICT_CHECKS_MAX; i++) {
        assert_true(verdict_pass(v, "x", "fine"));
    }
    verdict_close(v);
    assert_true(v->verified);
    assert_false(verdict_pass(v, "x", "fine"));
    verdict_close(v);
    assert_false(v->verified);
    verdict_init(v, 0);
    assert_false(verdict_add(v, "reported", CHECK_FAIL, false, "not so bad"));
    verdict_close(v);
    assert_true(v->verified);
    assert_false(verdict_add(v, "skipped", CHECK_NOT_CHECKED, true, "enforced, but not made"));
    verdict_close(v);
    assert_false(v->verified);
    assert_false(verdict_fail(v, "failed", "for good"));
    verdict_close(v);
    assert_string_equal(v->reason, "failed: for good");
    mem_free(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refused),        cmocka_unit_test(gpu_checks),        cmocka_unit_test(shown),
        cmocka_unit_test(pins_by_policy), cmocka_unit_test(pins_of_first_use), cmocka_unit_test(pins_written),
        cmocka_unit_test(full_verdict),
    };
    return cmocka_run_group_tests_name("policy and pins", tests, NULL, NULL);
}
