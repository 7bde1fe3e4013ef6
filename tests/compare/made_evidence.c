/* Writes evidence that nobody can capture, one folder for each case, for scripts/compare_verifiers:
 * made_evidence DIR. Each folder has what the shared vectors' have, the made root, and in expected.json what Intel's rules say. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "pki/pki.h"

#define NOW 1790000000

typedef void (*change_fn)(struct pki_spec *s);
#define CHANGE(name, ...)                                                                                    \
    static void name(struct pki_spec *s)                                                                     \
    {                                                                                                        \
        __VA_ARGS__;                                                                                         \
    }
#define EDIT_TCB(find, replace) s->tcb_find = find, s->tcb_replace = replace

CHANGE(good, (void)s)
CHANGE(good_td15, s->version = 5; s->body_type = 3)
CHANGE(td_debug, s->td_attributes[0] = 1)
CHANGE(td_unknown_bit, s->td_attributes[5] = 1)
CHANGE(td_sept_off, s->td_attributes[3] = 0)
CHANGE(td_service, good_td15(s); s->mr_service_td[0] = 1)
CHANGE(td_owner, s->mr_owner[47] = 1)
CHANGE(revoked_pck, s->revoke_pck = true)
CHANGE(revoked_ca, s->revoke_ca = true)
CHANGE(revoked_signer, s->revoke_signer = true)
CHANGE(signer_name, s->signer_cn = "Intel SGX PCK Certificate")
CHANGE(signer_under_ca, s->signer_under_ca = true)
CHANGE(ca_name, s->ca_cn = "Intel SGX PCK CA")
CHANGE(expired_pck, s->cert_until = NOW - 1)
CHANGE(root_crl_old, s->root_crl_until = NOW - 1)
CHANGE(pck_crl_old, s->pck_crl_until = NOW - 1)
CHANGE(pck_crl_open, s->pck_crl_until = 0)
CHANGE(pck_crl_future, s->pck_crl_from = NOW + 60)
CHANGE(tcb_old, s->tcb_until = NOW - 1)
CHANGE(tcb_future, s->tcb_from = NOW + 60)
CHANGE(qe_old, s->qe_until = NOW - 1)
CHANGE(cpusvn_differs, s->cpusvn[3] ^= 1)
CHANGE(duplicate_key, EDIT_TCB("\"version\":3", "\"version\":3,\"version\":3"))
CHANGE(tcb_for_sgx, EDIT_TCB("\"id\":\"TDX\"", "\"id\":\"SGX\""))
CHANGE(other_fmspc, EDIT_TCB("90c06f", "90c06e"))
CHANGE(other_pceid, EDIT_TCB("\"pceId\":\"0000\"", "\"pceId\":\"0001\""))
CHANGE(module_unknown, s->tee_tcb_svn[1] = 2)
CHANGE(module_revoked, s->module_status[0] = "Revoked")
CHANGE(module_old, s->tee_tcb_svn[0] = 3)
CHANGE(module_signer, s->mr_signer_seam[0] = 1)
CHANGE(module_attributes, s->seam_attributes[0] = 1)
CHANGE(platform_old, s->component[0] = s->cpusvn[0] = 3)
CHANGE(platform_too_old, s->component[9] = s->cpusvn[9] = 2)
CHANGE(pce_too_old, s->pcesvn = 10)
CHANGE(qe_signer, s->qe_mrsigner0 = 1)
CHANGE(qe_report_tail, s->qe_report_data_tail = 1)
CHANGE(evaluations_differ, s->qe_evaluation = s->tcb_evaluation - 1)
CHANGE(padding, s->padding = 70)

/* What Intel's rules, and for the guest's own fields this project's, say of it. */
static const struct {
    const char *name;
    change_fn change;
    bool verified;
    const char *rule;
} cases[] = {
    {"good", good, true, ""},
    {"good-td15", good_td15, true, ""},
    {"padding", padding, true, "bytes behind the signature data are not signed and mean nothing"},
    {"td-debug", td_debug, false, "TDATTRIBUTES.DEBUG: the host reads the guest's memory"},
    {"td-unknown-bit", td_unknown_bit, false, "reserved bits of TDATTRIBUTES are 0"},
    {"td-sept-off", td_sept_off, false, "SEPT_VE_DISABLE is set (this project's rule, and Linux's own)"},
    {"td-service", td_service, false, "MRSERVICETD names a service TD that can migrate the guest"},
    {"td-owner", td_owner, false, "MROWNER is 0 in every guest of the providers (this project's rule)"},
    {"revoked-pck", revoked_pck, false, "PCK certificate is in the CRL of its CA"},
    {"revoked-ca", revoked_ca, false, "PCK CA is in the root's CRL"},
    {"revoked-signer", revoked_signer, false, "TCB signing certificate is in the root's CRL"},
    {"signer-name", signer_name, false, "only a certificate named Intel SGX TCB Signing signs TCB info"},
    {"signer-under-ca", signer_under_ca, false, "the TCB signer is issued by the root"},
    {"ca-name", ca_name, false, "the PCK CA is named Platform CA or Processor CA"},
    {"expired-pck", expired_pck, false, "certificates are valid at the moment"},
    {"root-crl-old", root_crl_old, false, "CRLs are valid at the moment"},
    {"pck-crl-old", pck_crl_old, false, "CRLs are valid at the moment"},
    {"pck-crl-open", pck_crl_open, false, "CRLs have a nextUpdate"},
    {"pck-crl-future", pck_crl_future, false, "CRLs are valid at the moment"},
    {"tcb-old", tcb_old, false, "TCB info is valid at the moment"},
    {"tcb-future", tcb_future, false, "TCB info is valid at the moment"},
    {"qe-old", qe_old, false, "QE identity is valid at the moment"},
    {"cpusvn-differs", cpusvn_differs, false, "CPUSVN is the sixteen component SVNs"},
    {"duplicate-key", duplicate_key, false,
     "a JSON key that comes twice is read differently by different readers"},
    {"tcb-for-sgx", tcb_for_sgx, false, "a TDX quote is judged by TCB info with the id TDX"},
    {"other-fmspc", other_fmspc, false, "TCB info is for the PCK certificate's FMSPC"},
    {"other-pceid", other_pceid, false, "TCB info is for the PCK certificate's PCE-ID"},
    {"module-unknown", module_unknown, false, "TEE_TCB_SVN[1] names a module identity that TCB info lists"},
    {"module-revoked", module_revoked, false, "a revoked module revokes the whole"},
    {"module-old", module_old, false, "an OutOfDate module makes an UpToDate platform OutOfDate"},
    {"module-signer", module_signer, false, "MRSIGNERSEAM is the module identity's"},
    {"module-attributes", module_attributes, false, "SEAMATTRIBUTES are the module identity's, and 0"},
    {"platform-old", platform_old, false, "the platform's level counts, whatever the module's is"},
    {"platform-too-old", platform_too_old, false, "no level fits: not supported"},
    {"pce-too-old", pce_too_old, false, "no level fits: not supported"},
    {"qe-signer", qe_signer, false, "the QE's MRSIGNER is the identity's"},
    {"qe-report-tail", qe_report_tail, false, "the QE's REPORTDATA is a SHA-256 and 32 zeros"},
    {"evaluations-differ", evaluations_differ, false,
     "TCB info and QE identity of one evaluation (this project's rule)"},
};

