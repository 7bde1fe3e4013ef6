/* The chain of trust from Intel's root to the quote: attestation.md section 1, steps 2 to 14. */
#ifndef E2EE_ATTEST_INTEL_H
#define E2EE_ATTEST_INTEL_H

#include "attest/attest.h"
#include "attest/quote.h"
#include "attest/verdict.h"

/* Appends every check of the chain (those after a failed one as not-checked), and fills platform, quote_verified,
 * tcb_status, tcb_date and advisories. False only for ERR_MEMORY, ERR_CRYPTO and ERR_INTERNAL. */
bool intel_check(struct attest_verdict *v, const struct quote *quote, const struct attest_input *input,
                 const struct attest_policy *policy, struct err *err) MUST_CHECK;
/* Appends every check of the chain as not-checked, enforced or not. */
void intel_skip(struct attest_verdict *v, bool enforced, const char *why);

#endif
