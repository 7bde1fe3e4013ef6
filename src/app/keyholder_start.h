/* Starting e2ee-keyholder with the options that concern it, and handing it connections
 * (keyipc/start.h). Supervisor and `check`. */
#ifndef E2EE_APP_KEYHOLDER_START_H
#define E2EE_APP_KEYHOLDER_START_H

#include <sys/socket.h>
#include <sys/types.h>

#include "app/config.h"
#include "keyipc/start.h"

#define KEYHOLDER_START_SOCKET SOCK_SEQPACKET /* the kind of pair that channel belongs to */

/* Starts it with channel as its --connections-fd. */
bool keyholder_spawn(const struct config *config, int channel, pid_t *pid, struct err *err) MUST_CHECK;
/* Starts `e2ee-keyholder --check --json` with out as its standard output. */
bool keyholder_spawn_check(const struct config *config, int out, pid_t *pid, struct err *err) MUST_CHECK;
/* Sends one connection's descriptor over the channel; the caller closes its own. */
bool keyholder_send_connection(int channel, int connection, struct err *err) MUST_CHECK;

#endif
