/* Inside src/keyholder only. */
#ifndef E2EE_KEYHOLDER_LINK_INTERNAL_H
#define E2EE_KEYHOLDER_LINK_INTERNAL_H

#include "keyholder/link.h"

/* The channel's descriptor to watch, -1 for a socket or a channel whose other end is gone. Control thread. */
int keyholder_link_watch(const struct keyholder_link *link);
bool keyholder_link_is_channel(const struct keyholder_link *link);
/* Socket: connects. Control thread. Non-blocking descriptor, or -1 with ERR_TOKEN. */
int keyholder_link_connect(struct keyholder_link *link, struct err *err);
/* Channel: takes the next message. UP: *fd is the control connection, the workers' are kept for
 * keyholder_link_worker; else *fd is -1. *got as in keyholder_channel_receive. False: the channel is dead and closed.
 * Control thread. */
bool keyholder_link_receive(struct keyholder_link *link, struct keyholder_channel_message *m, int *fd,
                            bool *got, struct err *err) MUST_CHECK;
/* Tells the supervisor; nothing over a socket. Any thread. */
void keyholder_link_report_hung(struct keyholder_link *link, uint32_t generation);
/* Connection of worker index to the keyholder generation, or -1 with ERR_TOKEN; ERR_CONFIG when the supervisor has none for
 * that many workers. Any thread. */
int keyholder_link_worker(struct keyholder_link *link, uint32_t generation, unsigned index, struct err *err);

#endif
