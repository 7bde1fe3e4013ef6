/* Work handed to an event loop by other threads: whoever finished a long operation posts its result to the loop
 * that asked for it. The whole list is taken under the lock and run outside it; the loop is woken only when the list
 * was empty. */
#ifndef E2EE_SESSION_MAILBOX_H
#define E2EE_SESSION_MAILBOX_H

#include "base/err.h"

struct event_base;
struct mailbox;

/* Embedded in the job; belongs to the mailbox from post until run is called, which may free the job. */
struct mail {
    struct mail *next;
    void (*run)(struct mail *mail); /* on the mailbox's loop */
};

/* libevent must have been told to use threads (evthread_use_pthreads). Loop thread, or before the loop runs. */
struct mailbox *mailbox_new(struct event_base *base, struct err *err) MUST_CHECK;
/* Runs what was posted and frees. After the loop ended and when nobody can post any more. */
void mailbox_free(struct mailbox *box);
/* Any thread. Cannot fail. In the order of posting. */
void mailbox_post(struct mailbox *box, struct mail *mail);

#endif
