/* Pins: which OS image, compose file and key provider a model's guest may have. A genuine TDX guest that anybody rented
 * passes every other check. Pure; where first-use pins are kept is the caller's business. */
#ifndef E2EE_ATTEST_PINS_H
#define E2EE_ATTEST_PINS_H

#include "attest/policy.h"
#include "attest/verdict.h"

/* What this verdict's guest has, as a pin for model. False when the guest's identity is not established. */
bool pins_from_verdict(struct attest_pin *out, const struct attest_verdict *v, const char *model) MUST_CHECK;
/* Judges v->guest and the measurements by the policy's pins and by stored[0..count) (those of the first-use store for
 * this model), appends the check "pins" and sets the level. */
void pins_check(struct attest_verdict *v, const struct attest_policy *policy, const char *model,
                const struct attest_pin *stored, size_t count);
/* Appends a pin as the INI section that policy_parse reads. */
bool pins_write(struct buf *out, const struct attest_pin *want);
/* Name of a known OS image (attestation.md section 4), named, not trusted; NULL when unknown. */
const char *pins_known_os(const struct attest_verdict *v);

#endif
