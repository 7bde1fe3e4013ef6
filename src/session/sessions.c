#include "session/sessions.h"

#include <pthread.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "session/budget.h"
#include "session/table.h"

/* A keyholder that is being started again is worth waiting for. */
#define KEYHOLDER_WAIT_MS 3000

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

/* With the lock held: every waiter of entry gets the entry's state. */
static void wake_waiters(struct sessions *sessions, struct session_entry *entry, const struct err *err)
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

/* With the lock held. */
static void enqueue(struct sessions *sessions, struct session_entry *entry)
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

static bool session_usable(const struct sessions *sessions, const struct session *s, int64_t now)
{
    return s != NULL && now < s->expires_ns &&
           s->key.generation == keyholder_control_generation(sessions->options.control);
}

/* With the lock held: may a handshake of entry begin now? */
static bool may_open(struct session_entry *entry, int64_t now, struct err *err)
{
    if (now < entry->refused_until_ns) {
        *err = entry->last_err;
        return err_context(err, "not tried again yet");
    }
    if (entry->forced) {
        int64_t wait_ns = budget_take(&entry->rekeys, now);
        if (wait_ns > 0) {
            return err_set(err, ERR_BUSY,
                           "the key of this model was replaced %d times in 10 minutes; next in %lld s",
                           LIMIT_REKEYS_PER_10_MIN, (long long)(wait_ns / CLOCK_NS_PER_S) + 1);
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
    if (ok && session_usable(sessions, entry->session, now)) {
        *session = session_ref(entry->session);
        atomic_store(&entry->session->used, true);
    } else if (ok) {
        bool running = entry->queued || entry->running;
        ok = running || may_open(entry, now, err);
        *wait = ok ? add_waiter(entry, box, done, arg, err) : NULL;
        ok = *wait != NULL;
        if (ok && !running) {
            enqueue(sessions, entry);
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
        enqueue(sessions, entry);
    } else if (*wait != NULL && !entry->running && !entry->queued) {
        /* Failed a moment ago: the waiter hears of it at once instead of for ever. */
        wake_waiters(sessions, entry, &entry->last_err);
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

void sessions_retire(struct sessions *sessions, struct session *session)
{
    struct session *dropped = NULL;
    pthread_mutex_lock(&sessions->lock);
    for (struct session_entry *entry = sessions->entries; entry != NULL; entry = entry->next) {
        if (entry->session == session) {
            dropped = session;
            entry->session = NULL;
            entry->forced = true;
        }
    }
    pthread_mutex_unlock(&sessions->lock);
    session_unref(dropped);
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

/* Waits until the attestation budget has room. False when the table stops. With the lock held. */
static bool wait_for_budget(struct sessions *sessions)
{
    int64_t wait_ns;
    while (!sessions->stopping && (wait_ns = budget_take(&sessions->attestations, clock_boot_ns())) > 0) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += wait_ns / CLOCK_NS_PER_S;
        until.tv_nsec += wait_ns % CLOCK_NS_PER_S;
        if (until.tv_nsec >= CLOCK_NS_PER_S) {
            until.tv_sec++;
            until.tv_nsec -= CLOCK_NS_PER_S;
        }
        pthread_cond_timedwait(&sessions->stop, &sessions->lock, &until);
    }
    return !sessions->stopping;
}

static void refresh_catalogue(struct sessions *sessions)
{
    struct session_entry *entry = &sessions->catalogue_entry;
    struct err err = {0};
    struct catalogue *old = NULL;
    struct catalogue *fresh = sessions->options.fetch_catalogue(sessions->options.arg, &err);
    pthread_mutex_lock(&sessions->lock);
    entry->running = false;
    if (fresh != NULL) {
        err_clear(&err);
        old = sessions->catalogue;
        sessions->catalogue = fresh;
    } else {
        /* A stale list goes on serving; the upstream is not asked for it at every request. */
        entry->refused_until_ns = clock_boot_ns() + LIMIT_ATTESTATION_REFUSED_S * CLOCK_NS_PER_S;
        entry->last_err = err;
        log_warn("the list of models could not be fetched: %s", err_kind_name(err.kind));
    }
    wake_waiters(sessions, entry, &err);
    pthread_mutex_unlock(&sessions->lock);
    catalogue_unref(old);
}

static void publish(struct sessions *sessions, struct session_entry *entry, struct session *fresh,
                    struct err *err)
{
    struct session *old = NULL;
    pthread_mutex_lock(&sessions->lock);
    entry->running = false;
    if (fresh != NULL) {
        err_clear(err);
        old = entry->session;
        entry->session = fresh;
        entry->forced = false;
        if (entry->waiters != NULL) {
            atomic_store(&fresh->used, true);
        }
    } else {
        entry->last_err = *err;
        /* Each attempt costs the provider's budget, so that no failure is repeated at once. */
        int64_t pause_s = err->kind == ERR_ATTESTATION ? LIMIT_ATTESTATION_REFUSED_S : 1;
        entry->refused_until_ns = clock_boot_ns() + pause_s * CLOCK_NS_PER_S;
        entry->retry_rotation_ns = clock_boot_ns() + 60 * CLOCK_NS_PER_S;
    }
    wake_waiters(sessions, entry, err);
    pthread_mutex_unlock(&sessions->lock);
    session_unref(old);
}

static struct session *make_session(struct sessions *sessions, const char *model, struct err *err)
{
    const struct sessions_options *o = &sessions->options;
    struct session_evidence evidence;
    struct keyholder_opened opened;
    memset(&evidence, 0, sizeof evidence);
    /* The token first: an attestation that no key can use would be wasted budget. */
    if (!keyholder_control_wait(o->control, KEYHOLDER_WAIT_MS, err) ||
        !o->attest(o->arg, model, &evidence, err) ||
        !keyholder_open(o->control, evidence.model_point, &opened, err)) {
        return NULL;
    }
    struct session *s = session_build(o, model, &evidence, &opened, err);
    if (s == NULL) {
        keyholder_close(o->control, opened.key);
    }
    keyholder_opened_clear(&opened);
    return s;
}

static void open_session(struct sessions *sessions, struct session_entry *entry, bool rotation)
{
    struct err err = {0};
    int64_t begun = clock_boot_ns();
    struct session *fresh = make_session(sessions, entry->model, &err);
    if (sessions->options.on_handshake != NULL) {
        sessions->options.on_handshake(sessions->options.arg, entry->model, &err, clock_boot_ns() - begun,
                                       rotation);
    }
    publish(sessions, entry, fresh, &err);
}

static void *handshake_thread(void *arg)
{
    struct sessions *sessions = arg;
    pthread_mutex_lock(&sessions->lock);
    while (!sessions->stopping) {
        struct session_entry *entry = sessions->first_job;
        if (entry == NULL) {
            pthread_cond_wait(&sessions->work, &sessions->lock);
            continue;
        }
        sessions->first_job = entry->next_job;
        if (sessions->first_job == NULL) {
            sessions->last_job = &sessions->first_job;
        }
        entry->queued = false;
        entry->running = true;
        bool rotation = entry->session != NULL;
        if (entry == &sessions->catalogue_entry) {
            pthread_mutex_unlock(&sessions->lock);
            refresh_catalogue(sessions);
        } else if (wait_for_budget(sessions)) {
            pthread_mutex_unlock(&sessions->lock);
            open_session(sessions, entry, rotation);
        } else {
            break;
        }
        pthread_mutex_lock(&sessions->lock);
    }
    pthread_mutex_unlock(&sessions->lock);
    return NULL;
}

/* With the lock held: rotations that are due, sessions that nobody may use any more. */
static struct session *tend(struct sessions *sessions, int64_t now)
{
    struct session *dropped = NULL;
    for (struct session_entry *entry = sessions->entries; entry != NULL; entry = entry->next) {
        struct session *s = entry->session;
        if (s == NULL) {
            continue;
        }
        if (!session_usable(sessions, s, now)) {
            entry->session = NULL;
            dropped = s; /* one a turn is enough: turns are short */
            break;
        }
        if (now >= s->rotate_ns && now >= entry->retry_rotation_ns && !entry->queued && !entry->running &&
            atomic_load(&s->used)) {
            enqueue(sessions, entry);
        }
    }
    return dropped;
}

static void *keeper_thread(void *arg)
{
    struct sessions *sessions = arg;
    pthread_mutex_lock(&sessions->lock);
    while (!sessions->stopping) {
        struct session *dropped = tend(sessions, clock_boot_ns());
        if (dropped != NULL) {
            pthread_mutex_unlock(&sessions->lock);
            session_unref(dropped);
            pthread_mutex_lock(&sessions->lock);
            continue;
        }
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += 1;
        pthread_cond_timedwait(&sessions->stop, &sessions->lock, &until);
    }
    pthread_mutex_unlock(&sessions->lock);
    return NULL;
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
    sessions->attestations.count = LIMIT_ATTESTATIONS_PER_MIN;
    sessions->attestations.window_ns = 60 * CLOCK_NS_PER_S;
    pthread_mutex_init(&sessions->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&sessions->work, &monotonic);
    pthread_cond_init(&sessions->stop, &monotonic);
    pthread_condattr_destroy(&monotonic);
    unsigned want = options->threads < SESSIONS_THREADS_MAX ? options->threads : SESSIONS_THREADS_MAX - 1;
    for (unsigned i = 0; i <= want; i++) {
        void *(*body)(void *) = i == 0 ? keeper_thread : handshake_thread;
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
    wake_waiters(sessions, &sessions->catalogue_entry, &err);
    struct session_entry *entry = sessions->entries;
    while (entry != NULL) {
        struct session_entry *next = entry->next;
        wake_waiters(sessions, entry, &err);
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
