/* What SIGHUP reads again in the proxy process: log level, API key and attestation policy. The keyholder gets its own
 * signal, for its log level and the PIN. */
#ifndef E2EE_APP_RELOAD_H
#define E2EE_APP_RELOAD_H

#include "app/app.h"

/* The main thread. What cannot be read stays as it was, and is logged. */
void reload(struct app *app);

#endif
