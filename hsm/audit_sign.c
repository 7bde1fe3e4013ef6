#include "hsm/audit_sign.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "hsm/audit_anchor.h"
#include "hsm/pool.h"

#define RETRY_S 5
#define RETRY_MAX_S 60

static struct {
    struct audit_signer signer;
    pthread_t thread;
    bool on; /* written while there is no thread */

    pthread_mutex_t lock; /* all below */
    pthread_cond_t wake, done;
    bool stopping, failing, rotated;
    struct chain_head head; /* on the disk */
    uint64_t file_first;    /* line of the file that head is in */
    uint64_t wanted;        /* line that somebody waits for */
    uint64_t line;          /* signed last */
    uint64_t attempts;
    int64_t signed_s, tried_s; /* clock_boot_s of the last success and attempt */
    int64_t pause_s;           /* to the next attempt */
    struct err why;
} sign_state = {.lock = PTHREAD_MUTEX_INITIALIZER};
#define s sign_state

/* The log's writer, after each batch. */
static void on_written(const struct chain_head *head, uint64_t file_first)
{
    pthread_mutex_lock(&s.lock);
    s.rotated = s.rotated || (s.file_first != 0 && file_first != s.file_first);
    s.file_first = file_first;
    s.head = *head;
    if (s.rotated || s.head.seq - s.line >= s.signer.every) {
        pthread_cond_signal(&s.wake);
    }
    pthread_mutex_unlock(&s.lock);
}

/* A checkpoint that follows its line at once is no line to be signed. */
static bool pending(void)
{
    return s.head.seq > s.line + (s.line > 0);
}

static bool is_due(void)
{
    int64_t now = clock_boot_s();
    if (!pending() || s.stopping) {
        return false;
    }
    if (s.wanted > s.line) {
        return true;
    }
    if (s.failing) {
        return now - s.tried_s >= s.pause_s;
    }
    return s.rotated || s.head.seq - s.line >= s.signer.every || now - s.signed_s >= LIMIT_AUDIT_SIGN_S;
}

/* Without the lock: one checkpoint over head. */
static bool make(const struct chain_head *head, struct err *err)
{
    char members[CHECKPOINT_MEMBERS_BYTES];
    struct audit_state log;
    struct err ignored;
    struct checkpoint c = {.from = audit_anchor_from(), .line = head->seq};
    memcpy(c.hash, head->hash, sizeof c.hash);
    snprintf(c.instance, sizeof c.instance, "%s", s.signer.instance);
    if (!s.signer.sign(s.signer.context, &c, err)) {
        return false;
    }
    audit_state(&log);
    if (log.head.seq > head->seq + CHECKPOINT_BACK_MAX / 2) {
        return err_set(err, ERR_TOKEN, "the signature took so long that the log has gone too far");
    }
    checkpoint_members(members, &c);
    audit_event(CHECKPOINT_EVENT, "%s", members);
    (void)!audit_flush(LIMIT_AUDIT_S * 1000, &ignored);
    return true;
}

/* Lock held. */
static void note(bool ok, uint64_t line, const struct err *err)
{
    s.attempts++;
    s.tried_s = clock_boot_s();
    if (ok) {
        if (s.failing) {
            log_info("the custody log is signed again");
        }
        s.line = line;
        s.signed_s = s.tried_s;
        s.failing = false;
        return;
    }
    s.why = *err;
    s.pause_s = !s.failing ? RETRY_S : s.pause_s * 2 < RETRY_MAX_S ? s.pause_s * 2 : RETRY_MAX_S;
    if (!s.failing) {
        struct audit_text text;
        log_error("the custody log cannot be signed: %s; it is written all the same, and tried again",
                  err->message);
        audit_event("checkpoint_failed", ",\"line\":%" PRIu64 ",\"why\":%s", line,
                    audit_quote(&text, err->message));
    }
    s.failing = true;
}

