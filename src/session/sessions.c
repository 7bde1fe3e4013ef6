#include "session/sessions.h"

#include <pthread.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "session/budget.h"
#include "session/table.h"

struct session_wait {
    struct mail mail; /* first: posted as mail */
    struct session_wait *next;
    struct session_entry *entry;
    struct mailbox *box;
    session_done_cb done; /* NULL: cancelled */
    void *arg;
    struct session *session;
    struct catalogue *catalogue;
    struct err err;
    bool posted;
};

static void deliver_wait(struct mail *mail)
{
    struct session_wait *wait = (struct session_wait *)mail;
    if (wait->done != NULL) {
        wait->done(wait->arg, wait->session, wait->catalogue, &wait->err);
    } else {
        session_unref(wait->session);
        catalogue_unref(wait->catalogue);
    }
    mem_free(wait);
}

void sessions_wake(struct sessions *sessions, struct session_entry *entry, const struct err *err)
{
    struct session_wait *wait = entry->waiters;
    entry->waiters = NULL;
    while (wait != NULL) {
        struct session_wait *next = wait->next;
        wait->err = *err;
        if (err->kind == ERR_NONE && entry == &sessions->catalogue_entry) {
            wait->catalogue = catalogue_ref(sessions->catalogue);
        } else if (err->kind == ERR_NONE) {
            wait->session = session_ref(entry->session);
        }
        wait->posted = true;
        mailbox_post(wait->box, &wait->mail);
        wait = next;
    }
}

static struct session_wait *add_waiter(struct session_entry *entry, struct mailbox *box, session_done_cb done,
                                       void *arg, struct err *err)
{
    struct session_wait *wait = mem_calloc(1, sizeof *wait);
    if (wait == NULL) {
        err_set(err, ERR_MEMORY, "no memory to wait for a session");
        return NULL;
    }
    wait->mail.run = deliver_wait;
    wait->entry = entry;
    wait->box = box;
    wait->done = done;
    wait->arg = arg;
    wait->next = entry->waiters;
    entry->waiters = wait;
    return wait;
}

void sessions_enqueue(struct sessions *sessions, struct session_entry *entry)
{
    if (!entry->queued) {
        entry->queued = true;
        entry->next_job = NULL;
        *sessions->last_job = entry;
        sessions->last_job = &entry->next_job;
        pthread_cond_signal(&sessions->work);
    }
}

static struct session_entry *find_entry(struct sessions *sessions, const char *model, struct err *err)
{
    struct session_entry *entry;
    for (entry = sessions->entries; entry != NULL; entry = entry->next) {
        if (strcmp(entry->model, model) == 0) {
            return entry;
        }
    }
    entry = mem_calloc(1, sizeof *entry);
    if (entry == NULL || strlen(model) > LIMIT_MODEL_ID_BYTES) {
        mem_free(entry);
        err_set(err, ERR_MEMORY, "no memory for a model's session");
        return NULL;
    }
    memcpy(entry->model, model, strlen(model) + 1);
    entry->rekeys.count = LIMIT_REKEYS_PER_10_MIN;
    entry->rekeys.window_ns = 600 * CLOCK_NS_PER_S;
    entry->next = sessions->entries;
    sessions->entries = entry;
    return entry;
}

bool sessions_usable(const struct sessions *sessions, const struct session *s, int64_t now)
{
    return s != NULL && now < s->expires_ns &&
           s->key.generation == keyholder_control_generation(sessions->options.control) &&
           s->key.losses == keyholder_control_losses(sessions->options.control);
}

static int64_t seconds_up(int64_t ns)
{
    return (ns + CLOCK_NS_PER_S - 1) / CLOCK_NS_PER_S;
}

/* With the lock held: may a handshake of entry begin now? */
static bool may_open(struct session_entry *entry, int64_t now, struct err *err)
{
    if (now < entry->refused_until_ns) {
        *err = entry->last_err;
        if (err->retry_after_s > 0) {
            err_retry_after(err, seconds_up(entry->refused_until_ns - now));
        }
        return err_context(err, "not tried again yet");
    }
    if (entry->forced) {
        int64_t wait_ns = budget_take(&entry->rekeys, now);
        if (wait_ns > 0) {
            err_set(err, ERR_BUSY,
                    "the key of this model was replaced %d times in 10 minutes; next in %lld s",
                    LIMIT_REKEYS_PER_10_MIN, (long long)seconds_up(wait_ns));
            return err_retry_after(err, seconds_up(wait_ns));
        }
        entry->forced = false;
    }
    return true;
}

bool sessions_acquire(struct sessions *sessions, const char *model, struct mailbox *box, session_done_cb done,
                      void *arg, struct session **session, struct session_wait **wait, struct err *err)
{
    int64_t now = clock_boot_ns();
    *session = NULL;
    *wait = NULL;
    pthread_mutex_lock(&sessions->lock);
    struct session_entry *entry = find_entry(sessions, model, err);
    bool ok = entry != NULL;
    if (ok && sessions_usable(sessions, entry->session, now)) {
        *session = session_ref(entry->session);
        atomic_store(&entry->session->used, true);
    } else if (ok) {
        bool running = entry->queued || entry->running;
        ok = running || may_open(entry, now, err);
        *wait = ok ? add_waiter(entry, box, done, arg, err) : NULL;
        ok = *wait != NULL;
        if (ok && !running) {
            sessions_enqueue(sessions, entry);
        }
    }
    pthread_mutex_unlock(&sessions->lock);
    return ok;
}

