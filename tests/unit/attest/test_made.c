/* What no public capture has: debug mode, revocations, wrong roles, every date, odd documents. */
#include "made.h"

typedef void (*change_fn)(struct pki_spec *s);
#define CHANGE(name, ...)                                                                                    \
    static void name(struct pki_spec *s)                                                                     \
    {                                                                                                        \
        __VA_ARGS__;                                                                                         \
    }
#define EDIT_TCB(find, replace) s->tcb_find = find, s->tcb_replace = replace
#define EDIT_QE(find, replace) s->qe_find = find, s->qe_replace = replace

CHANGE(nothing, (void)s)
CHANGE(td_debug, s->td_attributes[0] = 1)
CHANGE(td_under_debug, s->td_attributes[0] = 0x80)
CHANGE(td_sept_off, s->td_attributes[3] = 0)
CHANGE(td_migratable, s->td_attributes[3] |= 0x20)
CHANGE(td_unknown, s->td_attributes[5] = 1)
CHANGE(td_harmless, s->td_attributes[3] |= 0xc0; s->td_attributes[7] = 0x80)
CHANGE(td_owner, s->mr_owner[47] = 1)
CHANGE(td15, s->version = 5; s->body_type = 3)
CHANGE(td10_in_v5, s->version = 5; s->body_type = 2)
CHANGE(td_service, td15(s); s->mr_service_td[0] = 1)
CHANGE(revoked_pck, s->revoke_pck = true)
CHANGE(revoked_ca, s->revoke_ca = true)
CHANGE(revoked_signer, s->revoke_signer = true)
CHANGE(wrong_pck_name, s->pck_cn = "Intel SGX PCK Certificates")
CHANGE(wrong_ca_name, s->ca_cn = "Intel SGX PCK CA")
CHANGE(processor_ca, s->ca_cn = "Intel SGX PCK Processor CA")
CHANGE(wrong_root_name, s->root_cn = "Intel SGX Root CA 2")
CHANGE(wrong_signer_name, s->signer_cn = "Intel SGX PCK Certificate")
CHANGE(signer_under_ca, s->signer_under_ca = true)
CHANGE(other_curve, s->pck_not_p256 = true)
CHANGE(expired_pck, s->cert_until = MADE_NOW - 1)
CHANGE(root_crl_old, s->root_crl_until = MADE_NOW - 1)
CHANGE(root_crl_future, s->root_crl_from = MADE_NOW + 1)
CHANGE(root_crl_open, s->root_crl_until = 0)
CHANGE(pck_crl_old, s->pck_crl_until = MADE_NOW - 1)
CHANGE(pck_crl_last_second, s->pck_crl_until = MADE_NOW)
CHANGE(pck_crl_future, s->pck_crl_from = MADE_NOW + 1)
CHANGE(pck_crl_open, s->pck_crl_until = 0)
CHANGE(unnumbered_crl, s->crl_without_number = true)
CHANGE(tcb_old, s->tcb_until = MADE_NOW - 1)
CHANGE(tcb_future, s->tcb_from = MADE_NOW + 1)
CHANGE(qe_old, s->qe_until = MADE_NOW - 1)
CHANGE(qe_future, s->qe_from = MADE_NOW + 1)
CHANGE(evaluations_differ, s->qe_evaluation = 18)
CHANGE(cpusvn_differs, s->cpusvn[3] ^= 1)
CHANGE(large_svns, memset(s->component, 0xff, 16); memset(s->cpusvn, 0xff, 16); s->pcesvn = 0xffff)
CHANGE(duplicate_key, EDIT_TCB("\"version\":3", "\"version\":3,\"\\u0076ersion\":3"))
CHANGE(duplicate_deep, EDIT_TCB("\"tcbType\":0", "\"tcbType\":0,\"x\":[{\"a\":1,\"a\":2}]"))
CHANGE(tcb_sgx, EDIT_TCB("\"id\":\"TDX\"", "\"id\":\"SGX\""))
CHANGE(tcb_version_2, EDIT_TCB("\"version\":3", "\"version\":2"))
CHANGE(tcb_type_1, EDIT_TCB("\"tcbType\":0", "\"tcbType\":1"))
CHANGE(tcb_status_unknown, EDIT_TCB("\"OutOfDate\"", "\"Fine\""))
CHANGE(tcb_few_components, EDIT_TCB("[{\"svn\":5},", "["))
CHANGE(tcb_svn_256, EDIT_TCB("{\"svn\":5}", "{\"svn\":256}"))
CHANGE(tcb_no_date, EDIT_TCB("2025-09-01T", "2025-09-31T"))
CHANGE(tcb_extra, EDIT_TCB("\"tcbType\":0", "\"tcbType\":0,\"new\":{}"))
CHANGE(tcb_other_fmspc, EDIT_TCB("90C06F", "90C06E"))
CHANGE(tcb_lower_fmspc, EDIT_TCB("90C06F", "90c06f"))
CHANGE(tcb_other_pceid, EDIT_TCB("\"pceId\":\"0000\"", "\"pceId\":\"0001\""))
CHANGE(levels_twice, s->levels[1] = s->levels[0])
CHANGE(levels_unsorted, struct pki_level l = s->levels[0]; s->levels[0] = s->levels[1]; s->levels[1] = l)
CHANGE(module_unknown, s->tee_tcb_svn[1] = 2)
CHANGE(module_lower_case, EDIT_TCB("TDX_01", "tdx_01"))
CHANGE(module_too_old, s->tee_tcb_svn[0] = 2)
CHANGE(module_revoked, s->module_status[0] = "Revoked")
CHANGE(module_old, s->tee_tcb_svn[0] = 3)
CHANGE(module_signer, s->mr_signer_seam[0] = 1)
CHANGE(module_attributes, s->seam_attributes[0] = 1)
CHANGE(module_masked, s->seam_attributes[0] = 1;
       EDIT_TCB("FFFFFFFFFFFFFFFF\",\"tcbLevels", "0000000000000000\",\"tcbLevels"))
