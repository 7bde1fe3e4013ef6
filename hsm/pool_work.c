/* What a thread of the pool does with the token. No lock is held here. */
#include "hsm/pool_private.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "crypto/hash.h"
#include "hsm/ckr.h"
#include "hsm/derive.h"
#include "hsm/selftest.h"
#include "hsm/session_key.h"

static CK_SESSION_HANDLE session_of(const struct worker *w)
{
    return w->index == 0 ? w->pool->token->session : w->session;
}

/* The thread's own session again. The first thread's holds all keys: its loss is the token's. */
static bool renew_session(struct worker *w)
{
    if (w->index == 0) {
        return false;
    }
    module_close_session(w->pool->token->module, w->session);
    CK_RV rv = token_new_session(w->pool->token, &w->session);
    if (rv != CKR_OK) {
        w->session = CK_INVALID_HANDLE;
        log_debug("a session could not be opened again: %s", ckr_name(rv));
    }
    return rv == CKR_OK;
}

/* What an OPEN gives: the request key, and with session custody what answers will be opened by; both of a secret that was
 * proven. The time of the proof is not that of a derivation. */
static bool root(struct worker *w, CK_OBJECT_HANDLE private_key, struct job *job, bool *dirty, CK_RV *rv)
{
    struct module *m = w->pool->token->module;
    struct secret z = SECRET_EMPTY;
    int64_t began = clock_boot_ns();
    bool ok = derive_shared_secret(m, session_of(w), private_key, job->point, &z, dirty, rv, &job->err);
    job->took_ns[KEYIPC_TIMED_DERIVE] += clock_boot_ns() - began;
    ok = ok &&
         derive_prove(m, session_of(w), private_key, job->pair.point, job->point, &z, dirty, rv, &job->err) &&
         hash_protocol_key(&job->key, &z, &job->err) &&
         (!job->session_custody || session_key_make(&job->scalar, job->response_point, &z, &job->err));
    secret_free(&z);
    if (!ok) {
        secret_free(&job->key);
    }
    return ok;
}

static bool answer_key(struct worker *w, CK_OBJECT_HANDLE private_key, struct job *job, bool *dirty,
                       CK_RV *rv)
{
    int64_t began = clock_boot_ns();
    bool ok = derive_key(w->pool->token->module, session_of(w), private_key, job->point, &job->key, dirty, rv,
                         &job->err);
    job->took_ns[KEYIPC_TIMED_DERIVE] += clock_boot_ns() - began;
    return ok;
}

/* Derives with at most one repetition: after a dead session on a new one, after a device's hiccup too, but for the
 * first thread, whose session holds all keys: on the same. */
static bool derive(struct worker *w, CK_OBJECT_HANDLE private_key, struct job *job)
{
    for (int attempt = 0;; attempt++) {
        bool dirty;
        CK_RV rv;
        job->ok = job->type == JOB_OPEN ? root(w, private_key, job, &dirty, &rv)
                                        : answer_key(w, private_key, job, &dirty, &rv);
        if (job->ok) {
            return true;
        }
        /* A derive that failed in the device may have left its secret in the session. */
        bool hiccup = ckr_class(rv) == CKR_CLASS_DEVICE;
        if (dirty || ckr_class(rv) == CKR_CLASS_SESSION || (hiccup && w->index > 0)) {
            if (!renew_session(w)) {
                return false;
            }
        } else if (!ckr_is_loss(rv)) {
            return true; /* this job failed, the token did not */
        } else if (!hiccup) {
            return false;
        }
        if (attempt == 1) {
            w->pool->restart = w->pool->restart || hiccup;
            /* A fresh session that is dead too: what is over is the login, which only the first thread can renew. */
            return !hiccup && !dirty && ckr_class(rv) != CKR_CLASS_SESSION;
        }
    }
}

static bool open_key(struct worker *w, struct job *job)
{
    struct pool *p = w->pool;
    CK_RV rv;
    int64_t began = clock_boot_ns();
    job->ok = key_generate(p->token, p->keys, &job->pair, NULL, &rv, &job->err);
    job->took_ns[KEYIPC_TIMED_GENERATE] = clock_boot_ns() - began;
    if (!job->ok) {
        p->restart = p->restart || ckr_class(rv) == CKR_CLASS_DEVICE;
        return !ckr_is_loss(rv);
    }
    memcpy(job->response_point, job->pair.point, POINT_BYTES);
    bool there = derive(w, job->pair.private_key, job);
    if (!job->ok) {
        if (there) {
            key_reject(&job->pair, &job->err);
            key_destroy(p->token, p->keys, job->pair.private_key);
        }
        if (job->err.kind == ERR_KEY_GONE) {
            job->err.kind = ERR_TOKEN; /* nothing of the client's is gone: it has no key yet */
        }
    }
    return there;
}

bool pool_work_run(struct worker *w, struct job *job)
{
    int64_t began = clock_boot_ns();
    switch (job->type) {
    case JOB_OPEN:
        return open_key(w, job);
    case JOB_DERIVE:
        return derive(w, job->private_key, job);
    case JOB_DESTROY:
        key_destroy(w->pool->token, w->pool->keys, job->private_key);
        job->took_ns[KEYIPC_TIMED_DESTROY] = clock_boot_ns() - began;
        job->ok = true;
        return true;
    }
    return true;
}

bool pool_work_keepalive(struct worker *w, struct err *err)
{
    CK_RV rv = module_touch(w->pool->token->module, session_of(w), w->pool->token->found.slot);
    if (rv == CKR_OK || !ckr_is_loss(rv)) {
        return true;
    }
    return ckr_fail(err, rv, "keeping the token awake");
}

bool pool_work_open_sessions(struct pool *p, unsigned wanted, struct err *err)
{
    p->count = 1;
    wanted = wanted < p->token->max_sessions ? wanted : p->token->max_sessions;
    while (p->count < wanted) {
        CK_RV rv = token_new_session(p->token, &p->workers[p->count].session);
        if (ckr_class(rv) == CKR_CLASS_BUSY || (rv != CKR_OK && !ckr_is_loss(rv))) {
            log_warn("the token gives %u sessions, not %u (%s)", p->count, wanted, ckr_name(rv));
            break;
        }
        if (rv != CKR_OK) {
            return ckr_fail(err, rv, "C_OpenSession");
        }
        p->count++;
    }
    return true;
}

bool pool_work_recover(struct pool *p, unsigned attempt, struct err *err)
{
    struct token *t = p->token;
    unsigned wanted = p->started;
    key_forget_all(p->keys);
    /* C_GetSlotList first; after a device's failure, and from the second attempt on, the module itself afresh (tokens.md,
     * "Gone and back"). A full card shows the key that it said it could not make only then. */
    if (!token_recover(t, atomic_exchange(&p->restart, false) || attempt > 0, err)) {
        return false;
    }
    key_sweep(t, p->keys, t->instance->label);
    if (!t->tested && !(t->tested = selftest_token(t, p->keys, NULL, err))) {
        return false; /* a device that was not there before */
    }
    if (!pool_work_open_sessions(p, wanted, err)) {
        return false;
    }
    for (unsigned i = p->count; i < p->started; i++) {
        p->workers[i].session = CK_INVALID_HANDLE; /* its thread stays idle */
    }
    return true;
}
