/* `serve` goes on as this: a small program of its own, linked with nothing but libc and a reader of INI files, that starts
 * keyholder and proxy (each sandboxes itself), hands out the connections between them, kills a keyholder that hangs, and
 * starts either again when it dies. Being the one process without a filter, it has no library to attack.
 *
 * It talks to the keyholder over --connections-fd (docs/PROTOCOL-KEYHOLDER.md) and to the proxy over two descriptors:
 * 3, the channel of keyholder/link.h, and 4, a stream: the API key on its way in (2-byte big-endian length, bytes; 0: none),
 * then "R" once the proxy listens, or "E" and a message when it could not start. */
#ifndef E2EE_SUPERVISOR_SUPERVISOR_H
#define E2EE_SUPERVISOR_SUPERVISOR_H

#define SUPERVISOR_CHANNEL_FD 3
#define SUPERVISOR_START_FD 4
#define SUPERVISOR_KEYHOLDER_FD 3 /* the keyholder's --connections-fd */

struct supervisor_options;

/* Runs until SIGTERM or SIGINT, or until a child cannot be started. Returns the exit code. */
int supervisor_run(const struct supervisor_options *options);

#endif
