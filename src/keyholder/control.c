#include "keyholder/control.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <openssl/rand.h>

#include "base/clock.h"
#include "base/mem.h"
#include "keyholder/control_internal.h"

static void poke(int wake)
{
    uint64_t one = 1;
    if (write(wake, &one, sizeof one) < 0) {
        return; /* full: it is awake anyhow */
    }
}

static struct timespec after_ms(int64_t ms)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += ms / 1000;
    t.tv_nsec += ms % 1000 * CLOCK_NS_PER_MS;
    if (t.tv_nsec >= CLOCK_NS_PER_S) {
        t.tv_sec++;
        t.tv_nsec -= CLOCK_NS_PER_S;
    }
    return t;
}

/* ---- life ---- */

static bool start_thread(struct keyholder_control *c)
{
    sigset_t all, old;
    /* Signals are the main thread's. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    bool ok = pthread_create(&c->thread, NULL, keyholder_control_thread, c) == 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return ok;
}

static void control_destroy(struct keyholder_control *c)
{
    keyholder_conn_free(&c->conn);
    secret_free(&c->join);
    keyholder_link_free(c->link);
    if (c->wake >= 0) {
        close(c->wake);
    }
    pthread_cond_destroy(&c->changed);
    pthread_mutex_destroy(&c->lock);
    mem_free(c);
}

struct keyholder_control *keyholder_control_new(struct keyholder_link *link,
                                                const struct keyholder_options *options, struct err *err)
{
    struct keyholder_control *c = mem_calloc(1, sizeof *c);
    pthread_condattr_t attr;
    if (c == NULL) {
        keyholder_link_free(link);
        err_set(err, ERR_MEMORY, "no memory for the keyholder's client");
        return NULL;
    }
    c->link = link;
    c->options = *options;
    c->next_id = KEYHOLDER_ID_FIRST;
    c->state.token_state = KEYIPC_TOKEN_DOWN;
    err_set(&c->state.reason, ERR_TOKEN, "no keyholder has answered yet");
    for (size_t i = 0; i < LIMIT_KEYHOLDER_WORKERS; i++) {
        c->workers[i] = -1;
    }
    pthread_mutex_init(&c->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&c->changed, &attr);
    pthread_condattr_destroy(&attr);
    c->conn.fd = -1;
    c->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    bool ok = c->wake >= 0 || err_errno(err, ERR_IO, errno, "no event descriptor for the keyholder's client");
    ok = ok && keyholder_conn_init(&c->conn, err) && secret_new(&c->join, KEYIPC_JOIN_BYTES, err);
    if (ok && !start_thread(c)) {
        ok = err_set(err, ERR_MEMORY, "no thread for the keyholder's client");
    }
    if (!ok) {
        control_destroy(c);
        return NULL;
    }
    return c;
}

void keyholder_control_free(struct keyholder_control *c)
{
    if (c == NULL) {
        return;
    }
    pthread_mutex_lock(&c->lock);
    c->stop = true;
    pthread_mutex_unlock(&c->lock);
    poke(c->wake);
    pthread_join(c->thread, NULL);
    pthread_mutex_lock(&c->lock);
    while (c->callers > 0) {
        pthread_cond_wait(&c->changed, &c->lock); /* failed by now, on their way out */
    }
    pthread_mutex_unlock(&c->lock);
    control_destroy(c);
}

/* Lock held, around everything that waits. */
static void leave(struct keyholder_control *c)
{
    if (--c->callers == 0 && c->stop) {
        pthread_cond_broadcast(&c->changed);
    }
}

/* ---- what is known ---- */

uint32_t keyholder_control_generation(struct keyholder_control *c)
{
    return atomic_load(&c->live);
}

uint32_t keyholder_control_losses(struct keyholder_control *c)
{
    return atomic_load(&c->losses);
}

void keyholder_control_state(struct keyholder_control *c, struct keyholder_state *out)
{
    pthread_mutex_lock(&c->lock);
    *out = c->state;
    pthread_mutex_unlock(&c->lock);
}

