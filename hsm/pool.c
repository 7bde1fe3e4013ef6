#include "hsm/pool_private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "hsm/audit.h"
#include "keyipc/start.h"

struct job *job_new(void)
{
    return mem_calloc(1, sizeof(struct job));
}

void job_free(struct job *job)
{
    if (job != NULL) {
        secret_free(&job->key);
        secret_free(&job->scalar);
        mem_free(job);
    }
}

#define MEAN_OF 8 /* derivations, about */

static void measure(struct pool *p, const struct job *job)
{
    for (int i = 0; i < KEYIPC_TIMED_COUNT; i++) {
        if (job->took_ns[i] > 0) {
            histogram_add(&p->times[i], job->took_ns[i]);
        }
    }
    int64_t ns = job->took_ns[KEYIPC_TIMED_DERIVE];
    if (ns > 0) {
        p->derive_ns = p->derive_ns == 0 ? ns : p->derive_ns + (ns - p->derive_ns) / MEAN_OF;
    }
}

/* Adds to the results. */
static void finish(struct pool *p, struct job *job)
{
    measure(p, job);
    if (!job->ok) {
        p->failure_count++;
    } else if (job->type == JOB_OPEN) {
        p->generate_count++;
        p->derive_count++;
    } else if (job->type == JOB_DERIVE) {
        p->derive_count++;
    }
    job_list_append(&p->done, job);
}

/* Whether the server must be woken now, after unlocking; it then counts as told. A thread switch for each result is a
 * tenth of what a software token's derivation costs, so that while others wait in the queue and derivations (the last
 * took ns) are fast, a few results are told at once. A lone result never waits. */
static bool must_tell(struct pool *p, int64_t ns)
{
    if (p->told || p->done.head == NULL) {
        return false;
    }
    int64_t now = clock_boot_ns();
    if (p->held_ns == 0) {
        p->held_ns = now;
    }
    if (queue_length(p->derives) > 0 && now - p->held_ns + ns < POOL_HOLD_NS) {
        return false;
    }
    p->told = true;
    p->held_ns = 0;
    return true;
}

static void wake_server(struct pool *p)
{
    uint64_t one = 1;
    while (write(p->wake_fd, &one, sizeof one) < 0 && errno == EINTR) {
    }
}

/* The job's turn on this thread, NULL when there is nothing for it. */
static struct job *take(struct worker *w)
{
    struct pool *p = w->pool;
    if (p->state != KEYIPC_TOKEN_READY || p->stopping || (w->index > 0 && w->index >= p->count)) {
        return NULL;
    }
    struct job *job = w->index == 0 ? job_list_take(&p->serial) : NULL;
    return job != NULL ? job : queue_take(p->derives);
}

static void wake(struct worker *w)
{
    if (w->idle) {
        w->idle = false;
        pthread_cond_signal(&w->wake);
    }
}

/* Sleeps until woken; the first worker at most until its keepalive is due. False on time-out. */
static bool wait_for_work(struct worker *w)
{
    struct pool *p = w->pool;
    struct timespec until = {0, 0};
    if (w->index == 0) {
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += POOL_KEEPALIVE_S;
    }
    w->idle = true;
    while (w->idle) {
        int result = w->index == 0 ? pthread_cond_timedwait(&w->wake, &p->lock, &until)
                                   : pthread_cond_wait(&w->wake, &p->lock);
        if (result == ETIMEDOUT) {
            w->idle = false;
            return false;
        }
    }
    return true;
}

/* Under the lock: every queued job fails, nobody starts another, the first worker takes over. */
static void declare_lost(struct pool *p, const struct err *why)
{
    struct job_list dropped = {NULL, NULL, 0};
    if (p->state == KEYIPC_TOKEN_READY) {
        log_error("the token is lost: \"%s\" (%s); its keys are gone", p->name, why->message);
        struct audit_text name, text;
        audit_event("login_lost", ",\"token\":%s,\"why\":%s", audit_quote(&name, p->name),
                    audit_quote(&text, why->message));
        p->state = KEYIPC_TOKEN_DOWN;
        p->login++;
        if (atomic_fetch_sub(&p->group->ready, 1) == 1) {
            atomic_store(&p->group->empty_since_ns, clock_boot_ns());
        }
    }
    p->reason = *why;
    p->reason.kind = ERR_TOKEN;
    queue_remove_connection(p->derives, 0, &dropped);
    job_list_splice(&dropped, &p->serial);
    for (struct job *job; (job = job_list_take(&dropped)) != NULL;) {
        job->ok = job->type == JOB_DESTROY; /* a key that is gone is destroyed */
        job->err = p->reason;
        finish(p, job);
    }
    wake(&p->workers[0]);
}

