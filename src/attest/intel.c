#include "attest/intel.h"

#include <openssl/x509.h>
#include <string.h>

#include "attest/intel_internal.h"
#include "base/mem.h"

static const char *const ids[] = {
    "pck.format",    "collateral",         "root.crl",       "pck.crl",           "pck.chain",
    "pck.extension", "tcb_info.signature", "tcb_info",       "tcb_info.platform", "qe_identity",
    "rollback",      "tcb.evaluation",     "collateral.age", "qe.signature",      "qe.binding",
    "qe.identity",   "quote.signature",    "tdx.module",     "tcb.level",         "tcb.status",
};

void intel_skip(struct attest_verdict *v, bool enforced, const char *why)
{
    verdict_skip_rest(v, ids, sizeof ids / sizeof ids[0], enforced, why);
}

bool intel_refuse(struct intel *w, const char *id, const struct err *why)
{
    if (why->kind == ERR_MEMORY || why->kind == ERR_CRYPTO || why->kind == ERR_INTERNAL) {
        w->fatal = true;
        return err_set(w->err, why->kind, "%s: %s", id, why->message);
    }
    return verdict_fail(w->v, id, "%s", why->message);
}

bool intel_within(struct intel *w, const char *id, const char *what, int64_t from, int64_t until)
{
    int64_t now = w->v->at;
    struct verdict_platform *p = &w->v->platform;
    if (p->collateral_expires == 0 || until < p->collateral_expires) {
        p->collateral_expires = until;
    }
    if (now < from) {
        return verdict_fail(w->v, id,
                            "%s is outside its validity: it begins %lld s from now (is the clock right?)",
                            what, (long long)(from - now));
    }
    if (now > until) {
        if (now - until > w->policy->allow_stale_s) {
            return verdict_fail(w->v, id, "%s is outside its validity: it ended %lld s ago", what,
                                (long long)(now - until));
        }
        w->stale = now - until > w->stale ? now - until : w->stale;
    }
    return true;
}

/* Step 2, as far as the certificates alone decide. */
static bool check_pck_format(struct intel *w)
{
    struct err why = {0};
    if (!certs_parse(&w->pck, w->quote->pck_pem, w->quote->pck_pem_len, 3, &why)) {
        return intel_refuse(w, "pck.format", &why);
    }
    if (!certs_end_in(&w->pck, w->root)) {
        return verdict_fail(w->v, "pck.format", "the quote's certificate chain does not end in %s",
                            root_is_intel(w->root) ? "Intel's root" : "the configured root");
    }
    if (!certs_named(w->pck.cert[0], PCK_CN) || !certs_named(w->pck.cert[2], ROOT_CN) ||
        (!certs_named(w->pck.cert[1], PCK_PLATFORM_CN) && !certs_named(w->pck.cert[1], PCK_PROCESSOR_CN))) {
        return verdict_fail(w->v, "pck.format",
                            "the certificates are not named as Intel names PCK, its CA and the root");
    }
    return verdict_pass(w->v, "pck.format", "PCK certificate, its CA, and %s",
                        root_is_intel(w->root) ? "Intel's root"
                                               : "the configured root, which is not Intel's");
}

static bool check_crl(struct intel *w, const char *id, const char *what, struct certs_crl *crl,
                      const struct buf *der, X509 *issuer)
{
    struct err why = {0};
    if (!certs_crl_parse(crl, der->data, der->len, &why) || !certs_crl_issued_by(crl, issuer, &why)) {
        err_context(&why, "%s", what);
        return intel_refuse(w, id, &why);
    }
    return intel_within(w, id, what, crl->from, crl->until) &&
           verdict_pass(w->v, id, "%s number %llu, %lld days left", what, (unsigned long long)crl->number,
                        (long long)((crl->until - w->v->at) / 86400));
}

/* OpenSSL looks at the lists before it looks at signatures: whether Intel revoked this platform, or somebody made up a
 * platform and a list, is seen without the lists. */
