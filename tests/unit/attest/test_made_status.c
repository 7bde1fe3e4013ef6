/* Every status of platform × module × quoting enclave, and every pair of launch and current status, in signed
 * evidence; what the policy makes of them. The expectations are Intel's rules said once more, in words and flags instead
 * of a table: see expected_status. */
#include <stdio.h>

#include "made.h"

static const char *const platform_words[] = {"UpToDate",
                                             "SWHardeningNeeded",
                                             "ConfigurationNeeded",
                                             "ConfigurationAndSWHardeningNeeded",
                                             "OutOfDate",
                                             "OutOfDateConfigurationNeeded",
                                             "Revoked"};
static const char *const part_words[] = {"UpToDate", "OutOfDate", "Revoked"};
#define PLATFORMS (sizeof platform_words / sizeof platform_words[0])

/* A status is revoked, or it may be out of date, and it may need configuration; hardening is what is left when neither
 * applies. A part that is out of date makes the whole so. */
static const char *expected_status(const char *platform, const char *module, const char *qe)
{
    bool revoked = strstr(platform, "Revoked") || strstr(module, "Revoked") || strstr(qe, "Revoked");
    bool old = strstr(platform, "OutOfDate") || strstr(module, "OutOfDate") || strstr(qe, "OutOfDate");
    bool configure = strstr(platform, "Configuration") != NULL;
    if (revoked) {
        return "Revoked";
    }
    if (old) {
        return configure ? "OutOfDateConfigurationNeeded" : "OutOfDate";
    }
    return platform;
}

static void parts(void **state)
{
    struct made m;
    (void)state;
    made_init(&m);
    for (size_t p = 0; p < PLATFORMS; p++) {
        for (size_t q = 0; q < 3; q++) {
            for (size_t t = 0; t < 3; t++) {
                struct pki_spec spec;
                pki_spec_good(&spec, MADE_NOW);
                spec.levels[0].status = platform_words[p];
                spec.qe_status = part_words[q];
                spec.module_status[0] = part_words[t];
                made_judge(&m, &spec);
                const char *expected = expected_status(platform_words[p], part_words[t], part_words[q]);
                assert_string_equal(tcb_status_name(m.v->tcb_status), expected);
                bool good = strcmp(expected, "UpToDate") == 0 || strcmp(expected, "SWHardeningNeeded") == 0;
                made_expect(&m, expected, good ? NULL : "tcb.status");
            }
        }
    }
    made_free(&m);
}

/* Launched at one level, running at another. */
static void relaunch(void **state)
{
    struct made m;
    (void)state;
    made_init(&m);
    for (size_t l = 0; l < PLATFORMS; l++) {
        for (size_t c = 0; c < PLATFORMS; c++) {
            const char *launch = platform_words[l], *current = platform_words[c];
            struct pki_spec spec;
            pki_spec_good(&spec, MADE_NOW);
            spec.version = 5;
            spec.body_type = 3;
            spec.levels[0].status = current;
            spec.levels[1] = (struct pki_level){5, 3, 13, launch, NULL};
            spec.tee_tcb_svn[4] = 3;
            made_judge(&m, &spec);
            char expected[64];
            snprintf(expected, sizeof expected, "%s", launch);
            if (strcmp(current, "Revoked") == 0) {
                snprintf(expected, sizeof expected, "Revoked"); /* stricter than Intel's library */
            } else if (strncmp(launch, "OutOfDate", 9) == 0 && strncmp(current, "OutOfDate", 9) != 0) {
                bool configure = strstr(launch, "Configuration") || strstr(current, "Configuration");
                snprintf(expected, sizeof expected, "TDRelaunchAdvised%s",
                         configure ? "ConfigurationNeeded" : "");
            }
            assert_string_equal(tcb_status_name(m.v->tcb_status), expected);
            assert_string_equal(tcb_status_name(m.v->platform.platform), launch);
            assert_string_equal(tcb_status_name(m.v->platform.current), current);
        }
    }
    made_free(&m);
}

/* Old by its SGX component, PCE, TDX component, module and quoting enclave: the refusal says each, and the line that
 * would accept it. */
