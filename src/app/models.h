/* Fetching the provider's list of models: blocking, for the threads of the sessions and for commands. */
#ifndef E2EE_APP_MODELS_H
#define E2EE_APP_MODELS_H

#include "session/catalogue.h"
#include "upstream/config.h"

/* One reference, or NULL: ERR_UNREACHABLE, ERR_TIMEOUT, ERR_UPSTREAM (any status but 200, with Retry-After and, for some, the status). */
struct catalogue *models_fetch(struct upstream_config *upstream, struct err *err) MUST_CHECK;

#endif
