/* The threads of the table: handshakes, and the keeper that begins rotations and drops what has ended. */
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "session/table.h"

/* A keyholder that is being started again is worth waiting for. */
#define KEYHOLDER_WAIT_MS 3000
#define PAUSE_MAX_S 60

/* With the lock held: sleeps, unless the table stops meanwhile. */
static void wait_stop(struct sessions *sessions, int64_t ns)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    ns += until.tv_nsec;
    until.tv_sec += ns / CLOCK_NS_PER_S;
    until.tv_nsec = ns % CLOCK_NS_PER_S;
    pthread_cond_timedwait(&sessions->stop, &sessions->lock, &until);
}

/* Seconds until it is tried again: what the provider, or our own count, asks for, but no longer than a minute: it may have been
 * wrong. */
static int64_t pause_after(const struct err *err, int64_t least_s)
{
    int64_t asked = err->retry_after_s < PAUSE_MAX_S ? err->retry_after_s : PAUSE_MAX_S;
    return asked > least_s ? asked : least_s;
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
        entry->refused_until_ns =
            clock_boot_ns() + pause_after(&err, LIMIT_ATTESTATION_REFUSED_S) * CLOCK_NS_PER_S;
        entry->last_err = err;
        log_warn("the list of models could not be fetched: %s", err_kind_name(err.kind));
    }
    sessions_wake(sessions, entry, &err);
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
        int64_t pause_s = pause_after(err, err->kind == ERR_ATTESTATION ? LIMIT_ATTESTATION_REFUSED_S : 1);
        entry->refused_until_ns = clock_boot_ns() + pause_s * CLOCK_NS_PER_S;
        entry->retry_rotation_ns = clock_boot_ns() + 60 * CLOCK_NS_PER_S;
    }
    sessions_wake(sessions, entry, err);
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
        !o->attest(o->arg, model, &evidence, err)) {
        return NULL;
    }
    int64_t begun = clock_boot_ns();
    if (!keyholder_open(o->control, evidence.model_point, &opened, err)) {
        return NULL;
    }
    log_debug("%s: key pair opened in %lld us", model, (long long)((clock_boot_ns() - begun) / 1000));
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

void *sessions_handshakes(void *arg)
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
        } else {
            pthread_mutex_unlock(&sessions->lock);
            open_session(sessions, entry, rotation);
        }
        pthread_mutex_lock(&sessions->lock);
    }
    pthread_mutex_unlock(&sessions->lock);
    return NULL;
}

#define KEEPER_TURN_NS CLOCK_NS_PER_S /* a lost keyholder is noticed within this */

/* With the lock held: rotations that are due, sessions that nobody may use any more. *next is when to look again. */
static struct session *tend(struct sessions *sessions, int64_t now, int64_t *next)
{
    struct session *dropped = NULL;
    *next = now + KEEPER_TURN_NS;
    for (struct session_entry *entry = sessions->entries; entry != NULL; entry = entry->next) {
        struct session *s = entry->session;
        if (s == NULL) {
            continue;
        }
        if (!sessions_usable(sessions, s, now)) {
            entry->session = NULL;
            dropped = s; /* one a turn is enough: turns are short */
            break;
        }
        if (now >= s->rotate_ns && now >= entry->retry_rotation_ns && !entry->queued && !entry->running &&
            atomic_load(&s->used)) {
            sessions_enqueue(sessions, entry);
        }
        int64_t due = now < s->rotate_ns ? s->rotate_ns : s->expires_ns;
        *next = due < *next ? due : *next;
    }
    return dropped;
}

void *sessions_keeper(void *arg)
{
    struct sessions *sessions = arg;
    pthread_mutex_lock(&sessions->lock);
    while (!sessions->stopping) {
        int64_t next, now = clock_boot_ns();
        struct session *dropped = tend(sessions, now, &next);
        if (dropped != NULL) {
            pthread_mutex_unlock(&sessions->lock);
            session_unref(dropped);
            pthread_mutex_lock(&sessions->lock);
            continue;
        }
        wait_stop(sessions, next - now);
    }
    pthread_mutex_unlock(&sessions->lock);
    return NULL;
}
