/* In which order made-up evidence is judged, and in which words: what is said of steps that were not reached. */
#include "made.h"

#define QUOTE_TD_ATTRIBUTES (48 + 120) /* header, and where the TD report has them */

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

static void expect_result(const char *id, enum check_result result)
{
    const struct verdict_check *c = verdict_find(m.v, id);
    if (c == NULL || c->result != result) {
        fail_msg("%s: %s, expected %s", id, c != NULL ? verdict_result_name(c->result) : "absent",
                 verdict_result_name(result));
    }
}

/* attestation.md section 1, step 16: fields of a quote whose signature does not hold are nobody's words. */
static void expect_fields_not_judged(const char *reason)
{
    static const char *const fields[] = {
        "td.debug",        "td.attributes", "td.service",      "td.owner",     "nonce",
        "binding",         "freshness",     "guest.event-log", "guest.events", "guest.compose",
        "guest.config-id", "gpu.evidence",  "gpu.devices",     "pins",
    };
    made_judge(&m, &spec);
    made_expect(&m, reason, reason);
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        expect_result(fields[i], CHECK_NOT_CHECKED);
    }
}

static void fields_need_the_signature(void **state)
{
    m.flip = QUOTE_TD_ATTRIBUTES; /* debug mode, as nobody signed it */
    expect_fields_not_judged("quote.signature");
    m.members = "";
    expect_fields_not_judged("quote.signature");
    m.flip = 0;
    spec.td_attributes[0] = 1; /* signed, but by a machine that Intel revoked */
    spec.revoke_pck = true;
    expect_fields_not_judged("pck.chain");
    spec.revoke_pck = false;
    m.members = NULL;
    made_judge(&m, &spec);
    made_expect(&m, "debug", "td.debug");
    expect_result("td.attributes", CHECK_PASS);
    expect_result("pins", CHECK_NOT_APPLICABLE);
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

/* What the provider says of model and algorithm, which nothing proves, may not contradict what was asked. */
static void claims(void **state)
{
    static const struct {
        const char *members, *model;
        enum check_result of_model, of_algorithm;
    } cases[] = {
        {"", "m", CHECK_NOT_APPLICABLE, CHECK_NOT_APPLICABLE},
        {",\"model\":null,\"signing_algo\":null", "m", CHECK_NOT_APPLICABLE, CHECK_NOT_APPLICABLE},
        {",\"model\":\"m\",\"signing_algo\":\"ecdsa\"", "m", CHECK_PASS, CHECK_PASS},
        {",\"model\":\"m\",\"upstream_model\":\"x/M\",\"model_name\":\"x/M\"", "m", CHECK_PASS,
         CHECK_NOT_APPLICABLE},
        {",\"model\":\"m\"", NULL, CHECK_NOT_CHECKED, CHECK_NOT_APPLICABLE},
        {",\"model\":\"n\"", "m", CHECK_FAIL, CHECK_NOT_APPLICABLE},
        {",\"model\":\"M\"", "m", CHECK_FAIL, CHECK_NOT_APPLICABLE},
        {",\"model\":\"\"", "m", CHECK_FAIL, CHECK_NOT_APPLICABLE},
        {",\"signing_algo\":\"ed25519\"", "m", CHECK_NOT_APPLICABLE, CHECK_FAIL},
        {",\"signing_algo\":\"ECDSA\"", "m", CHECK_NOT_APPLICABLE, CHECK_FAIL},
        {",\"signing_algo\":7", "m", CHECK_NOT_APPLICABLE, CHECK_FAIL},
        {",\"model\":\"n\",\"signing_algo\":\"ed25519\"", "m", CHECK_FAIL, CHECK_FAIL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        m.members = cases[i].members;
        m.model = cases[i].model;
        made_judge(&m, &spec);
        expect_result("body.model", cases[i].of_model);
        expect_result("body.algorithm", cases[i].of_algorithm);
        made_expect(&m, m.members,
                    cases[i].of_model == CHECK_FAIL       ? "body.model"
                    : cases[i].of_algorithm == CHECK_FAIL ? "body.algorithm"
                                                          : "binding"); /* no key in it */
        expect_result("quote.signature", CHECK_PASS);                   /* the others are still shown */
    }
    m.members = ",\"model\":7";
    made_judge(&m, &spec);
    made_expect(&m, "a model that is no text", "body");
}

/* Software that was not pinned behind a key that is not bound: the reason is what is really wrong. */
static void binding_before_pins(void **state)
{
    struct attest_pin other = {.label = "a", .model = "m", .has_os = true};
    memset(other.mrtd, 1, sizeof other.mrtd);
    m.policy.pins = POLICY_PINS_POLICY;
    m.policy.accepted = mem_calloc(1, sizeof other);
    assert_non_null(m.policy.accepted);
    m.policy.accepted[0] = other;
    m.policy.accepted_count = 1;
    m.members = "";
    m.model = "m";
    made_judge(&m, &spec);
    expect_result("pins", CHECK_FAIL);
    made_expect(&m, "both", "binding");
}

/* check = require in [gpu]. */
static void gpus_required(void **state)
{
    static const char *const bodies[] = {NULL, ""};
    for (size_t i = 0; i < 2; i++) {
        m.members = bodies[i];
        m.policy.gpu_enforced = m.policy.gpu_required = true;
        made_judge(&m, &spec);
        expect_result("gpu.evidence", CHECK_FAIL);
        assert_true(verdict_find(m.v, "gpu.evidence")->enforced);
        assert_non_null(strstr(verdict_find(m.v, "gpu.evidence")->detail, "which the policy requires"));
        expect_result("gpu.signature", CHECK_NOT_CHECKED);
        m.policy.gpu_required = false;
        made_judge(&m, &spec);
        expect_result("gpu.evidence", i == 0 ? CHECK_NOT_APPLICABLE : CHECK_NOT_CHECKED);
    }
}

int main(void)
{
#define MADE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        MADE(fields_need_the_signature), MADE(which_svn),     MADE(claims),
        MADE(binding_before_pins),       MADE(gpus_required),
    };
    return cmocka_run_group_tests_name("order of the checks", tests, NULL, NULL);
}