CHANGE(module_none, s->tee_tcb_svn[1] = 0)
CHANGE(module_none_old, s->tee_tcb_svn[1] = 0; s->tee_tcb_svn[0] = 2)
CHANGE(module_current_unknown, td15(s); s->tee_tcb_svn2[1] = 9)
CHANGE(platform_too_old, s->component[9] = s->cpusvn[9] = 2)
CHANGE(pce_too_old, s->pcesvn = 10)
CHANGE(tdx_too_old, s->tee_tcb_svn[7] = 2)
CHANGE(qe_signer, s->qe_mrsigner0 = 1)
CHANGE(qe_debug, s->qe_attributes0 = 2)
CHANGE(qe_masked_bit, s->qe_attributes0 = 4)
CHANGE(qe_product, s->qe_isvprodid = 3)
CHANGE(qe_too_old, s->qe_isvsvn = 3)
CHANGE(qe_id_sgx, EDIT_QE("TD_QE", "QE"))
CHANGE(qe_version_3, EDIT_QE("\"version\":2", "\"version\":3"))
CHANGE(qe_duplicate, EDIT_QE("\"isvprodid\":2", "\"isvprodid\":2,\"isvprodid\":3"))
CHANGE(qe_status_unknown, s->qe_status = "SWHardeningNeeded")
CHANGE(qe_data_tail, s->qe_report_data_tail = 1)
CHANGE(auth_none, s->auth_len = 0)
CHANGE(auth_long, s->auth_len = 5000)
CHANGE(no_padding, s->padding = 0)

