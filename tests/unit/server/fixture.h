/* A real worker on its own thread, an app that answers a few routes, and a client on the other end of a socket pair.
 * Routes: GET /hello (with a bad header for a query of b); POST /echo; /later (answers after 30 ms); /silent (never answers); /open (begins a stream, then
 * nothing); /stream (three chunks); /flood (FLOOD_BYTES, pausing when told to); /early (404 before the body is read);
 * /small (a body of at most 8 bytes); /keep (takes the body over and releases its charge, never answers); /cut (aborts
 * a stream); anything else 404. */
#ifndef E2EE_TESTS_SERVER_FIXTURE_H
#define E2EE_TESTS_SERVER_FIXTURE_H

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include <event2/event.h>
#include <event2/thread.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "server/listener.h"
#include "server/worker.h"

#define FLOOD_BYTES 8000000u
#define FLOOD_PIECE 1000u
#define SAY_HOST "Host: localhost\r\n"
#define SAY_JSON "Content-Type: application/json\r\n"

struct fixture {
    struct inflight inflight;
    struct origin_policy *policy;
    struct http_config config;
    struct http_handler handler;
    struct event_base *base;
    struct http_worker *worker;
    pthread_t thread;
    atomic_bool stop;
    atomic_int headers, requests, closed, drained, refused, last_refused;
    atomic_size_t queued_max, flooded;
};

static inline void app_headers(struct http_call *call, void *arg)
{
    struct fixture *f = arg;
    atomic_fetch_add(&f->headers, 1);
    if (strcmp(call_path(call), "/early") == 0) {
        const struct http_error e = {.status = 404, .code = "model_not_found", .message = "none"};
        call_reply_error(call, &e, NULL, 0);
    } else if (strcmp(call_path(call), "/small") == 0) {
        call_set_body_limit(call, 8);
    }
}

static inline void app_later(evutil_socket_t fd, short what, void *arg)
{
    call_reply(arg, 200, "text/plain", NULL, 0, "later", 5);
}

static inline void app_flood(struct fixture *f, struct http_call *call)
{
    char piece[FLOOD_PIECE];
    bool more = true;
    memset(piece, 'Z', sizeof piece);
    while (more && atomic_load(&f->flooded) < FLOOD_BYTES) {
        more = call_stream_write(call, piece, sizeof piece);
        atomic_fetch_add(&f->flooded, sizeof piece);
        if (call_queued(call) > atomic_load(&f->queued_max)) {
            atomic_store(&f->queued_max, call_queued(call));
        }
    }
    if (atomic_load(&f->flooded) >= FLOOD_BYTES) {
        call_stream_end(call);
    }
}

static inline void app_stream(struct fixture *f, struct http_call *call, const char *path)
{
    call_stream_begin(call, 200, "text/event-stream", NULL, 0);
    if (strcmp(path, "/flood") == 0) {
        app_flood(f, call);
        return;
    }
    call_stream_write(call, "one", 3);
    if (strcmp(path, "/cut") == 0) {
        call_abort(call);
    } else if (strcmp(path, "/stream") == 0) {
        call_stream_write(call, "two", 3);
        call_stream_write(call, "three", 5);
        call_stream_end(call);
    }
}

static inline void app_request(struct http_call *call, struct buf *body, void *arg)
{
    struct fixture *f = arg;
    const char *path = call_path(call);
    const struct http_header extra[] = {{"X-Test", "yes"}, {"X-Bad", "a\r\nb"}};
    atomic_fetch_add(&f->requests, 1);
    if (strcmp(path, "/hello") == 0) {
        call_reply(call, 200, "text/plain", extra, call_query(call)[0] == 'b' ? 2 : 1, "hello", 5);
    } else if (strcmp(path, "/echo") == 0 || strcmp(path, "/small") == 0) {
        call_reply(call, 200, "application/json", NULL, 0, body->data, body->len);
    } else if (strcmp(path, "/later") == 0) {
        const struct timeval tv = {0, 30000};
        event_base_once(f->base, -1, EV_TIMEOUT, app_later, call, &tv);
    } else if (strcmp(path, "/keep") == 0) {
        struct buf mine;
        buf_init(&mine, 0);
        buf_move(&mine, body);
        buf_free(&mine);
        call_body_release(call);
    } else if (strcmp(path, "/stream") == 0 || strcmp(path, "/flood") == 0 || strcmp(path, "/open") == 0 ||
               strcmp(path, "/cut") == 0) {
        app_stream(f, call, path);
    } else if (strcmp(path, "/silent") != 0) {
        const struct http_error e = {.status = 404, .code = "not_found", .message = "no such path"};
        call_reply_error(call, &e, NULL, 0);
    }
}

static inline void app_drained(struct http_call *call, void *arg)
{
    struct fixture *f = arg;
    atomic_fetch_add(&f->drained, 1);
    app_flood(f, call);
}

static inline void app_closed(struct http_call *call, void *arg)
{
    struct fixture *f = arg;
    (void)call_context(call);
    atomic_fetch_add(&f->closed, 1);
}