static void refusal_explains(void **state)
{
    struct pki_spec spec;
    struct made m;
    (void)state;
    made_init(&m);
    pki_spec_good(&spec, MADE_NOW);
    spec.component[3] = spec.cpusvn[3] = 4;
    spec.pcesvn = 12;
    spec.tee_tcb_svn[2] = 3;
    spec.tee_tcb_svn[0] = 3;
    made_judge(&m, &spec);
    made_expect(&m, "old everywhere", "tcb.status");
    static const char *const parts_of_it[] = {
        "OutOfDate (TCB of 2025-04-01)",   "SGX component 3 is 4, needs 5",
        "PCE SVN is 12, needs 13",         "TDX component 2 is 3, needs 5",
        "TDX module 1 has SVN 3, needs 5", "`allow_advisories = INTEL-SA-00001`",
    };
    for (size_t i = 0; i < sizeof parts_of_it / sizeof parts_of_it[0]; i++) {
        if (strstr(m.v->reason, parts_of_it[i]) == NULL) {
            fail_msg("%s is not in: %s", parts_of_it[i], m.v->reason);
        }
    }
    assert_int_equal(m.v->advisory_count, 1);
    assert_string_equal(m.v->advisories[0], "INTEL-SA-00001");
    made_free(&m);
}

/* More advisories than a line of a policy holds: the line named is one that can be written. */
static void many_advisories(void **state)
{
    struct pki_spec spec;
    struct made m;
    char list[512] = "INTEL-SA-00001";
    (void)state;
    for (int i = 0; i < 20; i++) {
        size_t len = strlen(list);
        snprintf(list + len, sizeof list - len, "\",\"INTEL-SA-1%04d", i);
    }
    made_init(&m);
    pki_spec_good(&spec, MADE_NOW);
    spec.levels[1].advisory = list;
    spec.pcesvn = 12;
    made_judge(&m, &spec);
    made_expect(&m, "many advisories", "tcb.status");
    assert_int_equal(m.v->advisory_count, 21);
    assert_non_null(strstr(m.v->reason, "21 advisories; the policy line `accept = OutOfDate` in [tcb]"));
    made_free(&m);
}

static void policy_accepts(void **state)
{
    struct pki_spec spec;
    struct made m;
    struct err err;
    (void)state;
    made_init(&m);
    pki_spec_good(&spec, MADE_NOW);
    spec.component[0] = spec.cpusvn[0] = 4; /* the second level: OutOfDate, INTEL-SA-00001 */
    const struct {
        const char *policy, *check;
    } rows[] = {
        {"", "tcb.status"},
        {"[tcb]\naccept = OutOfDate\n", NULL},
        {"[tcb]\naccept = SWHardeningNeeded,\n  OutOfDate\n", NULL},
        {"[tcb]\naccept = OutOfDateConfigurationNeeded\n", "tcb.status"},
        {"[tcb]\nallow_advisories = INTEL-SA-00001\n", NULL},
        {"[tcb]\nallow_advisories = INTEL-SA-00002, INTEL-SA-00001\n", NULL},
        {"[tcb]\nallow_advisories = INTEL-SA-00002\n", "tcb.status"},
        {"[tcb]\naccept = TDRelaunchAdvised\n", "tcb.status"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_true(policy_parse(&m.policy, "test", rows[i].policy, &err));
        m.policy.pins = POLICY_PINS_OFF;
        made_judge(&m, &spec);
        made_expect(&m, rows[i].policy, rows[i].check);
        assert_int_equal(m.v->tcb_status, TCB_OUT_OF_DATE);
        if (rows[i].check == NULL) {
            assert_non_null(strstr(verdict_find(m.v, "tcb.status")->detail, "WARNING"));
        }
    }
    /* An empty list of advisories is nothing that an allow-list could allow. */
    spec.levels[1].advisory = NULL;
    assert_true(policy_parse(&m.policy, "test", "[tcb]\nallow_advisories = INTEL-SA-00001\n", &err));
    m.policy.pins = POLICY_PINS_OFF;
    made_judge(&m, &spec);
    made_expect(&m, "no advisories", "tcb.status");
    /* Relaunch advice is OutOfDate to the policy, and Revoked is beyond it. */
    assert_true(policy_parse(&m.policy, "test", "[tcb]\naccept = OutOfDate\n", &err));
    m.policy.pins = POLICY_PINS_OFF;
    pki_spec_good(&spec, MADE_NOW);
    spec.version = 5;
    spec.body_type = 3;
    spec.tee_tcb_svn[0] = 3;
    made_judge(&m, &spec);
    made_expect(&m, "relaunch", NULL);
    assert_int_equal(m.v->tcb_status, TCB_TD_RELAUNCH_ADVISED);
    spec.module_status[1] = "Revoked";
    made_judge(&m, &spec);
    made_expect(&m, "revoked", "tcb.status");
    made_free(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts),
        cmocka_unit_test(relaunch),
        cmocka_unit_test(refusal_explains),
        cmocka_unit_test(many_advisories),
        cmocka_unit_test(policy_accepts),
    };
    return cmocka_run_group_tests_name("TCB statuses in evidence", tests, NULL, NULL);
}
