/* Responses: heads, bodies, streams, errors. Everything is queued here and written by conn_turn. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <event2/buffer.h>

#include "base/clock.h"
#include "base/log.h"
#include "server/conn.h"

static const char *reason(int status)
{
    static const struct {
        int status;
        const char *text;
    } reasons[] = {
        {200, "OK"},
        {204, "No Content"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {402, "Payment Required"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {413, "Content Too Large"},
        {415, "Unsupported Media Type"},
        {417, "Expectation Failed"},
        {421, "Misdirected Request"},
        {422, "Unprocessable Content"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
    };
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++) {
        if (reasons[i].status == status) {
            return reasons[i].text;
        }
    }
    return "Status";
}

static const char *date(struct http_worker *w)
{
    int64_t now = clock_wall_s();
    if (now != w->date_s) {
        time_t t = (time_t)now;
        struct tm tm;
        gmtime_r(&t, &tm);
        strftime(w->date, sizeof w->date, "%a, %d %b %Y %H:%M:%S GMT", &tm);
        w->date_s = now;
    }
    return w->date;
}

static bool field_safe(const char *text)
{
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text < 0x20 || *text == 0x7f) {
            return false;
        }
    }
    return true;
}

static void append_field(struct buf *head, const char *name, const char *value)
{
    buf_append_str(head, name);
    buf_append_str(head, ": ");
    buf_append_str(head, value);
    buf_append_str(head, "\r\n");
}

static void append_extra(struct buf *head, const struct http_header *extra, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (field_safe(extra[i].name) && field_safe(extra[i].value)) {
            append_field(head, extra[i].name, extra[i].value);
        } else {
            log_error("a response header with control characters was left out");
        }
    }
}

/* Decides whether the connection outlives this response, and says so where the client could not know. */
static void append_connection(struct http_call *call, struct buf *head)
{
    struct conn *c = call->conn;
    bool draining = atomic_load_explicit(&c->worker->draining, memory_order_relaxed);
    if (!call->keep_alive || !call->body_read || draining || (call->streaming && call->version == 10)) {
        c->closing = true;
    }
    if (!call->body_read) {
        c->discarding = true;
    }
    if (c->closing) {
        append_field(head, "Connection", "close");
    } else if (call->version == 10) {
        append_field(head, "Connection", "keep-alive");
    }
}

static void append_cors(const struct http_call *call, struct buf *head)
{
    if (call->cors_origin != NULL) {
        append_field(head, "Access-Control-Allow-Origin", call->cors_origin);
        append_field(head, "Access-Control-Expose-Headers", "X-E2EE-Dropped");
        append_field(head, "Vary", "Origin");
    }
}

/* length < 0: a stream. */
static void queue_head(struct http_call *call, int status, const char *content_type, int64_t length,
                       const struct http_header *extra, size_t extra_count)
{
    struct conn *c = call->conn;
    struct buf head;
    buf_init(&head, LIMIT_HTTP_REPLY_HEAD_BYTES);
    buf_reserve(&head, 512);
    buf_appendf(&head, "HTTP/1.1 %d %s\r\nDate: %s\r\n", status, reason(status), date(c->worker));
    if (content_type != NULL) {
        append_field(&head, "Content-Type", content_type);
    }
    if (length >= 0 && status != 204) {
        buf_appendf(&head, "Content-Length: %lld\r\n", (long long)length);
    } else if (length < 0 && call->version == 11) {
        append_field(&head, "Transfer-Encoding", "chunked");
    }
    append_connection(call, &head);
    append_cors(call, &head);
    append_extra(&head, extra, extra_count);
    buf_append_str(&head, "\r\n");
    if (head.failed) {
        conn_doom(c);
    } else {
        conn_queue(c, head.data, head.len);
    }
    buf_free(&head);
}

static void end_call(struct http_call *call)
{
    call->announced = false;
    call->ended = true;
    call->conn->state = CONN_FLUSH;
    conn_touch(call->conn);
}

void call_reply(struct http_call *call, int status, const char *content_type, const struct http_header *extra,
                size_t extra_count, const void *body, size_t len)
{
    call->no_body = call->method == HTTP_HEAD || status == 204;
    queue_head(call, status, content_type, (int64_t)len, extra, extra_count);
    if (!call->no_body) {
        conn_queue(call->conn, body, len);
    }
    end_call(call);
}

void call_stream_begin(struct http_call *call, int status, const char *content_type,
                       const struct http_header *extra, size_t extra_count)
{
    call->streaming = true;
    call->chunked = call->version == 11;
    call->no_body = call->method == HTTP_HEAD;
    queue_head(call, status, content_type, -1, extra, extra_count);
    conn_touch(call->conn);
}

/* Writes len in hex and a line end to the end of out; returns where it begins. By hand: printf is a third of what a
 * small chunk costs here. */
static size_t chunk_size(char *out, size_t cap, size_t len)
{
    size_t at = cap;
    out[--at] = '\n';
    out[--at] = '\r';
    do {
        out[--at] = "0123456789abcdef"[len & 15];
        len >>= 4;
    } while (len > 0);
    return at;
}

bool call_stream_write(struct http_call *call, const void *data, size_t len)
{
    struct conn *c = call->conn;
    if (len == 0 || call->no_body || c->doomed) {
        return !call->full;
    }
    if (call->chunked) {
        char size[2 * sizeof len + 2];
        size_t begin = chunk_size(size, sizeof size, len);
        conn_queue(c, size + begin, sizeof size - begin);
        conn_queue(c, data, len);
        conn_queue(c, "\r\n", 2);
    } else {
        conn_queue(c, data, len);
    }
    if (conn_queued(c) > c->worker->config->queue_high) {
        /* Not waiting for the end of the turn: only what the kernel refuses counts as queued. */
        conn_write(c);
        call->full = call->full || conn_queued(c) > c->worker->config->queue_high;
    }
    conn_touch(c);
    return !call->full;
}

void call_stream_end(struct http_call *call)
{
    if (call->chunked && !call->no_body) {
        conn_queue(call->conn, "0\r\n\r\n", 5);
    }
    end_call(call);
}

void call_abort(struct http_call *call)
{
    call->announced = false;
    call->ended = true;
    conn_doom(call->conn);
}

void reply_options(struct http_call *call, bool preflight)
{
    struct buf allowed;
    struct http_header extra[5];
    size_t n = 0;
    const char *names = NULL;
    buf_init(&allowed, LIMIT_HTTP_REPLY_HEAD_BYTES / 4);
    extra[n++] = (struct http_header){"Allow", "GET, HEAD, POST, OPTIONS"};
    if (preflight) {
        judge_cors_headers(call, &allowed);
        names = buf_cstr(&allowed);
        extra[n++] = (struct http_header){"Access-Control-Allow-Methods", "GET, HEAD, POST, OPTIONS"};
        extra[n++] = (struct http_header){"Access-Control-Max-Age", "600"};
        if (names != NULL && names[0] != '\0') {
            extra[n++] = (struct http_header){"Access-Control-Allow-Headers", names};
        }
        if (call_header(call, "Access-Control-Request-Private-Network") != NULL) {
            extra[n++] = (struct http_header){"Access-Control-Allow-Private-Network", "true"};
        }
    }
    call_reply(call, 204, NULL, extra, n, NULL, 0);
    buf_free(&allowed);
}
