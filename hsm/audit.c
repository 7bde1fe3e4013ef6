#include "hsm/audit.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "hsm/audit_anchor.h"
#include "hsm/audit_file.h"

#define BATCH_LINES 256
#define BATCH_BYTES ((BATCH_LINES + 2) * (CHAIN_LINE_BYTES_MAX + 1))
#define RETRY_S 1
#define STAMP_BYTES 32

struct entry {
    struct entry *next;
    const char *event;
    char time[STAMP_BYTES];
    char members[];
};

static struct {
    struct audit_options options;
    struct audit_file file; /* the thread's */
    uint64_t rotate_at;     /* the thread's */
    pthread_t thread;
    bool on; /* written before and after there are other threads */

    pthread_mutex_t lock; /* all below */
    pthread_cond_t wake, written;
    struct entry *first, *last;
    size_t waiting; /* in the list, and with the thread */
    bool stopping, failing;
    void (*on_written)(const struct chain_head *head, uint64_t file_first);
    uint64_t queued, done; /* events, counted */
    uint64_t untold, lost; /* events that were not queued: not yet told by a gap; all */
    char since[STAMP_BYTES];
    struct err why;         /* of the failure or the loss */
    struct chain_head head; /* of the file, as the others see it */
} log_state = {.lock = PTHREAD_MUTEX_INITIALIZER};
#define a log_state