/* Runs job with the lock released. */
static void work_on(struct worker *w, struct job *job)
{
    struct pool *p = w->pool;
    bool there = true;
    int64_t began = clock_boot_ns();
    if (job->type != JOB_OPEN && job->login != p->login) {
        job->ok = job->type == JOB_DESTROY;
        err_set(&job->err, ERR_KEY_GONE, "the key was lost with the token's last login");
    } else {
        p->busy++;
        job->login = p->login;
        pthread_mutex_unlock(&p->lock);
        there = pool_work_run(w, job);
        pthread_mutex_lock(&p->lock);
        p->busy--;
        if (job->type == JOB_OPEN && job->ok && job->login != p->login) {
            secret_free(&job->scalar);
            secret_free(&job->key); /* lost by another thread while this one worked */
            job->ok = err_set(&job->err, ERR_TOKEN, "the token was lost while the key was made");
        }
    }
    struct err why = job->err;
    bool derived = job->type == JOB_DERIVE && job->ok;
    finish(p, job);
    if (!there) {
        declare_lost(p, &why);
    }
    if (must_tell(p, derived ? clock_boot_ns() - began : POOL_HOLD_NS) || !there) {
        pthread_mutex_unlock(&p->lock);
        wake_server(p);
        pthread_mutex_lock(&p->lock);
    }
}

static void keep_awake(struct worker *w)
{
    struct pool *p = w->pool;
    struct err err = {0};
    if (p->state != KEYIPC_TOKEN_READY) {
        return;
    }
    p->busy++;
    pthread_mutex_unlock(&p->lock);
    bool there = pool_work_keepalive(w, &err);
    pthread_mutex_lock(&p->lock);
    p->busy--;
    if (!there) {
        declare_lost(p, &err);
        wake_server(p); /* its keys are gone */
    }
}

