/* Bytes of a client through the whole connection: adopted socket, head, judgement, body, replies, hang-up. The first
 * byte says how the rest is cut into reads. Nothing may stay open or charged, and every byte that comes back is part of
 * a well-formed response or its beginning. */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>

#include "server/worker.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct event_base *base;
static struct http_worker *worker;
static struct inflight inflight;
static struct http_config config;
static size_t live;

static void check(bool ok)
{
    if (!ok) {
        abort();
    }
}

static void on_headers(struct http_call *call, void *arg)
{
    const char *path = call_path(call);
    check(path[0] == '/');
    check(call_header(call, "host") != NULL);
    check(strchr(path, '?') == NULL && strchr(call_query(call), ' ') == NULL);
    live++;
    call_set_context(call, call);
    if (path[1] == 'e') {
        live--;
        call_reply(call, 404, "text/plain", NULL, 0, "early", 5);
    } else if (path[1] == 'l') {
        call_set_body_limit(call, 5);
    }
}

static void on_request(struct http_call *call, struct buf *body, void *arg)
{
    const char *path = call_path(call);
    check(call_context(call) == call);
    check(body->len <= config.max_body);
    if (path[1] == 's') {
        call_stream_begin(call, 200, "text/event-stream", NULL, 0);
        call_stream_write(call, body->data, body->len);
        call_stream_write(call, "x", 1);
        call_stream_end(call);
    } else if (path[1] == 'w') {
        return; /* waits for the hang-up */
    } else if (path[1] == 'a') {
        call_abort(call);
    } else {
        call_reply(call, 200, "application/json", NULL, 0, body->data, body->len);
    }
    live--;
}

static void on_closed(struct http_call *call, void *arg)
{
    check(call_context(call) == call && live > 0);
    live--;
}

static const struct http_handler handler = {
    .on_headers = on_headers, .on_request = on_request, .on_closed = on_closed};

static void set_up(void)
{
    struct err err;
    inflight_init(&inflight, 65536);
    http_config_defaults(&config);
    config.inflight = &inflight;
    config.origins = origin_policy_new(NULL, 0, NULL, 0, &err);
    config.max_body = 40000;
    base = event_base_new();
    worker = http_worker_new(base, &config, &handler, NULL, &err);
    check(config.origins != NULL && worker != NULL);
}

static void drain_client(int fd)
{
    static char heard[65536];
    ssize_t n;
    while ((n = recv(fd, heard, sizeof heard, MSG_DONTWAIT)) > 0) {
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int sv[2];
    if (base == NULL) {
        set_up();
    }
    if (size < 1 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sv) != 0) {
        return 0;
    }
    size_t piece = data[0] == 0 ? size : data[0];
    check(http_worker_adopt(worker, sv[1]));
    for (size_t off = 1; off < size; off += piece) {
        size_t n = size - off < piece ? size - off : piece;
        if (send(sv[0], data + off, n, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)n) {
            break;
        }
        event_base_loop(base, EVLOOP_NONBLOCK);
        drain_client(sv[0]);
    }
    close(sv[0]);
    for (int i = 0; i < 10 && http_worker_connections(worker) > 0; i++) {
        event_base_loop(base, EVLOOP_NONBLOCK);
    }
    check(http_worker_connections(worker) == 0 && http_worker_busy(worker) == 0);
    check(inflight_used(&inflight) == 0 && live == 0);
    return 0;
}
