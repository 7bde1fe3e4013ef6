/* The thread behind control.h. All under the lock, save the wait itself. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include <openssl/rand.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "keyholder/control_internal.h"

#define RETRY_FIRST_MS 50

static void tell_workers(struct keyholder_control *c)
{
    uint64_t one = 1;
    for (size_t i = 0; i < LIMIT_KEYHOLDER_WORKERS; i++) {
        if (c->workers[i] >= 0 && write(c->workers[i], &one, sizeof one) < 0) {
            continue; /* full: it is awake anyhow */
        }
    }
}

static void fail_calls(struct keyholder_control *c, const struct err *why)
{
    while (c->calls != NULL) {
        struct keyholder_call *call = c->calls;
        c->calls = call->next;
        if (call->abandoned) {
            keyipc_message_clear(&call->answer);
            mem_free(call);
        } else {
            call->err = *why;
            call->done = true;
        }
    }
}

void keyholder_control_drop(struct keyholder_control *c, const struct err *why)
{
    if (!c->lost_logged) {
        c->lost_logged = true;
        log_warn("no keyholder: %s", why->message);
    }
    struct err reason;
    err_set(&reason, why->kind == ERR_PIN ? ERR_PIN : ERR_TOKEN, "%s", why->message);
    atomic_store(&c->live, 0);
    keyholder_conn_close(&c->conn);
    c->phase = CONTROL_CLOSED;
    memset(&c->state, 0, sizeof c->state);
    c->state.token_state = KEYIPC_TOKEN_DOWN;
    c->state.reason = reason;
    c->retry_ms = c->retry_ms == 0 ? RETRY_FIRST_MS : c->retry_ms * 2;
    c->retry_ms = c->retry_ms > LIMIT_KEYHOLDER_RETRY_MS ? LIMIT_KEYHOLDER_RETRY_MS : c->retry_ms;
    c->retry_ns = clock_boot_ns() + c->retry_ms * CLOCK_NS_PER_MS;
    fail_calls(c, &reason);
    tell_workers(c);
    pthread_cond_broadcast(&c->changed);
}

/* ---- a new keyholder ---- */

static void begin(struct keyholder_control *c, int fd, uint32_t generation)
{
    struct err err = {0};
    keyholder_conn_open(&c->conn, fd);
    c->generation = generation;
    c->phase = CONTROL_HELLO;
    c->phase_ns = clock_boot_ns();
    c->status_asked = false;
    /* A new secret each time: a worker of the past must not join. */
    if (RAND_priv_bytes(c->join.data, KEYIPC_JOIN_BYTES) != 1) {
        err_set(&err, ERR_TOKEN, "no random bytes for the keyholder's join secret");
        keyholder_control_drop(c, &err);
    } else if (!keyholder_conn_hello(&c->conn, KEYIPC_CONTROL, c->options.custody, c->options.max_key_age_s,
                                     c->join.data, KEYHOLDER_ID_HELLO, &err)) {
        keyholder_control_drop(c, &err);
    }
}

static void try_socket(struct keyholder_control *c, int64_t now)
{
    struct err err = {0};
    if (keyholder_link_is_channel(c->link) || c->phase != CONTROL_CLOSED || now < c->retry_ns) {
        return;
    }
    int fd = keyholder_link_connect(c->link, &err);
    if (fd >= 0) {
        begin(c, fd, c->generation + 1 == 0 ? 1 : c->generation + 1);
    } else {
        keyholder_control_drop(c, &err);
    }
}

static void read_channel(struct keyholder_control *c)
{
    struct keyholder_channel_message m;
    struct err err = {0};
    bool got = true;
    while (got && keyholder_link_watch(c->link) >= 0) {
        int fd = -1;
        if (!keyholder_link_receive(c->link, &m, &fd, &got, &err)) {
            keyholder_control_drop(c, &err);
            return;
        }
        if (!got || m.type == KEYHOLDER_CHANNEL_HUNG) {
            continue;
        }
        if (m.type == KEYHOLDER_CHANNEL_DOWN) {
            err_set(&err, (enum err_kind)m.reason,
                    m.reason == ERR_PIN
                        ? "the keyholder stopped: the token's PIN is refused, locked or missing"
                        : "the keyholder stopped; it is started again");
            keyholder_control_drop(c, &err);
            continue;
        }
        if (c->phase != CONTROL_CLOSED) {
            err_set(&err, ERR_TOKEN, "the keyholder was replaced");
            keyholder_control_drop(c, &err);
        }
        begin(c, fd, m.generation);
    }
}

static void ask_status(struct keyholder_control *c, int64_t now)
{
    struct keyipc_message m = {.op = KEYIPC_STATUS, .request_id = KEYHOLDER_ID_STATUS};
    struct err err;
    c->status_asked = keyholder_conn_put(&c->conn, &m, &err);
    c->status_ns = c->status_asked ? now : now + LIMIT_KEYHOLDER_STATUS_S * CLOCK_NS_PER_S;
}

