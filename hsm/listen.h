/* Where connections come from: a listening Unix socket, or a supervisor that sends descriptors. */
#ifndef E2EE_HSM_LISTEN_H
#define E2EE_HSM_LISTEN_H

#include "hsm/server.h"

/* The socket options->socket_path: mode 0600; 0660 with the first --allow-gid as group; 0666 with another --allow-uid (SO_PEERCRED
 * decides in each case). A stale socket is replaced, one of a keyholder that lives is ERR_CONFIG (socket_path.lock, which stays,
 * is held until the process ends). -1 on failure. Connections are refused until
 * listen_begin: it is made before the sandbox, and used when the token is there. */
int listen_open(const struct server_options *options, struct err *err) MUST_CHECK;
bool listen_begin(int fd, struct err *err) MUST_CHECK; /* -1 is fine */
void listen_close(const struct server_options *options, int fd);
/* The next connection from an allowed peer; -1 when there is none now. Others are refused with a log line. */
int listen_accept(const struct server_options *options, int fd);

/* The next descriptor on the supervisor's channel; -1 when there is none now. *closed when the other end is gone. */
int listen_receive(int channel, bool *closed);

#endif