/* Lock held. True when it is decided. */
static bool ready(const struct keyholder_state *s, bool *good, struct err *err)
{
    *good = s->generation != 0 && s->token_state == KEYIPC_TOKEN_READY;
    if (*good) {
        return true;
    }
    if (s->token_state == KEYIPC_TOKEN_PIN || s->reason.kind == ERR_PIN) {
        if (s->reason.kind == ERR_PIN) {
            *err = s->reason;
        } else {
            err_set(err, ERR_PIN, "the token's PIN was refused; see the keyholder's log");
        }
        return true;
    }
    if (s->generation == 0) {
        *err = s->reason;
    } else {
        err_set(err, ERR_TOKEN, "the token does not work; see the keyholder's log");
    }
    return false;
}

bool keyholder_control_wait(struct keyholder_control *c, unsigned timeout_ms, struct err *err)
{
    struct timespec limit = after_ms(timeout_ms);
    struct err why = {0};
    bool good = false;
    int rc = 0;
    pthread_mutex_lock(&c->lock);
    c->callers++;
    while (!ready(&c->state, &good, &why) && rc == 0 && !c->stop) {
        rc = pthread_cond_timedwait(&c->changed, &c->lock, &limit);
    }
    leave(c);
    pthread_mutex_unlock(&c->lock);
    if (!good && err != NULL) {
        *err = why;
    }
    return good;
}

void keyholder_control_progress(struct keyholder_control *c, int64_t now)
{
    atomic_store_explicit(&c->progress_ns, now, memory_order_relaxed);
}

bool keyholder_control_stuck(struct keyholder_control *c, int64_t now)
{
    return now - atomic_load(&c->progress_ns) >= keyholder_control_call_ns(c);
}

int64_t keyholder_control_call_ns(const struct keyholder_control *c)
{
    return c->options.call_ms > 0 ? c->options.call_ms * CLOCK_NS_PER_MS
                                  : LIMIT_TOKEN_CALL_S * CLOCK_NS_PER_S;
}

int64_t keyholder_control_wait_ns(const struct keyholder_control *c)
{
    int64_t wait = c->options.wait_ms * CLOCK_NS_PER_MS, call = keyholder_control_call_ns(c);
    return wait > call ? wait : call;
}

void keyholder_control_hung(struct keyholder_control *c, uint32_t generation)
{
    struct err why;
    err_set(&why, ERR_TOKEN, "the keyholder does not answer");
    pthread_mutex_lock(&c->lock);
    bool live = c->phase != CONTROL_CLOSED && c->generation == generation;
    if (live) {
        keyholder_control_drop(c, &why);
    }
    pthread_mutex_unlock(&c->lock);
    if (live) {
        keyholder_link_report_hung(c->link, generation);
        poke(c->wake);
    }
}

/* ---- calls ---- */

static void call_free(struct keyholder_call *call)
{
    keyipc_message_clear(&call->answer);
    mem_free(call);
}

/* Lock held: waits for the answer of what was sent; gives up at the deadline. */
static void await(struct keyholder_control *c, struct keyholder_call *call)
{
    struct timespec limit = after_ms(keyholder_control_call_ns(c) / CLOCK_NS_PER_MS);
    int rc = 0;
    while (!call->done && rc == 0) {
        rc = pthread_cond_timedwait(&c->changed, &c->lock, &limit);
    }
}

/* Sends m and waits. The call with its answer, which the caller frees, or NULL. */
static struct keyholder_call *run_call(struct keyholder_control *c, struct keyipc_message *m, struct err *err)
{
    uint32_t hung = 0;
    struct keyholder_call *call = mem_calloc(1, sizeof *call);
    if (call == NULL) {
        err_set(err, ERR_MEMORY, "no memory for a call of the keyholder");
        return NULL;
    }
    call->op = m->op;
    pthread_mutex_lock(&c->lock);
    c->callers++;
    if (c->stop) {
        err_set(&call->err, ERR_CANCELLED, "shutting down");
        call->done = true;
    } else if (c->phase != CONTROL_UP) {
        call->err = c->state.reason;
        call->done = true;
    } else {
        call->generation = c->generation;
        call->id = m->request_id = c->next_id++;
        c->next_id = c->next_id == 0 ? KEYHOLDER_ID_FIRST : c->next_id;
        call->done = !keyholder_conn_put(&c->conn, m, &call->err);
    }
    if (!call->done) {
        call->next = c->calls;
        c->calls = call;
        poke(c->wake);
        await(c, call);
    }
    if (!call->done) {
        /* The answer may still come, with a key: the thread then cleans up. */
        call->abandoned = true;
        call = NULL;
        err_set(err, ERR_TOKEN, "the keyholder did not answer in time");
        hung = keyholder_control_stuck(c, clock_boot_ns()) ? c->generation : 0;
    } else if (call->err.kind != ERR_NONE) {
        if (err != NULL) {
            *err = call->err;
        }
        call_free(call);
        call = NULL;
    }
    pthread_mutex_unlock(&c->lock);
    if (hung != 0) {
        keyholder_control_hung(c, hung);
    }
    pthread_mutex_lock(&c->lock);
    leave(c);
    pthread_mutex_unlock(&c->lock);
    return call;
}