static inline void app_refused(int status, const char *code, void *arg)
{
    struct fixture *f = arg;
    assert_non_null(code);
    atomic_fetch_add(&f->refused, 1);
    atomic_store(&f->last_refused, status);
}

static inline bool app_public(const char *path, void *arg)
{
    return strcmp(path, "/health") == 0;
}

static inline void on_tick(evutil_socket_t fd, short what, void *arg)
{
    struct fixture *f = arg;
    if (atomic_load(&f->stop)) {
        event_base_loopbreak(f->base);
    }
}

static inline void *run_loop(void *arg)
{
    struct fixture *f = arg;
    const struct timeval tv = {0, 5000};
    struct event *tick = event_new(f->base, -1, EV_PERSIST, on_tick, f);
    event_add(tick, &tv);
    event_base_dispatch(f->base);
    event_free(tick);
    http_worker_free(f->worker);
    return NULL;
}

/* Made, not started: tests change config first. */
static inline struct fixture *fixture_new(void)
{
    static const char *const hosts[] = {"host.docker.internal", "proxy.test:8080"};
    static const char *const origins[] = {"https://chat.example.com", "vscode-webview://*"};
    struct fixture *f = calloc(1, sizeof *f);
    struct err err;
    assert_non_null(f);
    inflight_init(&f->inflight, 134217728);
    f->policy = origin_policy_new(hosts, 2, origins, 2, &err);
    assert_non_null(f->policy);
    http_config_defaults(&f->config);
    f->config.inflight = &f->inflight;
    f->config.origins = f->policy;
    f->handler = (struct http_handler){.on_headers = app_headers,
                                       .on_request = app_request,
                                       .on_drained = app_drained,
                                       .on_closed = app_closed,
                                       .on_refused = app_refused,
                                       .is_public = app_public};
    f->base = event_base_new();
    assert_non_null(f->base);
    f->worker = http_worker_new(f->base, &f->config, &f->handler, f, &err);
    assert_non_null(f->worker);
    return f;
}

static inline void fixture_start(struct fixture *f)
{
    assert_int_equal(pthread_create(&f->thread, NULL, run_loop, f), 0);
}

static inline struct fixture *fixture_run(void)
{
    struct fixture *f = fixture_new();
    fixture_start(f);
    return f;
}

/* Ends the loop, frees everything; nothing may stay charged. */
static inline void fixture_end(struct fixture *f)
{
    atomic_store(&f->stop, true);
    pthread_join(f->thread, NULL);
    assert_int_equal(inflight_used(&f->inflight), 0);
    event_base_free(f->base);
    origin_policy_free(f->policy);
    free(f);
}

static inline int dial(struct fixture *f)
{
    int sv[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
    assert_int_equal(fcntl(sv[1], F_SETFL, O_NONBLOCK), 0);
    assert_true(http_worker_adopt(f->worker, sv[1]));
    return sv[0];
}

static inline void say_bytes(int fd, const void *data, size_t len)
{
    const char *p = data;
    while (len > 0) {
        ssize_t n = send(fd, p, len, MSG_NOSIGNAL);
        if (n <= 0) {
            return; /* the server may have refused and closed already */
        }
        p += n;
        len -= (size_t)n;
    }
}

static inline void say(int fd, const char *text)
{
    say_bytes(fd, text, strlen(text));
}

struct heard {
    char text[70000]; /* head and body as they came, terminated */
    size_t len;
    int status;
    bool eof;
};

static inline bool wait_readable(int fd, int ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, ms) == 1;
}

/* Reads until want occurs at the end of what was read (NULL: until the end of the connection); 5 s at most. */
static inline void hear_until(int fd, struct heard *h, const char *want)
{
    int64_t until = clock_boot_ns() + 5 * CLOCK_NS_PER_S;
    memset(h, 0, sizeof *h);
    while (clock_boot_ns() < until && h->len < sizeof h->text - 1) {
        if (!wait_readable(fd, 100)) {
            continue;
        }
        ssize_t n = recv(fd, h->text + h->len, sizeof h->text - 1 - h->len, 0);
        if (n <= 0) {
            h->eof = true;
            break;
        }
        h->len += (size_t)n;
        h->text[h->len] = '\0';
        size_t w = want != NULL ? strlen(want) : 0;
        if (want != NULL && h->len >= w && strcmp(h->text + h->len - w, want) == 0) {
            break;
        }
    }
    h->status = strncmp(h->text, "HTTP/1.1 ", 9) == 0 ? (int)strtol(h->text + 9, NULL, 10) : 0;
}

/* One request on a connection of its own, heard until the server closes or a body of known length is complete. */
static inline void ask(struct fixture *f, const char *request, struct heard *h)
{
    int fd = dial(f);
    say(fd, request);
    shutdown(fd, SHUT_WR); /* the server answers what it can at once, then closes */
    hear_until(fd, h, NULL);
    close(fd);
}

/* Waits until *value reaches want. */
static inline void await(atomic_int *value, int want, int ms)
{
    int64_t until = clock_boot_ns() + ms * CLOCK_NS_PER_MS;
    while (atomic_load(value) < want && clock_boot_ns() < until) {
        usleep(1000);
    }
    assert_int_equal(atomic_load(value), want);
}

#endif