static void put(const char *dir, const char *name, const void *data, size_t len)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "wb");
    if (f == NULL || fwrite(data, 1, len, f) != len || fclose(f) != 0) {
        perror(path);
        exit(1);
    }
}

static void take(const char *dir, const char *name, struct pki_bytes bytes)
{
    put(dir, name, bytes.data, bytes.len);
    pki_bytes_free(&bytes);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: made_evidence DIR\n");
        return 2;
    }
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pki_spec spec;
        char dir[512], expected[512];
        pki_spec_good(&spec, NOW);
        spec.fmspc_lower = true; /* go-tdx-guest compares letter by letter, with its own small ones */
        cases[i].change(&spec);
        struct pki *pki = pki_new(&spec);
        snprintf(dir, sizeof dir, "%s/%s", argv[1], cases[i].name);
        mkdir(dir, 0755);
        take(dir, "quote.bin", pki_quote(pki, &spec));
        take(dir, "root.pem", pki_root_pem(pki));
        take(dir, "tcb_info.json", pki_tcb_info(pki, &spec));
        take(dir, "qe_identity.json", pki_qe_identity(pki, &spec));
        take(dir, "tcb_info_issuer_chain.pem", pki_signer_chain(pki));
        take(dir, "qe_identity_issuer_chain.pem", pki_signer_chain(pki));
        take(dir, "pck_crl.der", pki_pck_crl(pki));
        take(dir, "root_ca_crl.der", pki_root_crl(pki));
        struct pki_bytes chain = pki_pck_chain(pki);
        const char *ca = strstr(strstr((const char *)chain.data, "-----END") + 8, "-----BEGIN");
        put(dir, "pck_crl_issuer_chain.pem", ca, strlen(ca));
        pki_bytes_free(&chain);
        int len = snprintf(expected, sizeof expected,
                           "{\"verify_at_epoch\": %d, \"strict\": {\"verdict\": \"%s\"}, \"rule\": \"%s\"}\n",
                           NOW, cases[i].verified ? "verified" : "refused", cases[i].rule);
        put(dir, "expected.json", expected, (size_t)len);
        pki_free(pki);
    }
    return 0;
}