static bool refuse_pck_chain(struct intel *w, const struct err *why)
{
    struct err forged = {0};
    if (why->kind != ERR_FORBIDDEN) {
        return intel_refuse(w, "pck.chain", why);
    }
    if (!certs_verify(&w->pck, w->root, NULL, NULL, w->policy->allow_stale_s, w->v->at, &forged)) {
        return intel_refuse(w, "pck.chain", &forged);
    }
    w->v->platform.chain_verified = w->v->platform.revoked = true;
    return verdict_fail(w->v, "pck.chain", "revoked by Intel: %s", why->message);
}

/* Steps 2 and 3. Without collateral the chain is followed all the same, so that a forged quote is told from one that
 * only lacks collateral; "collateral" has failed by then. */
static bool check_pck_chain(struct intel *w)
{
    const struct collateral *c = w->input->collateral;
    struct err why = {0};

    if (c == NULL) {
        const char *problem = w->input->collateral_problem;
        verdict_fail(w->v, "collateral", "there is no collateral of Intel's to judge the platform by%s%s",
                     problem != NULL ? ": " : "", problem != NULL ? problem : "");
    } else {
        verdict_pass(w->v, "collateral", "TCB info, QE identity and both revocation lists are there");
        if (!check_crl(w, "root.crl", "root CRL", &w->root_crl, &c->root_crl, w->pck.cert[2]) ||
            !check_crl(w, "pck.crl", "PCK CRL", &w->pck_crl, &c->pck_crl, w->pck.cert[1])) {
            return false;
        }
        w->v->platform.root_crl_number = w->root_crl.number;
        w->v->platform.pck_crl_number = w->pck_crl.number;
    }
    if (!certs_verify(&w->pck, w->root, c != NULL ? &w->root_crl : NULL, c != NULL ? &w->pck_crl : NULL,
                      w->policy->allow_stale_s, w->v->at, &why)) {
        return refuse_pck_chain(w, &why);
    }
    w->v->platform.chain_verified = true;
    return verdict_pass(w->v, "pck.chain",
                        c != NULL ? "every signature to the root holds, nothing is revoked"
                                  : "every signature to the root holds; revocation was not checked");
}

/* Step 4. */
static bool check_extension(struct intel *w)
{
    struct verdict_platform *p = &w->v->platform;
    struct err why = {0};
    if (!sgx_of_cert(&w->platform, w->pck.cert[0], &why) ||
        !ecdsa_key(ECDSA_P256, w->pck.cert[0], w->pck_key, &why)) {
        return intel_refuse(w, "pck.extension", &why);
    }
    memcpy(p->fmspc, w->platform.fmspc, sizeof p->fmspc);
    memcpy(p->ppid, w->platform.ppid, sizeof p->ppid);
    memcpy(p->cpusvn, w->platform.cpusvn, sizeof p->cpusvn);
    p->pcesvn = w->platform.pcesvn;
    p->present = true;
    return verdict_pass(w->v, "pck.extension", "FMSPC %02x%02x%02x%02x%02x%02x, PCE SVN %u", p->fmspc[0],
                        p->fmspc[1], p->fmspc[2], p->fmspc[3], p->fmspc[4], p->fmspc[5], p->pcesvn);
}

/* Steps 7 and 8. */
static bool check_qe(struct intel *w)
{
    static const uint8_t zeros[32];
    const struct quote *q = w->quote;
    uint8_t hash[SHA256_BYTES];
    struct buf bound;
    bool valid;

    if (!ecdsa_verify(ECDSA_P256, &valid, w->pck_key, q->qe_signature, q->qe_report, QUOTE_QE_REPORT_BYTES,
                      w->err)) {
        w->fatal = true;
        return false;
    }
    if (!valid) {
        return verdict_fail(w->v, "qe.signature", "the PCK key did not sign the quoting enclave's report");
    }
    verdict_pass(w->v, "qe.signature", "the PCK key signed the quoting enclave's report");
    buf_init(&bound, QUOTE_KEY_BYTES + UINT16_MAX);
    bool hashed = buf_append(&bound, q->attestation_key, QUOTE_KEY_BYTES) &&
                  buf_append(&bound, q->qe_auth, q->qe_auth_len) && hash_sha256(hash, bound.data, bound.len);
    buf_free(&bound);
    if (!hashed) {
        w->fatal = true;
        return err_set(w->err, ERR_MEMORY, "no memory for the quoting enclave's data");
    }
    if (memcmp(q->qe_report + QE_REPORTDATA, hash, sizeof hash) != 0 ||
        memcmp(q->qe_report + QE_REPORTDATA + sizeof hash, zeros, sizeof zeros) != 0) {
        return verdict_fail(w->v, "qe.binding",
                            "the quoting enclave's report is not about this attestation key");
    }
    return verdict_pass(w->v, "qe.binding", "the quoting enclave vouches for the attestation key");
}

