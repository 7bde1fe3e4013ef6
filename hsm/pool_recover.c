/* How the first thread brings its token back. */
#include "hsm/pool_private.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "hsm/audit.h"
#include "hsm/audit_sign.h"
#include "keyipc/start.h"

#define QUICK_ATTEMPTS 5
#define PAUSE_S 5

void pool_ready(struct pool *p)
{
    p->state = KEYIPC_TOKEN_READY;
    err_clear(&p->reason);
    snprintf(p->name, sizeof p->name, "%s", p->token->found.label);
    snprintf(p->number, sizeof p->number, "%s", p->token->found.serial);
    atomic_fetch_add(&p->group->ready, 1);
}

/* Its threads leave the module. A hung one ends the process: watchdog. */
static void leave_module(struct pool *p)
{
    while (p->busy > 0 && !p->stopping) {
        pthread_mutex_unlock(&p->lock);
        nanosleep(&(struct timespec){0, 5 * CLOCK_NS_PER_MS}, NULL);
        pthread_mutex_lock(&p->lock);
    }
    if (p->works) {
        module_token_works(p->token->module, false);
        p->works = false;
    }
}

/* One attempt, without the lock. */
static bool attempt(struct pool *p, unsigned number, struct err *err)
{
    struct module *m = p->token->module;
    pthread_mutex_unlock(&p->lock);
    module_recovery_begin(m);
    bool back = pool_work_recover(p, number, err);
    if (back) {
        module_token_works(m, true);
    }
    module_recovery_end(m);
    pthread_mutex_lock(&p->lock);
    p->works = back;
    return back;
}

/* Nothing of ours is left in the token: keys went with the login. */
static void end_process(const char *why, int code)
{
    struct audit_text text;
    struct err ignored;
    log_error("%s", why);
    audit_event("stop", ",\"why\":%s", audit_quote(&text, why));
    (void)!audit_flush(1000, &ignored);
    (void)!audit_sign_now(LIMIT_AUDIT_LAST_SIGN_MS); /* its key may be on a token that works */
    _exit(code);
}

/* Ends the process where a fresh one, or somebody who looks at the PIN, is all that can help. Nothing of ours is left in
 * the token: keys went with the login. As long as another token works, this one stays away alone. */
static void give_up(struct pool *p, int64_t began)
{
    if (atomic_load(&p->group->ready) > 0) {
        if (p->reason.kind == ERR_PIN) {
            log_error("%s; the other tokens go on without it", p->reason.message);
            p->state = KEYIPC_TOKEN_PIN;
        }
        return;
    }
    if (p->reason.kind == ERR_PIN) {
        end_process(p->reason.message, KEYIPC_EXIT_PIN);
    }
    int64_t empty = atomic_load(&p->group->empty_since_ns), now = clock_boot_ns();
    if (now - (empty > began ? empty : began) > POOL_GIVE_UP_S * CLOCK_NS_PER_S) {
        err_context(&p->reason, "the token stays away");
        end_process(p->reason.message, KEYIPC_EXIT_TOKEN);
    }
}

void pool_retry_pin(struct pool *p)
{
    pthread_mutex_lock(&p->lock);
    if (p->state == KEYIPC_TOKEN_PIN) {
        p->state = KEYIPC_TOKEN_DOWN;
        pthread_cond_signal(&p->workers[0].wake);
    }
    pthread_mutex_unlock(&p->lock);
}

void pool_recover(struct worker *w)
{
    struct pool *p = w->pool;
    int64_t began = clock_boot_ns();
    leave_module(p);
    for (unsigned number = 0; !p->stopping && p->state != KEYIPC_TOKEN_READY; number++) {
        struct err err = {0};
        struct timespec until;
        if (p->state ==
            KEYIPC_TOKEN_PIN) { /* a refused PIN is not tried again: until pool_retry_pin, or the end */
            pthread_cond_wait(&w->wake, &p->lock);
            continue;
        }
        if (attempt(p, number, &err)) {
            pool_ready(p);
            log_info("the token is back: \"%s\"", p->name);
            return;
        }
        if (number == 0 || err.kind != p->reason.kind) {
            log_warn("the token is not back: %s", err.message);
        }
        p->reason = err;
        give_up(p, began);
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += number < QUICK_ATTEMPTS ? 1 : PAUSE_S;
        while (!p->stopping && pthread_cond_timedwait(&w->wake, &p->lock, &until) != ETIMEDOUT) {
        }
    }
}