bool sessions_catalogue(struct sessions *sessions, struct mailbox *box, session_done_cb done, void *arg,
                        struct catalogue **catalogue, struct session_wait **wait, struct err *err)
{
    int64_t now = clock_boot_ns();
    *catalogue = NULL;
    *wait = NULL;
    pthread_mutex_lock(&sessions->lock);
    struct session_entry *entry = &sessions->catalogue_entry;
    bool stale = sessions->catalogue == NULL ||
                 now - catalogue_fetched_ns(sessions->catalogue) > LIMIT_CATALOGUE_AGE_S * CLOCK_NS_PER_S;
    bool ok = true;
    if (sessions->catalogue != NULL) {
        *catalogue = catalogue_ref(sessions->catalogue);
    } else {
        *wait = add_waiter(entry, box, done, arg, err);
        ok = *wait != NULL;
    }
    if (ok && stale && !entry->running && now >= entry->refused_until_ns) {
        sessions_enqueue(sessions, entry);
    } else if (*wait != NULL && !entry->running && !entry->queued) {
        /* Failed a moment ago: the waiter hears of it at once instead of for ever. */
        sessions_wake(sessions, entry, &entry->last_err);
    }
    pthread_mutex_unlock(&sessions->lock);
    return ok;
}

void sessions_cancel(struct sessions *sessions, struct session_wait *wait)
{
    pthread_mutex_lock(&sessions->lock);
    wait->done = NULL;
    if (!wait->posted) {
        struct session_wait **link = &wait->entry->waiters;
        while (*link != wait) {
            link = &(*link)->next;
        }
        *link = wait->next;
        mem_free(wait);
    }
    pthread_mutex_unlock(&sessions->lock);
}

static void retire(struct sessions *sessions, struct session *session, bool forced)
{
    struct session *dropped = NULL;
    pthread_mutex_lock(&sessions->lock);
    for (struct session_entry *entry = sessions->entries; entry != NULL; entry = entry->next) {
        if (entry->session == session) {
            dropped = session;
            entry->session = NULL;
            entry->forced = forced;
        }
    }
    pthread_mutex_unlock(&sessions->lock);
    session_unref(dropped);
}

void sessions_retire(struct sessions *sessions, struct session *session)
{
    retire(sessions, session, true);
}

void sessions_renew(struct sessions *sessions, struct session *session)
{
    retire(sessions, session, false);
}

void sessions_visit(struct sessions *sessions, void (*visit)(void *arg, const struct session *session),
                    void *arg)
{
    pthread_mutex_lock(&sessions->lock);
    for (struct session_entry *entry = sessions->entries; entry != NULL; entry = entry->next) {
        if (entry->session != NULL) {
            visit(arg, entry->session);
        }
    }
    pthread_mutex_unlock(&sessions->lock);
}

struct sessions *sessions_new(const struct sessions_options *options, struct err *err)
{
    struct sessions *sessions = mem_calloc(1, sizeof *sessions);
    pthread_condattr_t monotonic;
    if (sessions == NULL) {
        err_set(err, ERR_MEMORY, "no memory for the table of sessions");
        return NULL;
    }
    sessions->options = *options;
    sessions->last_job = &sessions->first_job;
    pthread_mutex_init(&sessions->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&sessions->work, &monotonic);
    pthread_cond_init(&sessions->stop, &monotonic);
    pthread_condattr_destroy(&monotonic);
    unsigned want = options->threads < SESSIONS_THREADS_MAX ? options->threads : SESSIONS_THREADS_MAX - 1;
    for (unsigned i = 0; i <= want; i++) {
        void *(*body)(void *) = i == 0 ? sessions_keeper : sessions_handshakes;
        int result = pthread_create(&sessions->threads[i], NULL, body, sessions);
        if (result != 0) {
            err_errno(err, ERR_MEMORY, result, "cannot start a session thread");
            sessions_free(sessions);
            return NULL;
        }
        sessions->thread_count++;
    }
    return sessions;
}

void sessions_free(struct sessions *sessions)
{
    struct err err;
    if (sessions == NULL) {
        return;
    }
    err_set(&err, ERR_CANCELLED, "shutting down");
    pthread_mutex_lock(&sessions->lock);
    sessions->stopping = true;
    pthread_cond_broadcast(&sessions->work);
    pthread_cond_broadcast(&sessions->stop);
    pthread_mutex_unlock(&sessions->lock);
    for (unsigned i = 0; i < sessions->thread_count; i++) {
        pthread_join(sessions->threads[i], NULL);
    }
    pthread_mutex_lock(&sessions->lock);
    sessions_wake(sessions, &sessions->catalogue_entry, &err);
    struct session_entry *entry = sessions->entries;
    while (entry != NULL) {
        struct session_entry *next = entry->next;
        sessions_wake(sessions, entry, &err);
        session_unref(entry->session);
        mem_free(entry);
        entry = next;
    }
    pthread_mutex_unlock(&sessions->lock);
    catalogue_unref(sessions->catalogue);
    pthread_cond_destroy(&sessions->work);
    pthread_cond_destroy(&sessions->stop);
    pthread_mutex_destroy(&sessions->lock);
    mem_free(sessions);
}
