/* A keyholder made of keyipc and threads of the test, that lies on request. Included by the programs of this
 * folder. */
#ifndef E2EE_TESTS_FAKE_KEYHOLDER_H
#define E2EE_TESTS_FAKE_KEYHOLDER_H

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "keyipc/keyipc.h"

#define FAKE_CONNECTIONS 64
#define FAKE_HELD 8192

/* What the connections that carry DERIVE do with it. */
enum fake_mode {
    FAKE_ANSWER,
    FAKE_HOLD,     /* until fake.release, then in reverse order */
    FAKE_SWALLOW,  /* never an answer */
    FAKE_CUT,      /* close instead */
    FAKE_GARBAGE,  /* bytes that are no frame */
    FAKE_UNKNOWN,  /* an id that nobody used */
    FAKE_REPEAT,   /* every answer twice */
    FAKE_WRONG_OP, /* an answer to something else */
    FAKE_REFUSE,   /* ERR_INVALID */
};

struct fake {
    atomic_int mode, token_state, hello_error;
    atomic_bool log_fails;
    atomic_bool stop, release, silent_open, silent_status, bad_custody;
    atomic_uint opens, closes, derives, cancels, hellos, reads;
    uint8_t join[KEYIPC_JOIN_BYTES];
    pthread_mutex_t lock;
    pthread_t threads[FAKE_CONNECTIONS];
    int fds[FAKE_CONNECTIONS];
    unsigned count;
    int listener;
    pthread_t acceptor;
    char path[64];
};

struct fake_conn {
    struct fake *fake;
    int fd;
    unsigned index;
    uint8_t role;
    struct keyipc_message *held;
    size_t held_count;
};

