/* Shared by the files that walk from Intel's root to the quote. */
#ifndef E2EE_ATTEST_INTEL_INTERNAL_H
#define E2EE_ATTEST_INTEL_INTERNAL_H

#include "attest/certs.h"
#include "attest/intel.h"
#include "attest/sgx.h"
#include "attest/tcb_info.h"

/* One walk. Steps return false when the walk ends: a check failed, or fatal is set and err holds why. */
struct intel {
    struct attest_verdict *v;
    const struct quote *quote;
    const struct attest_input *input;
    const struct attest_policy *policy;
    const struct attest_root *root;
    struct attest_root *own_root; /* when the caller named none */
    struct err *err;
    bool fatal;
    int64_t stale; /* seconds that the oldest piece is past its end */
    struct certs pck;
    struct certs_crl root_crl, pck_crl;
    struct sgx_extension platform;
    uint8_t pck_key[P256_KEY_BYTES];
    const struct buf *signer_chain; /* verified; NULL: none yet */
    uint8_t signer_key[P256_KEY_BYTES];
    struct signed_json tcb_json, qe_json;
    struct tcb_info tcb;
    struct qe_identity qe;
    const struct tcb_svn_level *qe_level;
};

/* Appends the failed check id with why's message, or ends the walk as fatal when why is a failure of ours. */
bool intel_refuse(struct intel *w, const char *id, const struct err *why);
/* Whether now lies within [from, until], or past it by no more than the policy allows; else the failed check id. */
bool intel_within(struct intel *w, const char *id, const char *what, int64_t from, int64_t until);
/* tcb_info.*, qe_identity.*, tcb.evaluation and collateral.age: steps 5 and 6. */
bool intel_documents(struct intel *w);
/* tdx.module, tcb.level and tcb.status: steps 11 to 14. */
bool intel_levels(struct intel *w);

#endif
