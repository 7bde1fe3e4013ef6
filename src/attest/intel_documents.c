/* Steps 5 and 6: TCB info and QE identity, who signed them, whether they are current and for this platform. */
#include <string.h>

#include "attest/intel_internal.h"

/* The signer's chain to the root, and its key. */
static bool check_signer(struct intel *w, const char *id, const struct buf *chain)
{
    struct certs signer;
    struct err why = {0};
    bool ok = false;

    if (!certs_parse(&signer, (const char *)chain->data, chain->len, 2, &why)) {
        return intel_refuse(w, id, &why);
    }
    if (!certs_end_in(&signer, w->root) || !certs_named(signer.cert[0], TCB_SIGNER_CN)) {
        verdict_fail(w->v, id, "the signer is not \"%s\" under the root that the quote ends in",
                     TCB_SIGNER_CN);
    } else if (!certs_verify(&signer, w->root, &w->root_crl, NULL, w->policy->allow_stale_s, w->v->at,
                             &why)) {
        if (why.kind == ERR_FORBIDDEN) {
            verdict_fail(w->v, id, "the signer was revoked by Intel: %s", why.message);
        } else {
            intel_refuse(w, id, &why);
        }
    } else if (!ecdsa_key(ECDSA_P256, signer.cert[0], w->signer_key, &why)) {
        intel_refuse(w, id, &why);
    } else {
        w->signer_chain = chain;
        ok = true;
    }
    certs_free(&signer);
    return ok;
}

/* The document's signature over its exact bytes. Both documents usually come with the same chain, which is then
 * verified once. */
static bool check_signature(struct intel *w, const char *id, const char *member, const struct buf *text,
                            const struct buf *chain, struct signed_json *json)
{
    const struct buf *known = w->signer_chain;
    struct err why = {0};

    if ((known == NULL || known->len != chain->len || memcmp(known->data, chain->data, chain->len) != 0) &&
        !check_signer(w, id, chain)) {
        return false;
    }
    return (signed_json_parse(json, (const char *)text->data, text->len, member, &why) &&
            signed_json_verify(json, w->signer_key, &why)) ||
           intel_refuse(w, id, &why);
}

static bool check_tcb_info(struct intel *w)
{
    const struct collateral *c = w->input->collateral;
    struct err why = {0};

    if (!check_signature(w, "tcb_info.signature", "tcbInfo", &c->tcb_info, &c->tcb_info_chain,
                         &w->tcb_json)) {
        return false;
    }
    verdict_pass(w->v, "tcb_info.signature", "Intel signed these bytes of the TCB info");
    if (!tcb_info_read(&w->tcb, &w->tcb_json, &why)) {
        return intel_refuse(w, "tcb_info", &why);
    }
    if (!intel_within(w, "tcb_info", "TCB info", w->tcb.issued, w->tcb.next_update)) {
        return false;
    }
    w->v->platform.tcb_evaluation = w->tcb.evaluation;
    verdict_pass(w->v, "tcb_info", "TDX, version 3, evaluation %llu, %zu levels, %zu modules",
                 (unsigned long long)w->tcb.evaluation, w->tcb.level_count, w->tcb.module_count);
    if (memcmp(w->tcb.fmspc, w->platform.fmspc, sizeof w->tcb.fmspc) != 0 ||
        memcmp(w->tcb.pceid, w->platform.pceid, sizeof w->tcb.pceid) != 0) {
        return verdict_fail(w->v, "tcb_info.platform",
                            "TCB info is for another FMSPC or PCE id than the platform's");
    }
    return verdict_pass(w->v, "tcb_info.platform", "TCB info is for this kind of platform");
}

static bool check_qe_document(struct intel *w)
{
    const struct collateral *c = w->input->collateral;
    const struct buf *chain = c->qe_identity_chain.len > 0 ? &c->qe_identity_chain : &c->tcb_info_chain;
    struct err why = {0};

    if (!check_signature(w, "qe_identity", "enclaveIdentity", &c->qe_identity, chain, &w->qe_json)) {
        return false;
    }
    if (!qe_identity_read(&w->qe, &w->qe_json, &why)) {
        return intel_refuse(w, "qe_identity", &why);
    }
    if (!intel_within(w, "qe_identity", "QE identity", w->qe.issued, w->qe.next_update)) {
        return false;
    }
    w->v->platform.qe_evaluation = w->qe.evaluation;
    return verdict_pass(w->v, "qe_identity", "Intel signed these bytes of the QE identity, evaluation %llu",
                        (unsigned long long)w->qe.evaluation);
}

/* Collateral authenticates itself, so whoever delivers it can do no more than hold back or repeat old pieces. */
static bool check_rollback(struct intel *w)
{
    const struct attest_floor *floor = &w->input->floor;
    if (w->tcb.evaluation < floor->tcb_evaluation || w->pck_crl.number < floor->pck_crl_number ||
        w->root_crl.number < floor->root_crl_number) {
        return verdict_fail(w->v, "rollback", "collateral is older than what this machine has already seen");
    }
    verdict_pass(w->v, "rollback", "not older than what this machine has already seen");
    if (w->tcb.evaluation != w->qe.evaluation) {
        return verdict_fail(w->v, "tcb.evaluation", "TCB info is of evaluation %llu, QE identity of %llu",
                            (unsigned long long)w->tcb.evaluation, (unsigned long long)w->qe.evaluation);
    }
    if (w->tcb.evaluation < w->policy->min_evaluation) {
        return verdict_fail(
            w->v, "tcb.evaluation", "evaluation %llu is below the policy's min_evaluation of %llu",
            (unsigned long long)w->tcb.evaluation, (unsigned long long)w->policy->min_evaluation);
    }
    return verdict_pass(w->v, "tcb.evaluation", "TCB info and QE identity are of evaluation %llu",
                        (unsigned long long)w->tcb.evaluation);
}

bool intel_documents(struct intel *w)
{
    if (!check_tcb_info(w) || !check_qe_document(w) || !check_rollback(w)) {
        return false;
    }
    verdict_limit(w->v, w->v->platform.collateral_expires + w->policy->allow_stale_s);
    if (w->stale > 0) {
        verdict_add(w->v, "collateral.age", CHECK_FAIL, false,
                    "STALE: past its nextUpdate by %lld s, which the policy (allow_stale = %lld) lets pass",
                    (long long)w->stale, (long long)w->policy->allow_stale_s);
    } else {
        verdict_pass(w->v, "collateral.age", "every piece is within its validity");
    }
    return true;
}
