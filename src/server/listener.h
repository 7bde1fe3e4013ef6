/* Listening sockets and the acceptor's thread, which hands each connection to the worker with the fewest requests in
 * work. One socket for each address and no SO_REUSEPORT: a second instance must fail, not steal connections. */
#ifndef E2EE_SERVER_LISTENER_H
#define E2EE_SERVER_LISTENER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "server/worker.h"

struct listener;

#define LISTENER_DEFAULT_PORT 5111

/* Opens and binds HOST:PORT for each address (IPv4 literal, [IPv6] literal or localhost; port 0: any). count 0 means
 * 127.0.0.1:5111 and, where there, [::1]:5111. Anything but loopback needs allow_remote (the caller grants it only
 * with --unsafe-listen and a client token). ERR_CONFIG for a bad or forbidden address and for "address in use", ERR_IO
 * otherwise; NULL on failure. */
struct listener *listener_open(const char *const *addresses, size_t count, bool allow_remote,
                               struct err *err) MUST_CHECK;
/* Number of open sockets, and the port of one. */
size_t listener_count(const struct listener *l);
int listener_port(const struct listener *l, size_t index);
/* "127.0.0.1:5111", for logs; out is always terminated. */
void listener_name(const struct listener *l, size_t index, char out[static 64]);

/* Starts the acceptor's thread. Past max_connections, over all workers, a connection gets 503 and is closed.
 * handler may be NULL; its on_refused is called on the acceptor's thread. workers is copied, the workers outlive the
 * thread. */
bool listener_start(struct listener *l, struct http_worker *const *workers, size_t worker_count,
                    size_t max_connections, const struct http_handler *handler, void *arg,
                    struct err *err) MUST_CHECK;
/* Closes the sockets and joins the thread; no connection is handed over after it returns. May be called twice. */
void listener_stop(struct listener *l);
/* listener_stop, then frees. NULL is fine. */
void listener_free(struct listener *l);

#endif