/* ---- answers; false: the peer broke the protocol, or is not wanted ---- */

static bool on_hello(struct keyholder_control *c, const struct keyipc_message *m, struct err *err)
{
    if (c->phase != CONTROL_HELLO) {
        return err_set(err, ERR_PROTOCOL, "the keyholder answered HELLO twice");
    }
    if (m->op == KEYIPC_ERROR) {
        keyholder_conn_error(&m->u.error, err);
        return false;
    }
    if (m->op != (KEYIPC_HELLO | KEYIPC_ANSWER)) {
        return err_set(err, ERR_PROTOCOL, "the keyholder answered HELLO with something else");
    }
    /* token is the stronger and the lower number */
    if (m->u.hello_answer.custody > c->options.custody) {
        return err_set(err, ERR_CONFIG, "the keyholder offers a weaker custody than is asked for");
    }
    int64_t now = clock_boot_ns();
    c->phase = CONTROL_UP;
    c->phase_ns = now;
    c->conn.gate = SIZE_MAX;
    c->retry_ms = 0;
    c->lost_logged = false;
    memset(&c->state, 0, sizeof c->state);
    c->state.generation = c->generation;
    c->state.token_state = KEYIPC_TOKEN_DOWN; /* until it says otherwise */
    c->state.hello = m->u.hello_answer;
    keyholder_control_progress(c, now);
    ask_status(c, now);
    atomic_store(&c->live, c->generation);
    log_info("keyholder %u is connected", c->generation);
    tell_workers(c);
    return true;
}

/* Is there a token that works, whether or not the keyholder may use it? A custody log that cannot be written takes no keys. */
static bool some_token_works(const struct keyipc_status_answer *status)
{
    for (size_t i = 0; i < status->token_count; i++) {
        if (status->tokens[i].state == KEYIPC_TOKEN_READY) {
            return true;
        }
    }
    return false;
}

static bool on_own_status(struct keyholder_control *c, const struct keyipc_message *m, struct err *err)
{
    if (!c->status_asked || (m->op != (KEYIPC_STATUS | KEYIPC_ANSWER) && m->op != KEYIPC_ERROR)) {
        return err_set(err, ERR_PROTOCOL, "an answer of the keyholder that nobody asked for");
    }
    int64_t now = clock_boot_ns();
    c->status_asked = false;
    c->status_ns = now + LIMIT_KEYHOLDER_STATUS_S * CLOCK_NS_PER_S;
    if (m->op == KEYIPC_ERROR) {
        c->state.token_state = KEYIPC_TOKEN_DOWN;
        return true;
    }
    if (m->u.status_answer.token_state != c->state.token_state) {
        static const char *const words[] = {"?", "ready", "not working", "locked out: its PIN is refused"};
        log_info("the token is %s", words[m->u.status_answer.token_state]);
    }
    if (some_token_works(&c->state.status) && !some_token_works(&m->u.status_answer)) {
        atomic_fetch_add(&c->losses, 1);
    }
    if (m->u.status_answer.token_state != KEYIPC_TOKEN_READY) {
        c->status_ns = now + CLOCK_NS_PER_S; /* it may come back: look more often */
    }
    c->state.token_state = m->u.status_answer.token_state;
    c->state.status = m->u.status_answer;
    return true;
}

/* An OPEN whose caller has gone leaves a key behind. */
static void discard(struct keyholder_control *c, const struct keyipc_message *m)
{
    struct keyipc_message close_key = {.op = KEYIPC_CLOSE, .request_id = KEYHOLDER_ID_SILENT};
    struct err err;
    if (m->op == (KEYIPC_OPEN | KEYIPC_ANSWER)) {
        close_key.u.key_id = m->u.open_answer.key_id;
        if (!keyholder_conn_put(&c->conn, &close_key, &err)) {
            return; /* it dies of age */
        }
    }
}

static bool on_call(struct keyholder_control *c, struct keyipc_message *m, struct err *err)
{
    struct keyholder_call **at = &c->calls;
    while (*at != NULL && (*at)->id != m->request_id) {
        at = &(*at)->next;
    }
    struct keyholder_call *call = *at;
    if (call == NULL || (m->op != KEYIPC_ERROR && m->op != (call->op | KEYIPC_ANSWER))) {
        return err_set(err, ERR_PROTOCOL, "an answer of the keyholder that nobody asked for");
    }
    *at = call->next;
    if (m->op == (KEYIPC_OPEN | KEYIPC_ANSWER)) {
        keyholder_control_progress(c, clock_boot_ns());
        c->status_ns = c->status_asked ? c->status_ns : 0; /* ask now: what a derivation costs may be news */
    }
    if (call->abandoned) {
        discard(c, m);
        mem_free(call);
        return true;
    }
    if (m->op == KEYIPC_ERROR) {
        keyholder_conn_error(&m->u.error, &call->err);
    } else {
        call->answer = *m;
        secret_wipe(m, sizeof *m); /* moved: its key is the call's now */
    }
    call->done = true;
    return true;
}