/* Step 9. */
static bool check_qe_identity(struct intel *w)
{
    const uint8_t *r = w->quote->qe_report;
    const struct qe_identity *id = &w->qe;
    unsigned prodid = (unsigned)r[QE_ISVPRODID] | (unsigned)r[QE_ISVPRODID + 1] << 8;
    unsigned svn = (unsigned)r[QE_ISVSVN] | (unsigned)r[QE_ISVSVN + 1] << 8;
    unsigned wrong = 0;

    for (size_t i = 0; i < sizeof id->miscselect; i++) {
        wrong |= (r[QE_MISCSELECT + i] & id->miscselect_mask[i]) ^ id->miscselect[i];
    }
    for (size_t i = 0; i < sizeof id->attributes; i++) {
        wrong |= (r[QE_ATTRIBUTES + i] & id->attributes_mask[i]) ^ id->attributes[i];
    }
    if (wrong != 0 || memcmp(r + QE_MRSIGNER, id->mrsigner, sizeof id->mrsigner) != 0 ||
        prodid != id->isvprodid) {
        return verdict_fail(w->v, "qe.identity", "the quoting enclave is not Intel's");
    }
    w->qe_level = tcb_svn_find(&id->levels, svn);
    if (w->qe_level == NULL) {
        return verdict_fail(w->v, "qe.identity", "no level of Intel's fits the quoting enclave's SVN %u",
                            svn);
    }
    w->v->platform.qe = w->qe_level->status;
    return verdict_pass(w->v, "qe.identity", "Intel's quoting enclave, SVN %u: %s", svn,
                        tcb_status_name(w->qe_level->status));
}

/* Step 10. */
static bool check_quote_signature(struct intel *w)
{
    const struct quote *q = w->quote;
    bool valid;
    if (!ecdsa_verify(ECDSA_P256, &valid, q->attestation_key, q->signature, q->bytes, q->signed_len,
                      w->err)) {
        w->fatal = true;
        return false;
    }
    return valid ? verdict_pass(w->v, "quote.signature", "the attestation key signed header and TD report")
                 : verdict_fail(w->v, "quote.signature",
                                "the attestation key did not sign this header and TD report");
}

static void walk(struct intel *w)
{
    bool collateral = w->input->collateral != NULL;
    if (check_pck_format(w) && check_pck_chain(w) && check_extension(w) &&
        (!collateral || intel_documents(w)) && check_qe(w) && (!collateral || check_qe_identity(w)) &&
        check_quote_signature(w) && collateral) {
        intel_levels(w);
    }
}

bool intel_check(struct attest_verdict *v, const struct quote *quote, const struct attest_input *input,
                 const struct attest_policy *policy, struct err *err)
{
    struct intel *w = mem_calloc(1, sizeof *w);
    bool ok = false;

    if (w == NULL) {
        return err_set(err, ERR_MEMORY, "no memory to verify a quote");
    }
    *w = (struct intel){.v = v, .quote = quote, .input = input, .policy = policy, .err = err};
    json_doc_init(&w->tcb_json.doc);
    json_doc_init(&w->qe_json.doc);
    if (input->root == NULL) {
        w->own_root = root_intel(err);
        if (w->own_root == NULL) {
            goto out;
        }
    }
    w->root = input->root != NULL ? input->root : w->own_root;
    walk(w);
    ok = !w->fatal;
    intel_skip(v, true,
               input->collateral == NULL ? "needs collateral, or an earlier step failed"
                                         : "an earlier step failed");
out:
    signed_json_free(&w->tcb_json);
    signed_json_free(&w->qe_json);
    certs_free(&w->pck);
    certs_crl_free(&w->root_crl);
    certs_crl_free(&w->pck_crl);
    root_free(w->own_root);
    mem_free(w);
    return ok;
}