static void fake_sleep_ms(long ms)
{
    struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

static bool fake_send(struct fake_conn *c, struct keyipc_message *m)
{
    struct buf out;
    struct err err;
    buf_init(&out, 8192);
    bool ok =
        keyipc_encode(&out, m, &err) && send(c->fd, out.data, out.len, MSG_NOSIGNAL) == (ssize_t)out.len;
    buf_free(&out);
    return ok;
}

static bool fake_error(struct fake_conn *c, uint32_t id, enum err_kind kind)
{
    struct keyipc_message m = {.op = KEYIPC_ERROR, .request_id = id};
    m.u.error.kind = (uint8_t)kind;
    snprintf(m.u.error.message, sizeof m.u.error.message, "as asked for by the test");
    return fake_send(c, &m);
}

/* The response key is 32 times the server point's second byte. */
static bool fake_derived(struct fake_conn *c, const struct keyipc_message *m)
{
    struct keyipc_message a = {.op = KEYIPC_DERIVE | KEYIPC_ANSWER, .request_id = m->request_id};
    if (!secret_new(&a.u.derive_answer.response_key, AEAD_KEY_BYTES, NULL)) {
        return false;
    }
    memset(a.u.derive_answer.response_key.data, m->u.derive.server_point[1], AEAD_KEY_BYTES);
    bool ok = fake_send(c, &a);
    keyipc_message_clear(&a);
    return ok;
}

static bool fake_derive(struct fake_conn *c, const struct keyipc_message *m)
{
    struct keyipc_message a = {.op = KEYIPC_CLOSE | KEYIPC_ANSWER, .request_id = m->request_id};
    atomic_fetch_add(&c->fake->derives, 1);
    switch (atomic_load(&c->fake->mode)) {
    case FAKE_HOLD:
        c->held[c->held_count++] = *m;
        return true;
    case FAKE_SWALLOW:
        return true;
    case FAKE_CUT:
        return false;
    case FAKE_GARBAGE:
        return send(c->fd, "\0\0\0\x08\x07zzzzzzz", 12, MSG_NOSIGNAL) == 12;
    case FAKE_UNKNOWN: {
        struct keyipc_message other = *m;
        other.request_id += 1u << 12;
        return fake_derived(c, &other);
    }
    case FAKE_REPEAT:
        return fake_derived(c, m) && fake_derived(c, m);
    case FAKE_WRONG_OP:
        return fake_send(c, &a);
    case FAKE_REFUSE:
        return fake_error(c, m->request_id, ERR_INVALID);
    default:
        return fake_derived(c, m);
    }
}

static bool fake_hello(struct fake_conn *c, const struct keyipc_message *m)
{
    struct keyipc_message a = {.op = KEYIPC_HELLO | KEYIPC_ANSWER, .request_id = m->request_id};
    int error = atomic_load(&c->fake->hello_error);
    c->role = m->u.hello.role;
    if (error != 0) {
        return fake_error(c, m->request_id, (enum err_kind)error);
    }
    pthread_mutex_lock(&c->fake->lock);
    bool same = memcmp(c->fake->join, m->u.hello.join, KEYIPC_JOIN_BYTES) == 0;
    if (c->role == KEYIPC_CONTROL) {
        memcpy(c->fake->join, m->u.hello.join, KEYIPC_JOIN_BYTES);
    }
    pthread_mutex_unlock(&c->fake->lock);
    atomic_fetch_add(&c->fake->hellos, 1);
    a.u.hello_answer = (struct keyipc_hello_answer){
        atomic_load(&c->fake->bad_custody) ? KEYIPC_CUSTODY_SESSION : KEYIPC_CUSTODY_TOKEN, 3600, 256, 4};
    return (c->role == KEYIPC_CONTROL || same) && fake_send(c, &a);
}

static bool fake_opened(struct fake_conn *c, const struct keyipc_message *m)
{
    struct keyipc_message a = {.op = KEYIPC_OPEN | KEYIPC_ANSWER, .request_id = m->request_id};
    a.u.open_answer.key_id = 1000 + atomic_fetch_add(&c->fake->opens, 1);
    if (!secret_new(&a.u.open_answer.request_key, AEAD_KEY_BYTES, NULL)) {
        return false;
    }
    memset(a.u.open_answer.request_key.data, 0x5a, AEAD_KEY_BYTES);
    memcpy(a.u.open_answer.client_point, m->u.open.model_point, POINT_BYTES);
    memcpy(a.u.open_answer.response_point, m->u.open.model_point, POINT_BYTES);
    while (atomic_load(&c->fake->silent_open) && !atomic_load(&c->fake->stop)) {
        fake_sleep_ms(5);
    }
    bool ok = fake_send(c, &a);
    keyipc_message_clear(&a);
    return ok;
}

/* With log_fails the token works, and the keyholder does not use it. */
static bool fake_status(struct fake_conn *c, struct keyipc_message *a)
{
    struct keyipc_status_answer *out = &a->u.status_answer;
    bool log_fails = atomic_load(&c->fake->log_fails);
    uint8_t token = (uint8_t)atomic_load(&c->fake->token_state);
    out->token_state = log_fails ? KEYIPC_TOKEN_DOWN : token;
    out->audit_state = log_fails ? KEYIPC_AUDIT_FAILING : KEYIPC_AUDIT_WRITTEN;
    out->custody = KEYIPC_CUSTODY_TOKEN;
    out->token_count = 1;
    out->tokens[0].state = token;
    snprintf(out->tokens[0].label, sizeof out->tokens[0].label, "fake");
    return fake_send(c, a);
}

static bool fake_request(struct fake_conn *c, const struct keyipc_message *m)
{
    struct keyipc_message a = {.op = m->op | KEYIPC_ANSWER, .request_id = m->request_id};
    switch (m->op) {
    case KEYIPC_HELLO:
        return fake_hello(c, m);
    case KEYIPC_OPEN:
        return fake_opened(c, m);
    case KEYIPC_DERIVE:
        return fake_derive(c, m);
    case KEYIPC_STATUS:
        return atomic_load(&c->fake->silent_status) || fake_status(c, &a);
    case KEYIPC_CANCEL:
        atomic_fetch_add(&c->fake->cancels, 1);
        return fake_send(c, &a);
    default:
        atomic_fetch_add(&c->fake->closes, 1);
        return fake_send(c, &a);
    }
}

static bool fake_release(struct fake_conn *c)
{
    bool ok = true;
    while (ok && c->held_count > 0) {
        ok = fake_derived(c, &c->held[--c->held_count]);
    }
    return ok;
}

static void *fake_serve(void *arg)
{
    struct fake_conn *c = arg;
    struct buf in;
    bool ok = true;
    buf_init(&in, 1 << 21);
    c->held = calloc(FAKE_HELD, sizeof *c->held);
    while (ok && !atomic_load(&c->fake->stop)) {
        uint8_t bytes[65536];
        struct pollfd p = {c->fd, POLLIN, 0};
        if (atomic_load(&c->fake->release)) {
            ok = fake_release(c);
        }
        if (poll(&p, 1, 5) <= 0) {
            continue;
        }
        ssize_t n = recv(c->fd, bytes, sizeof bytes, 0);
        if (n <= 0) {
            break;
        }
        if (c->role == KEYIPC_WORKER) {
            atomic_fetch_add(&c->fake->reads, 1);
        }
        buf_append(&in, bytes, (size_t)n);
        for (size_t used = 1; ok && used > 0;) {
            struct keyipc_message m;
            struct err err = {0};
            ok = keyipc_decode(&m, &used, in.data, in.len, false, &err);
            if (!ok) {
                fprintf(stderr, "fake keyholder: %s\n", err.message);
            } else if (used > 0) {
                buf_consume(&in, used);
                ok = fake_request(c, &m);
            }
        }
    }
    pthread_mutex_lock(&c->fake->lock);
    close(c->fd);
    c->fake->fds[c->index] = -1;
    pthread_mutex_unlock(&c->fake->lock);
    buf_free(&in);
    free(c->held);
    free(c);
    return NULL;
}

static void fake_take(struct fake *f, int fd)
{
    struct fake_conn *c = calloc(1, sizeof *c);
    pthread_mutex_lock(&f->lock);
    *c = (struct fake_conn){.fake = f, .fd = fd, .index = f->count};
    f->fds[f->count] = fd;
    pthread_create(&f->threads[f->count++], NULL, fake_serve, c);
    pthread_mutex_unlock(&f->lock);
}

static struct fake *fake_new(void)
{
    struct fake *f = calloc(1, sizeof *f);
    pthread_mutex_init(&f->lock, NULL);
    atomic_store(&f->token_state, KEYIPC_TOKEN_READY);
    f->listener = -1;
    return f;
}

/* One end of a new connection to f. */
__attribute__((unused)) static int fake_pair(struct fake *f)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
        abort();
    }
    fake_take(f, pair[1]);
    return pair[0];
}