/* Lock held, released meanwhile. */
static void sign_head(void)
{
    struct chain_head head = s.head;
    struct audit_state log;
    struct err err = {0};
    bool rotated = s.rotated;
    s.rotated = false;
    pthread_mutex_unlock(&s.lock);
    bool ok = make(&head, &err);
    audit_state(&log);
    audit_anchor_write(&log.head); /* what is known does not depend on the signature */
    pthread_mutex_lock(&s.lock);
    note(ok, head.seq, &err);
    if (!ok) {
        s.rotated = s.rotated || rotated;
        s.wanted = 0; /* who waits is told so */
    }
    pthread_cond_broadcast(&s.done);
}

static void *run(void *unused)
{
    int64_t awake_s = clock_boot_s();
    pthread_mutex_lock(&s.lock);
    while (!s.stopping) {
        struct timespec until;
        if (is_due()) {
            sign_head();
            awake_s = clock_boot_s();
            continue;
        }
        if (clock_boot_s() - awake_s >= POOL_KEEPALIVE_S) {
            pthread_mutex_unlock(&s.lock);
            s.signer.keep_awake(s.signer.context);
            awake_s = clock_boot_s();
            pthread_mutex_lock(&s.lock);
            continue;
        }
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += s.failing ? 1 : RETRY_S;
        (void)!pthread_cond_timedwait(&s.wake, &s.lock, &until);
    }
    pthread_mutex_unlock(&s.lock);
    return unused;
}

/* For good: the log's writer may be about to signal one when the thread has ended. */
static void make_conditions(void)
{
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&s.wake, &monotonic);
    pthread_cond_init(&s.done, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

static bool start_thread(struct err *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    sigset_t all, before;
    pthread_once(&once, make_conditions);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&s.thread, NULL, run, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    s.on = failed == 0;
    return failed == 0 || err_errno(err, ERR_IO, failed, "cannot start the thread that signs");
}

bool audit_sign_start(const struct audit_signer *signer, struct err *err)
{
    struct audit_state log;
    if (!audit_flush(LIMIT_AUDIT_S * 1000, err)) {
        return false;
    }
    s.signer = *signer;
    s.stopping = s.failing = s.rotated = false;
    s.line = s.wanted = s.attempts = s.file_first = 0;
    s.signed_s = clock_boot_s();
    err_clear(&s.why);
    audit_state(&log);
    s.head = log.head;
    if (!start_thread(err)) {
        return false;
    }
    audit_on_written(on_written);
    if (audit_sign_now((LIMIT_TOKEN_CALL_S + LIMIT_AUDIT_S) * 1000)) {
        return true;
    }
    audit_sign_stop();
    *err = s.why;
    return err->kind != ERR_NONE ? false
                                 : err_set(err, ERR_TOKEN, "the custody log's key does not sign in time");
}

bool audit_sign_now(unsigned timeout_ms)
{
    struct timespec until;
    struct err ignored;
    struct audit_state log;
    if (!s.on) {
        return true;
    }
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += timeout_ms / 1000 + 1;
    (void)!audit_flush(timeout_ms, &ignored);
    audit_state(&log);
    pthread_mutex_lock(&s.lock);
    s.head = log.head.seq > s.head.seq ? log.head : s.head;
    uint64_t wanted = s.head.seq, attempts = s.attempts;
    bool ok = true;
    if (pending()) {
        s.wanted = wanted;
        pthread_cond_signal(&s.wake);
        /* Not s.line alone: wanted may be the checkpoint of a signature that was under way. */
        while (s.line < wanted && pending() && ok) {
            ok = pthread_cond_timedwait(&s.done, &s.lock, &until) != ETIMEDOUT;
            /* One attempt may have begun before this line. */
            ok = ok && !(s.failing && s.attempts > attempts);
        }
    }
    pthread_mutex_unlock(&s.lock);
    return ok;
}

void audit_sign_stop(void)
{
    if (!s.on) {
        return;
    }
    pthread_mutex_lock(&s.lock);
    s.stopping = true;
    pthread_cond_signal(&s.wake);
    pthread_mutex_unlock(&s.lock);
    pthread_join(s.thread, NULL);
    audit_on_written(NULL);
    s.on = false;
}

void audit_sign_state(struct audit_sign_state *out)
{
    *out = (struct audit_sign_state){.on = s.on};
    pthread_mutex_lock(&s.lock);
    out->failing = s.failing;
    out->line = s.line;
    pthread_mutex_unlock(&s.lock);
}
