/* A module may fork a helper behind our back. What is ours is closed in such a child, or it would keep the instance's lock,
 * and hide the keyholder's end from its clients, after the keyholder has died. */
#ifndef E2EE_HSM_FORKED_H
#define E2EE_HSM_FORKED_H

#include "base/err.h"

/* Once, before a module is loaded. */
bool forked_init(struct err *err) MUST_CHECK;
/* fd is closed in children from now on. Any thread. */
void forked_close(int fd);
/* To be called before close(fd). */
void forked_forget(int fd);

#endif
