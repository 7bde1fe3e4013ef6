/* `serve` without --keyholder-socket: this process becomes the supervisor, with its number, standard output and environment. */
#ifndef E2EE_APP_SERVE_H
#define E2EE_APP_SERVE_H

#include "app/config.h"

/* argv is serve's own. Returns only when it fails: ERR_CONFIG, ERR_IO. */
bool serve_supervised(const struct config *config, int argc, char **argv, struct err *err) MUST_CHECK;

#endif