static const struct {
    const char *name;
    change_fn change;
    const char *check; /* NULL: verified */
} cases[] = {
#define CASE(change, check)                                                                                  \
    {                                                                                                        \
#change, change, check                                                                               \
    }
    CASE(nothing, NULL),
    CASE(td_debug, "td.debug"),
    CASE(td_under_debug, "td.debug"),
    CASE(td_sept_off, "td.attributes"),
    CASE(td_migratable, "td.attributes"),
    CASE(td_unknown, "td.attributes"),
    CASE(td_harmless, NULL),
    CASE(td_owner, "td.owner"),
    CASE(td15, NULL),
    CASE(td10_in_v5, NULL),
    CASE(td_service, "td.service"),
    CASE(revoked_pck, "pck.chain"),
    CASE(revoked_ca, "pck.chain"),
    CASE(revoked_signer, "tcb_info.signature"),
    CASE(wrong_pck_name, "pck.format"),
    CASE(wrong_ca_name, "pck.format"),
    CASE(processor_ca, NULL),
    CASE(wrong_root_name, "pck.format"),
    CASE(wrong_signer_name, "tcb_info.signature"),
    CASE(signer_under_ca, "tcb_info.signature"),
    CASE(other_curve, "pck.chain"),
    CASE(expired_pck, "pck.chain"),
    CASE(root_crl_old, "root.crl"),
    CASE(root_crl_future, "root.crl"),
    CASE(root_crl_open, "root.crl"),
    CASE(pck_crl_old, "pck.crl"),
    CASE(pck_crl_last_second, NULL),
    CASE(pck_crl_future, "pck.crl"),
    CASE(pck_crl_open, "pck.crl"),
    CASE(unnumbered_crl, "root.crl"),
    CASE(tcb_old, "tcb_info"),
    CASE(tcb_future, "tcb_info"),
    CASE(qe_old, "qe_identity"),
    CASE(qe_future, "qe_identity"),
    CASE(evaluations_differ, "tcb.evaluation"),
    CASE(cpusvn_differs, "pck.extension"),
    CASE(large_svns, NULL),
    CASE(duplicate_key, "tcb_info.signature"),
    CASE(duplicate_deep, "tcb_info.signature"),
    CASE(tcb_sgx, "tcb_info"),
    CASE(tcb_version_2, "tcb_info"),
    CASE(tcb_type_1, "tcb_info"),
    CASE(tcb_status_unknown, "tcb_info"),
    CASE(tcb_few_components, "tcb_info"),
    CASE(tcb_svn_256, "tcb_info"),
    CASE(tcb_no_date, "tcb_info"),
    CASE(tcb_extra, NULL),
    CASE(tcb_other_fmspc, "tcb_info.platform"),
    CASE(tcb_lower_fmspc, NULL),
    CASE(tcb_other_pceid, "tcb_info.platform"),
    CASE(levels_twice, "tcb_info"),
    CASE(levels_unsorted, NULL),
    CASE(module_unknown, "tdx.module"),
    CASE(module_lower_case, NULL),
    CASE(module_too_old, "tdx.module"),
    CASE(module_revoked, "tcb.status"),
    CASE(module_old, "tcb.status"),
    CASE(module_signer, "tdx.module"),
    CASE(module_attributes, "tdx.module"),
    CASE(module_masked, "tdx.module"),
    CASE(module_none, NULL),
    CASE(module_none_old, "tcb.level"),
    CASE(module_current_unknown, "tdx.module"),
    CASE(platform_too_old, "tcb.level"),
    CASE(pce_too_old, "tcb.level"),
    CASE(tdx_too_old, "tcb.level"),
    CASE(qe_signer, "qe.identity"),
    CASE(qe_debug, "qe.identity"),
    CASE(qe_masked_bit, NULL),
    CASE(qe_product, "qe.identity"),
    CASE(qe_too_old, "qe.identity"),
    CASE(qe_id_sgx, "qe_identity"),
    CASE(qe_version_3, "qe_identity"),
    CASE(qe_duplicate, "qe_identity"),
    CASE(qe_status_unknown, "qe_identity"),
    CASE(qe_data_tail, "qe.binding"),
    CASE(auth_none, NULL),
    CASE(auth_long, NULL),
    CASE(no_padding, NULL),
};

static void each_case(void **state)
{
    struct made m;
    (void)state;
    made_init(&m);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct pki_spec spec;
        pki_spec_good(&spec, MADE_NOW);
        cases[i].change(&spec);
        made_judge(&m, &spec);
        made_expect(&m, cases[i].name, cases[i].check);
        if (cases[i].check != NULL && strncmp(cases[i].check, "td.", 3) != 0 &&
            strcmp(cases[i].check, "tcb.status") != 0) {
            assert_int_equal(m.v->tcb_status, TCB_NONE);
        }
    }
    made_free(&m);
}

/* Evidence under another root is nothing to Intel's. */
static void not_intels_root(void **state)
{
    struct pki_spec spec;
    struct made m;
    (void)state;
    made_init(&m);
    pki_spec_good(&spec, MADE_NOW);
    m.intel_root = true;
    made_judge(&m, &spec);
    made_expect(&m, "Intel's root", "pck.format");
    made_free(&m);
}

/* Guards of the caller: rollback floor and the policy's smallest evaluation. */
static void guards(void **state)
{
    struct pki_spec spec;
    struct made m;
    (void)state;
    made_init(&m);
    pki_spec_good(&spec, MADE_NOW);
    m.floor = (struct attest_floor){19, 7, 7};
    made_judge(&m, &spec);
    made_expect(&m, "floor reached", NULL);
    assert_int_equal(m.v->platform.pck_crl_number, 7);
    assert_int_equal(m.v->not_after, MADE_NOW + 29 * 86400);
    m.floor.pck_crl_number = 8;
    made_judge(&m, &spec);
    made_expect(&m, "older PCK CRL", "rollback");
    m.floor = (struct attest_floor){0, 0, 8};
    made_judge(&m, &spec);
    made_expect(&m, "older root CRL", "rollback");
    m.floor = (struct attest_floor){0, 0, 0};
    m.policy.min_evaluation = 20;
    made_judge(&m, &spec);
    made_expect(&m, "min_evaluation", "tcb.evaluation");
    made_free(&m);
}

