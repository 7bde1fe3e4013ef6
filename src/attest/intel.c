#include "attest/intel.h"

static const char *const ids[] = {"quote.signature", "tcb.status"};

void intel_skip(struct attest_verdict *v, bool enforced, const char *why)
{
    verdict_skip_rest(v, ids, sizeof ids / sizeof ids[0], enforced, why);
}

bool intel_check(struct attest_verdict *v, const struct quote *quote, const struct attest_input *input,
                 const struct attest_policy *policy, struct err *err)
{
    (void)quote;
    (void)input;
    (void)policy;
    (void)err;
    intel_skip(v, true, "the chain to Intel's root is not verified in this build");
    return true;
}