static void stamp(char out[static STAMP_BYTES])
{
    struct timespec now;
    struct tm utc;
    char seconds[STAMP_BYTES - 8];
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    strftime(seconds, sizeof seconds, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(out, STAMP_BYTES, "%s.%03dZ", seconds, (int)(now.tv_nsec / CLOCK_NS_PER_MS % 1000));
}

/* ---- the writer ---- */

static bool add_gap(struct buf *out, struct chain_head *head, const char *since, uint64_t lost,
                    const struct err *why, struct err *err)
{
    char members[AUDIT_MEMBERS_BYTES], now[STAMP_BYTES];
    struct audit_text text;
    stamp(now);
    snprintf(members, sizeof members, ",\"since\":\"%s\",\"lost\":%" PRIu64 ",\"why\":%s", since, lost,
             audit_quote(&text, why->message));
    return chain_append(out, head, now, "gap", members, err);
}

static bool add_rotation(struct buf *out, struct chain_head *head, struct err *err)
{
    char members[AUDIT_MEMBERS_BYTES], now[STAMP_BYTES];
    struct audit_text text;
    stamp(now);
    snprintf(members, sizeof members, ",\"previous\":%s", audit_quote(&text, a.file.previous));
    return chain_append(out, head, now, "rotation", members, err);
}

/* A file that is full makes room for the next. Where that fails the old one grows on. */
static void rotate(void)
{
    struct err err = {0};
    if (a.file.fd < 0 || a.file.size < a.rotate_at) {
        return;
    }
    a.rotate_at = a.options.max_bytes;
    if (!audit_file_rotate(&a.file, &err)) {
        log_error("%s", err.message);
        a.rotate_at += a.file.size;
    }
}

/* The first count entries, in one write. The list may grow behind them meanwhile. */
static bool write_batch(const struct entry *e, size_t count, const char *since, uint64_t lost,
                        const struct err *why, struct err *err)
{
    struct buf out;
    buf_init(&out, BATCH_BYTES);
    rotate();
    struct chain_head head = a.file.head;
    bool fresh = a.file.size == 0 && a.file.previous[0] != '\0';
    bool ok = (!fresh || add_rotation(&out, &head, err)) &&
              (*since == '\0' || add_gap(&out, &head, since, lost, why, err));
    for (size_t i = 0; ok && i < count; i++) {
        ok = chain_append(&out, &head, e->time, e->event, e->members, err);
        e = i + 1 < count ? e->next : NULL;
    }
    ok = ok && audit_file_write(&a.file, out.data, out.len, &head, !a.options.no_sync, err);
    buf_free(&out);
    return ok;
}

static void drop_first(void)
{
    struct entry *e = a.first;
    a.first = e->next;
    a.last = a.first != NULL ? a.last : NULL;
    a.waiting--;
    a.done++;
    mem_free(e);
}

static void note_failure(const struct err *err)
{
    if (!a.failing) {
        log_error("%s; %s", err->message,
                  a.options.go_on ? "keys are made and used all the same (--audit-full continue)"
                                  : "no key is made or used until it can be (--audit-full refuse)");
    }
    if (!a.failing && a.untold == 0) {
        stamp(a.since);
    }
    a.failing = true;
    a.why = *err;
}

/* Lock held: one batch, during which it is released. */
static void write_some(void)
{
    char since[STAMP_BYTES];
    const struct entry *list = a.first;
    struct err why = a.why, err = {0};
    uint64_t untold = a.untold;
    void (*tell)(const struct chain_head *head, uint64_t file_first) = a.on_written;
    size_t count = a.waiting < BATCH_LINES ? a.waiting : BATCH_LINES;
    memcpy(since, a.since, sizeof since);
    pthread_mutex_unlock(&a.lock);
    bool ok = write_batch(list, count, since, untold, &why, &err);
    if (ok && tell != NULL) {
        tell(&a.file.head, a.file.first_seq);
    }
    pthread_mutex_lock(&a.lock);
    if (!ok) {
        note_failure(&err);
        pthread_cond_broadcast(&a.written);
        return;
    }
    while (count-- > 0) {
        drop_first();
    }
    a.head = a.file.head;
    if (a.failing) {
        log_info("the custody log is written again");
    }
    a.failing = false;
    a.untold -= untold;
    a.since[0] = '\0';
    if (a.untold > 0) {
        stamp(a.since);
    }
    pthread_cond_broadcast(&a.written);
}

static void *run(void *unused)
{
    pthread_mutex_lock(&a.lock);
    while (!a.stopping || a.waiting > 0) {
        if (a.waiting == 0 && a.untold == 0) {
            pthread_cond_wait(&a.wake, &a.lock);
            continue;
        }
        write_some();
        if (a.failing && a.stopping) {
            break;
        }
        if (a.failing) {
            struct timespec until;
            clock_gettime(CLOCK_MONOTONIC, &until);
            until.tv_sec += RETRY_S;
            while (!a.stopping && pthread_cond_timedwait(&a.wake, &a.lock, &until) != ETIMEDOUT) {
            }
        }
    }
    pthread_mutex_unlock(&a.lock);
    return unused;
}

/* ---- the rest ---- */

static bool start_thread(struct err *err)
{
    pthread_condattr_t monotonic;
    sigset_t all, before;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&a.wake, &monotonic);
    pthread_cond_init(&a.written, &monotonic);
    pthread_condattr_destroy(&monotonic);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&a.thread, NULL, run, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed != 0) {
        pthread_cond_destroy(&a.wake);
        pthread_cond_destroy(&a.written);
        return err_errno(err, ERR_IO, failed, "cannot start the custody log's thread");
    }
    return true;
}

bool audit_open(const struct audit_options *o, struct err *err)
{
    if (o->path == NULL) {
        return true;
    }
    /* Past RLIMIT_FSIZE write shall fail, not kill. */
    if (signal(SIGXFSZ, SIG_IGN) == SIG_ERR || !audit_file_open(&a.file, o->path, err) ||
        (o->anchor_dir != NULL && !audit_anchor_open(o->anchor_dir, o->path, &a.file, err)) ||
        !start_thread(err)) {
        audit_anchor_close();
        audit_file_close(&a.file);
        return err_context(err, "--audit-log");
    }
    a.options = *o;
    a.rotate_at = o->max_bytes;
    a.head = a.file.head;
    a.on = true;
    if (a.file.torn > 0) {
        log_warn("the custody log's last line was torn, by a keyholder that died writing: cut off");
        audit_event("torn", ",\"bytes\":%" PRIu64, a.file.torn);
    }
    return true;
}