#define DAY 86400
#define HOUR 3600
CHANGE(stale_root_crl, s->root_crl_until = MADE_NOW - DAY; s->pck_crl_from = MADE_NOW - HOUR)
CHANGE(stale_pck_crl, s->pck_crl_until = MADE_NOW - DAY; s->root_crl_from = MADE_NOW - HOUR)
CHANGE(stale_crls, s->root_crl_until = s->pck_crl_until = MADE_NOW - DAY)
CHANGE(stale_tcb, s->tcb_until = MADE_NOW - DAY; s->pck_crl_from = s->root_crl_from = MADE_NOW - HOUR)
CHANGE(stale_qe, s->qe_until = MADE_NOW - DAY; s->pck_crl_from = s->root_crl_from = MADE_NOW - HOUR)
CHANGE(stale_root_crl_revokes, stale_root_crl(s); s->revoke_ca = true)
CHANGE(stale_pck_crl_revokes, stale_pck_crl(s); s->revoke_pck = true)
CHANGE(stale_signer_revoked, stale_root_crl(s); s->revoke_signer = true)
CHANGE(stale_and_future, s->root_crl_until = MADE_NOW - DAY; s->pck_crl_from = MADE_NOW + 1)
CHANGE(stale_and_open, s->root_crl_until = MADE_NOW - DAY; s->pck_crl_until = 0)
CHANGE(expired_now, s->cert_until = MADE_NOW - HOUR)
CHANGE(expired_and_stale, stale_root_crl(s); s->cert_until = MADE_NOW - HOUR)

/* allow_stale forgives collateral that has ended, each piece by itself at the true moment, and nothing else. */
static void stale_by_policy(void **state)
{
    static const struct {
        const char *name;
        change_fn change;
        const char *strict, *check; /* without allow_stale, and with it; NULL: verified */
    } stale[] = {
        {"root CRL", stale_root_crl, "root.crl", NULL},
        {"PCK CRL", stale_pck_crl, "pck.crl", NULL},
        {"both CRLs", stale_crls, "root.crl", NULL},
        {"TCB info", stale_tcb, "tcb_info", NULL},
        {"QE identity", stale_qe, "qe_identity", NULL},
        {"CA revoked", stale_root_crl_revokes, "root.crl", "pck.chain"},
        {"PCK revoked", stale_pck_crl_revokes, "pck.crl", "pck.chain"},
        {"signer revoked", stale_signer_revoked, "root.crl", "tcb_info.signature"},
        {"PCK CRL of the future", stale_and_future, "root.crl", "pck.crl"},
        {"PCK CRL without end", stale_and_open, "root.crl", "pck.crl"},
        {"PCK certificate expired", expired_now, "pck.chain", "pck.chain"},
        {"and a CRL stale", expired_and_stale, "root.crl", "pck.chain"},
    };
    struct made m;
    (void)state;
    made_init(&m);
    for (size_t i = 0; i < sizeof stale / sizeof stale[0]; i++) {
        struct pki_spec spec;
        pki_spec_good(&spec, MADE_NOW);
        stale[i].change(&spec);
        m.policy.allow_stale_s = 0;
        made_judge(&m, &spec);
        made_expect(&m, stale[i].name, stale[i].strict);
        m.policy.allow_stale_s = DAY;
        made_judge(&m, &spec);
        made_expect(&m, stale[i].name, stale[i].check);
        if (stale[i].check == NULL) {
            assert_int_equal(verdict_find(m.v, "collateral.age")->result, CHECK_FAIL);
            assert_int_equal(m.v->not_after, MADE_NOW); /* the last moment of its allowance */
            m.policy.allow_stale_s = DAY - 1;
            made_judge(&m, &spec);
            made_expect(&m, stale[i].name, stale[i].strict);
        }
    }
    made_free(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_case),
        cmocka_unit_test(not_intels_root),
        cmocka_unit_test(guards),
        cmocka_unit_test(stale_by_policy),
    };
    return cmocka_run_group_tests_name("made-up evidence", tests, NULL, NULL);
}