static void *fake_accept(void *arg)
{
    struct fake *f = arg;
    for (int fd; (fd = accept(f->listener, NULL, NULL)) >= 0;) {
        fake_take(f, fd);
    }
    return NULL;
}

__attribute__((unused)) static void fake_listen(struct fake *f)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(f->path, sizeof f->path, "/tmp/e2ee-fake-%d.sock", (int)getpid());
    snprintf(a.sun_path, sizeof a.sun_path, "%s", f->path);
    unlink(f->path);
    f->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(f->listener, (struct sockaddr *)&a, sizeof a) != 0 || listen(f->listener, 64) != 0) {
        abort();
    }
    pthread_create(&f->acceptor, NULL, fake_accept, f);
}

/* Cuts every connection. */
__attribute__((unused)) static void fake_cut(struct fake *f)
{
    pthread_mutex_lock(&f->lock);
    for (unsigned i = 0; i < f->count; i++) {
        if (f->fds[i] >= 0) {
            shutdown(f->fds[i], SHUT_RDWR);
        }
    }
    pthread_mutex_unlock(&f->lock);
}

static void fake_free(struct fake *f)
{
    atomic_store(&f->stop, true);
    if (f->listener >= 0) {
        shutdown(f->listener, SHUT_RDWR);
        pthread_join(f->acceptor, NULL);
        close(f->listener);
        unlink(f->path);
    }
    for (unsigned i = 0; i < f->count; i++) {
        pthread_join(f->threads[i], NULL);
    }
    pthread_mutex_destroy(&f->lock);
    free(f);
}

#endif
