/* What the server writes into the custody log (audit.h): clients, what their keys did, refusals. The server's thread. */
#ifndef E2EE_HSM_RECORD_H
#define E2EE_HSM_RECORD_H

#include "hsm/connection.h"
#include "hsm/options.h"

#define RECORD_REFUSALS_PER_S 10 /* a flood must not fill the log: further ones are counted */
#define RECORD_USES_S 600        /* between two notes of what a living key did */

void record_start(const struct options *o, const struct instance *instance);
/* The token's module hangs: the process is about to end. The watchdog's thread. */
void record_hang(const char *call);

void record_client(const struct connection *c, const struct client *client);
void record_client_gone(const struct client *client);
/* What a key did in all; ending: why it ends, NULL: it goes on. Nothing new is not written. */
void record_key_use(const struct client *client, struct held_key *key, const char *ending);

/* client 0: none. */
void record_refusal(uint64_t client, const char *what, const struct err *why);
void record_stranger(pid_t pid, uid_t uid, gid_t gid, const char *why);
/* Once a second: refusals that were only counted. */
void record_tick(int64_t now_s);

#endif
