#include "session/mailbox.h"

#include <pthread.h>

#include <event2/event.h>

#include "base/mem.h"

struct mailbox {
    pthread_mutex_t lock;
    struct mail *first, **last;
    struct event *wake;
};

static void deliver(evutil_socket_t fd, short what, void *arg)
{
    struct mailbox *box = arg;
    pthread_mutex_lock(&box->lock);
    struct mail *mail = box->first;
    box->first = NULL;
    box->last = &box->first;
    pthread_mutex_unlock(&box->lock);
    while (mail != NULL) {
        struct mail *next = mail->next;
        mail->run(mail);
        mail = next;
    }
}

struct mailbox *mailbox_new(struct event_base *base, struct err *err)
{
    struct mailbox *box = mem_calloc(1, sizeof *box);
    if (box == NULL) {
        err_set(err, ERR_MEMORY, "no memory for a mailbox");
        return NULL;
    }
    pthread_mutex_init(&box->lock, NULL);
    box->last = &box->first;
    box->wake = event_new(base, -1, EV_PERSIST, deliver, box);
    if (box->wake == NULL) {
        mailbox_free(box);
        err_set(err, ERR_MEMORY, "no memory for a mailbox's event");
        return NULL;
    }
    return box;
}

void mailbox_free(struct mailbox *box)
{
    if (box == NULL) {
        return;
    }
    deliver(-1, 0, box);
    if (box->wake != NULL) {
        event_free(box->wake);
    }
    pthread_mutex_destroy(&box->lock);
    mem_free(box);
}

void mailbox_post(struct mailbox *box, struct mail *mail)
{
    mail->next = NULL;
    pthread_mutex_lock(&box->lock);
    bool was_empty = box->first == NULL;
    *box->last = mail;
    box->last = &mail->next;
    pthread_mutex_unlock(&box->lock);
    if (was_empty) {
        event_active(box->wake, EV_READ, 0);
    }
}
