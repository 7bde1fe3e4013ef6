/* A PKI like Intel's and a maker of TDX quotes and collateral, for evidence that nobody can capture: debug mode,
 * revocations, wrong roles, every status. Written on OpenSSL from docs of the formats; shares no code with src/.
 * Failures of a library call abort: this is test code. One thread at a time. */
#ifndef E2EE_TESTS_PKI_H
#define E2EE_TESTS_PKI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pki_bytes {
    uint8_t *data; /* one NUL behind, not counted */
    size_t len;
};

void pki_bytes_free(struct pki_bytes *b);

/* One level of the platform in TCB info. */
struct pki_level {
    uint8_t sgx, tdx; /* SVN of every component; tdx from index 2 on */
    unsigned pcesvn;
    const char *status;
    const char *advisory; /* NULL: none */
};

/* All that can be varied; pki_spec_good fills it with what verifies. */
struct pki_spec {
    int64_t now;
    /* certificates */
    const char *root_cn, *ca_cn, *pck_cn, *signer_cn;
    bool revoke_ca, revoke_pck, revoke_signer;
    bool signer_under_ca; /* TCB signer issued by the PCK CA instead of the root */
    bool pck_not_p256;    /* PCK key on another curve */
    int64_t cert_until;   /* of the PCK certificate */
    int64_t root_crl_from, root_crl_until, pck_crl_from, pck_crl_until; /* until 0: no nextUpdate */
    bool crl_without_number;
    unsigned crl_number;
    uint8_t fmspc[6], pceid[2], component[16], cpusvn[16];
    bool fmspc_lower; /* its hex digits in TCB info */
    unsigned pcesvn;
    /* TCB info */
    struct pki_level levels[4];
    size_t level_count;
    const char *module_status[2];       /* TDX_01 from SVN 5, and from SVN 3 */
    const char *tcb_find, *tcb_replace; /* edit of the tcbInfo text before it is signed; NULL: none */
    const char *qe_find, *qe_replace;
    int64_t tcb_from, tcb_until, qe_from, qe_until;
    unsigned tcb_evaluation, qe_evaluation;
    const char *qe_status; /* from SVN 4 */
    /* quote */
    unsigned version, body_type; /* 4 and 2; 5 with 2 or 3 */
    uint8_t tee_tcb_svn[16], tee_tcb_svn2[16];
    uint8_t td_attributes[8], seam_attributes[8], mr_signer_seam[48], mr_service_td[48], mr_owner[48];
    uint8_t mrtd[48], rtmr[4][48], mr_config_id[48], report_data[64];
    unsigned qe_isvsvn, qe_isvprodid;
    uint8_t qe_attributes0, qe_mrsigner0; /* xored into the first byte */
    uint8_t qe_report_data_tail;          /* last byte of the QE's REPORTDATA */
    size_t auth_len, padding;
};

void pki_spec_good(struct pki_spec *spec, int64_t now);

struct pki; /* keys, certificates and CRLs */

struct pki *pki_new(const struct pki_spec *spec);
/* Both revocation lists anew by spec: dates, number, what is revoked. */
void pki_renew_crls(struct pki *pki, const struct pki_spec *spec);
/* Another machine of the same kind: its PCK key and certificate, under the same CA, of spec and with this serial (the
 * first one has 3). Its quoting enclave has the same attestation key. */
void pki_renew_pck(struct pki *pki, const struct pki_spec *spec, long serial);
void pki_free(struct pki *pki);
struct pki_bytes pki_root_pem(const struct pki *pki);
struct pki_bytes pki_pck_chain(const struct pki *pki);    /* PEM: PCK, CA, root */
struct pki_bytes pki_signer_chain(const struct pki *pki); /* PEM: TCB signer, root */
struct pki_bytes pki_root_crl(const struct pki *pki);     /* DER */
struct pki_bytes pki_pck_crl(const struct pki *pki);
struct pki_bytes pki_tcb_info(const struct pki *pki, const struct pki_spec *spec);
struct pki_bytes pki_qe_identity(const struct pki *pki, const struct pki_spec *spec);
struct pki_bytes pki_quote(const struct pki *pki, const struct pki_spec *spec);

#endif
