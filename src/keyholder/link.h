/* Where the proxy's connections to its keyholder come from:
 *   a socket   connect(2) to `--keyholder-socket PATH`, as often as needed;
 *   a channel  a supervisor hands out, for each keyholder that it starts, one control connection and one for each
 *              worker, as descriptors over SCM_RIGHTS.
 * Every keyholder process seen is a generation, 1 upwards. Keys die with their generation.
 *
 * The channel is a SOCK_SEQPACKET socketpair (made with SOCK_CLOEXEC): one message, one packet. */
#ifndef E2EE_KEYHOLDER_LINK_H
#define E2EE_KEYHOLDER_LINK_H

#include <stdint.h>

#include "base/err.h"
#include "base/limits.h"

struct keyholder_link;

/* path is copied. ERR_CONFIG when it does not fit a socket address. Nothing is connected yet. */
struct keyholder_link *keyholder_link_socket(const char *path, struct err *err) MUST_CHECK;
/* channel belongs to the link from now on (closed on failure too) and is made non-blocking. */
struct keyholder_link *keyholder_link_channel(int channel, struct err *err) MUST_CHECK;
/* Only for a link that keyholder_control_new did not take. NULL is fine. */
void keyholder_link_free(struct keyholder_link *link);

#define KEYHOLDER_CHANNEL_FDS (1 + LIMIT_KEYHOLDER_WORKERS)

enum keyholder_channel_type {
    KEYHOLDER_CHANNEL_UP =
        1, /* supervisor -> proxy: a keyholder has started; fds: control, worker 0, worker 1, … */
    KEYHOLDER_CHANNEL_DOWN, /* supervisor -> proxy: it ended and is not (yet) started again; reason says why */
    KEYHOLDER_CHANNEL_HUNG, /* proxy -> supervisor: it does not answer; kill it and start the next */
};

struct keyholder_channel_message {
    uint8_t type;   /* enum keyholder_channel_type */
    uint8_t reason; /* DOWN: enum err_kind, ERR_TOKEN or ERR_PIN (a refused PIN: it stays down); else 0 */
    uint32_t generation;            /* of the keyholder meant; UP: greater than any before */
    int fds[KEYHOLDER_CHANNEL_FDS]; /* UP only */
    unsigned fd_count;              /* UP: 2 or more; else 0 */
};

/* Sends one message. Descriptors are duplicated into it: the sender closes its own afterwards. ERR_BUSY when a
 * non-blocking channel is full, ERR_IO. Either end. */
bool keyholder_channel_send(int channel, const struct keyholder_channel_message *m,
                            struct err *err) MUST_CHECK;
/* Receives one message; its descriptors (close-on-exec) are the caller's. *got is false, and the result true, when a
 * non-blocking channel has none. ERR_IO when the other end is gone; ERR_PROTOCOL for anything malformed, whose
 * descriptors are closed. Either end. */
bool keyholder_channel_receive(int channel, struct keyholder_channel_message *m, bool *got,
                               struct err *err) MUST_CHECK;

#endif