static void *run(void *argument)
{
    struct worker *w = argument;
    struct pool *p = w->pool;
    pthread_mutex_lock(&p->lock);
    while (!p->stopping) {
        struct job *job = take(w);
        if (job != NULL) {
            work_on(w, job);
        } else if (w->index == 0 && p->state != KEYIPC_TOKEN_READY) {
            pool_recover(w);
        } else if (must_tell(p,
                             POOL_HOLD_NS)) { /* held back, and another thread has taken the queue's last */
            wake_server(p);
        } else if (!wait_for_work(w)) {
            keep_awake(w);
        }
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

static bool start_threads(struct pool *p, unsigned count, struct err *err)
{
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    int failed = 0;
    pthread_mutex_lock(
        &p->lock); /* the first of a token that is down begins at once, and wants to know how many */
    for (p->started = 0; p->started < count && failed == 0; p->started += failed == 0) {
        struct worker *w = &p->workers[p->started];
        w->pool = p;
        w->index = p->started;
        pthread_cond_init(&w->wake, &monotonic);
        failed = pthread_create(&w->thread, NULL, run, w);
    }
    pthread_mutex_unlock(&p->lock);
    pthread_condattr_destroy(&monotonic);
    return failed == 0 || err_errno(err, ERR_IO, failed, "cannot start a thread");
}

struct pool *pool_start(struct token *t, struct key_set *set, unsigned threads, int wake_fd,
                        struct pool_group *group, const struct err *down, struct err *err)
{
    struct pool *p = mem_calloc(1, sizeof *p);
    if (p == NULL || (p->derives = queue_new(LIMIT_KEYHOLDER_QUEUE, err)) == NULL) {
        err_set(err, ERR_MEMORY, "no memory for the token's threads");
        mem_free(p);
        return NULL;
    }
    p->token = t;
    p->keys = set;
    p->wake_fd = wake_fd;
    p->group = group;
    p->login = 1;
    p->count = 1;
    threads = threads < TOKEN_SESSIONS_MAX ? threads : TOKEN_SESSIONS_MAX;
    pthread_mutex_init(&p->lock, NULL);
    if (down->kind == ERR_NONE) {
        pool_ready(p);
        module_token_works(t->module, true);
        p->works = true;
    } else {
        p->reason = *down;
        p->state = down->kind == ERR_PIN ? KEYIPC_TOKEN_PIN : KEYIPC_TOKEN_DOWN;
    }
    if ((p->state == KEYIPC_TOKEN_READY && !pool_work_open_sessions(p, threads, err)) ||
        !start_threads(p, p->state == KEYIPC_TOKEN_READY ? p->count : threads, err)) {
        pool_stop(p);
        return NULL;
    }
    return p;
}

void pool_stop(struct pool *p)
{
    struct job_list left = {NULL, NULL, 0};
    pthread_mutex_lock(&p->lock);
    p->stopping = true;
    for (unsigned i = 0; i < p->started; i++) {
        p->workers[i].idle = false;
        pthread_cond_signal(&p->workers[i].wake);
    }
    pthread_mutex_unlock(&p->lock);
    for (unsigned i = 0; i < p->started; i++) {
        pthread_join(p->workers[i].thread, NULL);
        pthread_cond_destroy(&p->workers[i].wake);
    }
    if (p->works) {
        module_token_works(p->token->module, false);
    }
    for (unsigned i = 1; i < p->count; i++) {
        module_close_session(p->token->module, p->workers[i].session);
    }
    queue_remove_connection(p->derives, 0, &left);
    job_list_splice(&left, &p->serial);
    job_list_splice(&left, &p->done);
    for (struct job *job; (job = job_list_take(&left)) != NULL;) {
        job_free(job);
    }
    queue_free(p->derives);
    pthread_mutex_destroy(&p->lock);
    mem_free(p);
}

/* An idle deriving thread, else the first. */
static void wake_for_derive(struct pool *p)
{
    for (unsigned i = 1; i < p->count; i++) {
        if (p->workers[i].idle) {
            wake(&p->workers[i]);
            return;
        }
    }
    wake(&p->workers[0]);
}

bool pool_submit(struct pool *p, struct job *job, struct err *err)
{
    bool ok = true;
    pthread_mutex_lock(&p->lock);
    if (p->state != KEYIPC_TOKEN_READY && job->type != JOB_DESTROY) {
        *err = p->reason;
        ok = false;
    } else if (p->state != KEYIPC_TOKEN_READY) {
        ok = err_set(err, ERR_TOKEN, "the token is down, and the key gone with it");
    } else if (job->type == JOB_DERIVE) {
        ok = queue_put(p->derives, job, err);
        if (ok) {
            wake_for_derive(p);
        }
    } else {
        job_list_append(&p->serial, job);
        wake(&p->workers[0]);
    }
    pthread_mutex_unlock(&p->lock);
    return ok;
}

void pool_cancel_stream(struct pool *p, uint64_t connection, uint64_t stream, struct job_list *out)
{
    pthread_mutex_lock(&p->lock);
    queue_remove_stream(p->derives, connection, stream, out);
    pthread_mutex_unlock(&p->lock);
}

void pool_cancel_connection(struct pool *p, uint64_t connection, struct job_list *out)
{
    pthread_mutex_lock(&p->lock);
    queue_remove_connection(p->derives, connection, out);
    pthread_mutex_unlock(&p->lock);
}

void pool_results(struct pool *p, struct job_list *out)
{
    pthread_mutex_lock(&p->lock);
    job_list_splice(out, &p->done);
    p->told = false;
    p->held_ns = 0;
    pthread_mutex_unlock(&p->lock);
}

void pool_state(struct pool *p, struct pool_state *out)
{
    pthread_mutex_lock(&p->lock);
    *out = (struct pool_state){.token = p->state,
                               .login = p->login,
                               .sessions = p->count,
                               .derives = p->derive_count,
                               .generates = p->generate_count,
                               .failures = p->failure_count,
                               .queued = queue_length(p->derives) + p->serial.count,
                               .derive_ns = p->derive_ns / (p->count > 0 ? p->count : 1)};
    memcpy(out->times, p->times, sizeof out->times);
    memcpy(out->label, p->name, sizeof out->label);
    memcpy(out->serial, p->number, sizeof out->serial);
    pthread_mutex_unlock(&p->lock);
}
