/* Shared by the files that check a dstack guest. */
#ifndef E2EE_ATTEST_DSTACK_INTERNAL_H
#define E2EE_ATTEST_DSTACK_INTERNAL_H

#include "attest/dstack.h"

/* "none", "local-sgx", "kms" or "tpm". */
bool dstack_provider_known(const char *name);
/* Whether id is version 3 of a configuration made of c and of the log's events. False only for failures of ours. */
bool dstack_config_matches_v3(bool *match, const uint8_t id[static MEASUREMENT_BYTES],
                              const struct dstack_config *c, const struct event_log *log,
                              struct err *err) MUST_CHECK;

#endif