static bool on_answer(struct keyholder_control *c, struct keyipc_message *m, struct err *err)
{
    switch (m->request_id) {
    case KEYHOLDER_ID_SILENT:
        return m->op == (KEYIPC_CLOSE | KEYIPC_ANSWER) || m->op == KEYIPC_ERROR ||
               err_set(err, ERR_PROTOCOL, "an answer of the keyholder that nobody asked for");
    case KEYHOLDER_ID_HELLO:
        return on_hello(c, m, err);
    case KEYHOLDER_ID_STATUS:
        return on_own_status(c, m, err);
    default:
        return on_call(c, m, err);
    }
}

static void read_conn(struct keyholder_control *c)
{
    struct err err = {0};
    struct keyipc_message m;
    bool ok = keyholder_conn_fill(&c->conn, &err), got = true;
    while (ok && got) {
        ok = keyholder_conn_next(&c->conn, &m, &got, &err);
        if (ok && got) {
            ok = on_answer(c, &m, &err);
            keyipc_message_clear(&m);
        }
    }
    if (ok) {
        keyholder_conn_compact(&c->conn);
    } else {
        keyholder_control_drop(c, &err);
    }
    pthread_cond_broadcast(&c->changed);
}

/* ---- time ---- */

static void check_clock(struct keyholder_control *c, int64_t now, uint32_t *hung)
{
    struct err err = {0};
    if (c->phase == CONTROL_HELLO && now - c->phase_ns >= keyholder_control_call_ns(c)) {
        err_set(&err, ERR_TOKEN, "the keyholder does not answer");
        *hung = c->generation;
        keyholder_control_drop(c, &err);
    } else if (c->phase == CONTROL_UP && !c->status_asked && now >= c->status_ns) {
        ask_status(c, now);
    } else if (c->phase == CONTROL_UP && c->status_asked &&
               now - c->status_ns >= keyholder_control_call_ns(c) && keyholder_control_stuck(c, now)) {
        err_set(&err, ERR_TOKEN, "the keyholder does not answer");
        *hung = c->generation;
        keyholder_control_drop(c, &err);
    }
}

static int wait_ms(const struct keyholder_control *c, int64_t now)
{
    int64_t until = now + 1000 * CLOCK_NS_PER_MS;
    if (c->phase == CONTROL_CLOSED && !keyholder_link_is_channel(c->link)) {
        until = c->retry_ns;
    } else if (c->phase == CONTROL_UP && !c->status_asked) {
        until = c->status_ns;
    } else if (c->phase != CONTROL_CLOSED) {
        until = (c->phase == CONTROL_HELLO ? c->phase_ns : c->status_ns) + keyholder_control_call_ns(c);
    }
    int64_t ms = (until - now) / CLOCK_NS_PER_MS + 1;
    return ms < 1 ? 1 : ms > 1000 ? 1000 : (int)ms;
}

/* One round with the lock held, but for the wait. False when it is time to stop. */
static bool turn(struct keyholder_control *c)
{
    struct err err = {0};
    uint32_t hung = 0;
    int64_t now = clock_boot_ns();
    try_socket(c, now);
    check_clock(c, now, &hung);
    if (c->phase != CONTROL_CLOSED && !keyholder_conn_flush(&c->conn, &err)) {
        keyholder_control_drop(c, &err);
    }
    if (hung != 0) {
        keyholder_link_report_hung(c->link, hung);
    }
    short wanted = (short)(POLLIN | (keyholder_conn_wants_write(&c->conn) ? POLLOUT : 0));
    int watched = c->conn.fd, channel = keyholder_link_watch(c->link), ms = wait_ms(c, now);
    struct pollfd p[3] = {{c->wake, POLLIN, 0}, {watched, wanted, 0}, {channel, POLLIN, 0}};
    pthread_mutex_unlock(&c->lock);
    poll(p, 3, ms);
    pthread_mutex_lock(&c->lock);
    if (p[0].revents != 0) {
        uint64_t count;
        if (read(c->wake, &count, sizeof count) < 0) {
            count = 0;
        }
    }
    if (c->conn.fd >= 0 && c->conn.fd == watched && (p[1].revents & ~POLLOUT) != 0) {
        read_conn(c);
    }
    if (channel >= 0 && p[2].revents != 0) {
        read_channel(c);
    }
    return !c->stop;
}

void *keyholder_control_thread(void *arg)
{
    struct keyholder_control *c = arg;
    struct err why;
    err_set(&why, ERR_CANCELLED, "shutting down");
    pthread_mutex_lock(&c->lock);
    while (turn(c)) {
    }
    fail_calls(c, &why);
    atomic_store(&c->live, 0);
    keyholder_conn_close(&c->conn);
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
    return NULL;
}