bool keyholder_open(struct keyholder_control *c, const uint8_t model_point[static POINT_BYTES],
                    struct keyholder_opened *out, struct err *err)
{
    struct keyipc_message m = {.op = KEYIPC_OPEN};
    memset(out, 0, sizeof *out);
    memcpy(m.u.open.model_point, model_point, POINT_BYTES);
    uint32_t losses = keyholder_control_losses(c);
    struct keyholder_call *call = run_call(c, &m, err);
    if (call == NULL) {
        return false;
    }
    struct keyipc_open_answer *answer = &call->answer.u.open_answer;
    out->key.id = answer->key_id;
    out->key.generation = call->generation;
    out->key.losses = losses;
    memcpy(out->client_point, answer->client_point, POINT_BYTES);
    memcpy(out->response_point, answer->response_point, POINT_BYTES);
    secret_move(&out->request_key, &answer->request_key);
    call_free(call);
    return true;
}

void keyholder_opened_clear(struct keyholder_opened *opened)
{
    secret_free(&opened->request_key);
    memset(opened, 0, sizeof *opened);
}

bool keyholder_status(struct keyholder_control *c, struct keyipc_status_answer *out, struct err *err)
{
    struct keyipc_message m = {.op = KEYIPC_STATUS};
    memset(out, 0, sizeof *out);
    struct keyholder_call *call = run_call(c, &m, err);
    if (call == NULL) {
        return false;
    }
    *out = call->answer.u.status_answer;
    call_free(call);
    return true;
}

void keyholder_close(struct keyholder_control *c, struct keyholder_key key)
{
    struct keyipc_message m = {.op = KEYIPC_CLOSE, .request_id = KEYHOLDER_ID_SILENT};
    struct err err;
    bool sent = false;
    m.u.key_id = key.id;
    pthread_mutex_lock(&c->lock);
    if (c->phase == CONTROL_UP && c->generation == key.generation) {
        sent = keyholder_conn_put(&c->conn, &m, &err); /* else it dies of age */
    }
    pthread_mutex_unlock(&c->lock);
    if (sent) {
        poke(c->wake);
    }
}

/* ---- workers ---- */

void keyholder_control_subscribe(struct keyholder_control *c, unsigned index, int wake)
{
    pthread_mutex_lock(&c->lock);
    c->workers[index] = wake;
    pthread_mutex_unlock(&c->lock);
    if (wake >= 0) {
        poke(wake);
    }
}

bool keyholder_control_join(struct keyholder_control *c, unsigned index, struct keyholder_conn *conn,
                            uint32_t *generation, struct err *err)
{
    bool ok = false;
    pthread_mutex_lock(&c->lock);
    if (c->phase != CONTROL_UP) {
        if (err != NULL) {
            *err = c->state.reason;
        }
    } else {
        int fd = keyholder_link_worker(c->link, c->generation, index, err);
        if (fd >= 0) {
            keyholder_conn_open(conn, fd);
            *generation = c->generation;
            ok = keyholder_conn_hello(conn, KEYIPC_WORKER, c->options.custody, c->options.max_key_age_s,
                                      c->join.data, KEYHOLDER_ID_HELLO, err);
        }
    }
    pthread_mutex_unlock(&c->lock);
    return ok;
}