void audit_close(void)
{
    if (!a.on) {
        return;
    }
    pthread_mutex_lock(&a.lock);
    a.stopping = true;
    pthread_cond_signal(&a.wake);
    pthread_mutex_unlock(&a.lock);
    pthread_join(a.thread, NULL);
    if (a.waiting > 0) {
        log_error("%zu events are not in the custody log", a.waiting);
    }
    while (a.first != NULL) {
        drop_first();
    }
    audit_anchor_write(&a.file.head);
    audit_anchor_close();
    audit_file_close(&a.file);
    pthread_cond_destroy(&a.wake);
    pthread_cond_destroy(&a.written);
    a.on = a.stopping = a.failing = false;
    a.queued = a.done = a.untold = a.lost = 0;
    a.since[0] = '\0';
    a.head = (struct chain_head){0};
}

void audit_on_written(void (*tell)(const struct chain_head *head, uint64_t file_first))
{
    pthread_mutex_lock(&a.lock);
    a.on_written = tell;
    pthread_mutex_unlock(&a.lock);
}

/* Lock held. entry NULL: no memory for it. */
static void put(struct entry *entry)
{
    if (entry != NULL && a.waiting < LIMIT_AUDIT_QUEUE) {
        *(a.last != NULL ? &a.last->next : &a.first) = entry;
        a.last = entry;
        a.waiting++;
        a.queued++;
        return;
    }
    if (a.untold++ == 0 && !a.failing) {
        stamp(a.since);
        err_set(&a.why, ERR_MEMORY, "%s", entry == NULL ? "no memory" : "more events at once than are kept");
        log_error("events of the custody log are lost: %s", a.why.message);
    }
    a.lost++;
    mem_free(entry);
}

void audit_event(const char *event, const char *members, ...)
{
    char text[AUDIT_MEMBERS_BYTES];
    va_list args;
    if (!a.on) {
        return;
    }
    va_start(args, members);
    int len = vsnprintf(text, sizeof text, members, args);
    va_end(args);
    if (len < 0 || (size_t)len >= sizeof text) {
        len = 0; /* half a member is no JSON */
    }
    text[len] = '\0';
    struct entry *e = mem_alloc(sizeof *e + (size_t)len + 1);
    if (e != NULL) {
        e->next = NULL;
        e->event = event;
        memcpy(e->members, text, (size_t)len + 1);
    }
    pthread_mutex_lock(&a.lock);
    if (e != NULL) {
        stamp(e->time); /* in the order of the lines */
    }
    put(e);
    if (!a.failing) {
        pthread_cond_signal(&a.wake);
    }
    pthread_mutex_unlock(&a.lock);
}

static bool refuse(struct err *err)
{
    return err_set(err, ERR_TOKEN, "the custody log cannot be written, and without it the token is not used");
}

bool audit_flush(unsigned timeout_ms, struct err *err)
{
    struct timespec until;
    bool ok = true;
    if (!a.on) {
        return true;
    }
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += timeout_ms / 1000;
    until.tv_nsec += (long)(timeout_ms % 1000) * CLOCK_NS_PER_MS;
    if (until.tv_nsec >= CLOCK_NS_PER_S) {
        until.tv_nsec -= CLOCK_NS_PER_S;
        until.tv_sec++;
    }
    pthread_mutex_lock(&a.lock);
    uint64_t wanted = a.queued;
    while (a.done < wanted && !a.failing && ok) {
        ok = pthread_cond_timedwait(&a.written, &a.lock, &until) != ETIMEDOUT;
    }
    ok = (a.done >= wanted && !a.failing && a.untold == 0) || a.options.go_on;
    pthread_mutex_unlock(&a.lock);
    return ok || refuse(err);
}

bool audit_admits(struct err *err)
{
    if (!a.on) {
        return true;
    }
    pthread_mutex_lock(&a.lock);
    bool ok = a.options.go_on || (!a.failing && a.untold == 0);
    pthread_mutex_unlock(&a.lock);
    return ok || refuse(err);
}

void audit_state(struct audit_state *out)
{
    *out = (struct audit_state){.state = KEYIPC_AUDIT_NONE};
    if (!a.on) {
        return;
    }
    pthread_mutex_lock(&a.lock);
    out->state = a.failing || a.untold > 0 ? KEYIPC_AUDIT_FAILING : KEYIPC_AUDIT_WRITTEN;
    out->head = a.head;
    out->lost = a.lost;
    pthread_mutex_unlock(&a.lock);
}
