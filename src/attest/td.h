/* The guest's own attributes, from a quote whose signatures hold (attestation.md section 1, step 15). */
#ifndef E2EE_ATTEST_TD_H
#define E2EE_ATTEST_TD_H

#include "attest/quote.h"
#include "attest/verdict.h"

/* Fills v->measurements from the TD report. */
void td_measurements(struct attest_verdict *v, const struct quote *quote);
/* Appends td.debug, td.attributes, td.service and td.owner. */
void td_check(struct attest_verdict *v);

#endif
