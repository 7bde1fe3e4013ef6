/* Intel's TCB statuses, and how the statuses of platform, quoting enclave and TDX module become one
 * (attestation.md section 1, steps 13 and 14). Pure functions, any thread. */
#ifndef E2EE_ATTEST_TCB_H
#define E2EE_ATTEST_TCB_H

#include <stdbool.h>
#include <stddef.h>

#include "base/attr.h"

enum tcb_status {
    TCB_NONE = 0, /* not established */
    TCB_UP_TO_DATE,
    TCB_SW_HARDENING_NEEDED,
    TCB_CONFIGURATION_NEEDED,
    TCB_CONFIGURATION_AND_SW_HARDENING_NEEDED,
    TCB_OUT_OF_DATE,
    TCB_OUT_OF_DATE_CONFIGURATION_NEEDED,
    TCB_TD_RELAUNCH_ADVISED,
    TCB_TD_RELAUNCH_ADVISED_CONFIGURATION_NEEDED,
    TCB_REVOKED,
    TCB_STATUS_COUNT
};

/* One bit for each status, for sets of them. */
#define TCB_BIT(status) (1U << (unsigned)(status))

/* Intel's word, "none" for TCB_NONE. */
const char *tcb_status_name(enum tcb_status status);
/* The status that Intel's word names, relaunch advice included; false for another word. */
bool tcb_status_parse(enum tcb_status *out, const char *word) MUST_CHECK;
/* Platform level converged with the levels of quoting enclave and TDX module (TCB_NONE: there is none). */
enum tcb_status tcb_converge(enum tcb_status platform, enum tcb_status qe, enum tcb_status module);
/* TD 1.5: the status at launch beside that of the module now running (TEE_TCB_SVN2). */
enum tcb_status tcb_relaunch(enum tcb_status launch, enum tcb_status current);

#endif
