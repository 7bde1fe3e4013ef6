#include "transport.h"

#include <stdlib.h>
#include <string.h>

#include "record.h"

/* ---- later ---- */

struct later {
    struct event *timer;
    struct http_conn *conn;
    void (*again)(struct http_conn *conn, void *user);
    void (*gone)(void *user);
    void *user;
};

static void later_fire(evutil_socket_t fd, short what, void *data)
{
    struct later l = *(struct later *)data;
    event_free(l.timer);
    free(data);
    http_watch(l.conn, NULL, NULL, NULL);
    l.again(l.conn, l.user);
}

static void later_gone(void *data)
{
    struct later *l = data;
    event_free(l->timer);
    if (l->gone)
        l->gone(l->user);
    free(l);
}

void transport_later(struct event_base *base, struct http_conn *conn, long ms,
                     void (*again)(struct http_conn *conn, void *user), void (*gone)(void *user), void *user)
{
    struct later *l = sim_alloc(sizeof *l);
    struct timeval tv = {ms / 1000, ms % 1000 * 1000};
    *l = (struct later){.conn = conn, .again = again, .gone = gone, .user = user};
    l->timer = event_new(base, -1, 0, later_fire, l);
    event_add(l->timer, &tv);
    http_watch(conn, l, NULL, later_gone);
}

/* ---- slow headers ---- */

struct slow {
    struct event_base *base;
    long ms;
    size_t at;
};
static const char slow_text[] =
    "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nX-Slow: yes\r\n"
    "Content-Length: 2\r\nConnection: close\r\n\r\n{}";

static void slow_next(struct http_conn *conn, void *user)
{
    struct slow *s = user;
    http_raw(conn, slow_text + s->at, 1);
    if (++s->at < sizeof slow_text - 1) {
        transport_later(s->base, conn, s->ms, slow_next, free, s);
        return;
    }
    free(s);
    http_close(conn);
}

/* ---- statuses ---- */

static const char *message_of(long status)
{
    switch (status) {
    case 400:
        return "Invalid request";
    case 401:
        return "Authentication failed";
    case 402:
        return "Insufficient USD or Diem balance to complete request";
    case 403:
        return "This model is not available to your key";
    case 404:
        return "Specified model not found";
    case 413:
        return "The request body is too large";
    case 422:
        return "Unprocessable request";
    case 429:
        return "Rate limit exceeded";
    case 503:
        return "The model is at capacity. Please try again later";
    case 504:
        return "The model took too long to respond";
    default:
        return "Inference processing failed";
    }
}

static void reply_status(struct http_conn *conn, long status, const char *extra, const char *message)
{
    struct bytes b = {0};
    bytes_str(&b, "{\"error\":{\"message\":");
    bytes_json(&b, message, strlen(message));
    bytes_fmt(&b, ",\"type\":\"sim_status\",\"code\":\"SIM_%ld\"}}", status);
    http_reply(conn, (int)status, "application/json", extra, b.p, b.len);
    bytes_free(&b);
}

static void reply_http(struct http_conn *conn, const struct fault_use *use)
{
    long status = use->fault->value;
    char extra[64] = "";
    if (status == 429)
        evutil_snprintf(extra, sizeof extra, "Retry-After: %ld\r\n", use->value == 429 ? 7 : use->value);
    reply_status(conn, status, extra, message_of(status));
}

static void reply_long_error(struct http_conn *conn)
{
    struct bytes b = {0};
    bytes_str(&b, "bad\x1b[31m \r\n\t\x7f news: ");
    for (int i = 0; i < 2000; i++)
        bytes_str(&b, "0123456789");
    reply_status(conn, 400, NULL, bytes_text(&b));
    bytes_free(&b);
}

static void reply_huge_headers(struct http_conn *conn, long size)
{
    struct bytes b = {0};
    for (long i = 0; (long)b.len < size; i++)
        bytes_fmt(&b, "X-Padding-%ld: %0100d\r\n", i, 0);
    http_reply(conn, 200, "application/json", bytes_text(&b), "{}", 2);
    bytes_free(&b);
}

/* ---- a huge body, as fast as the client reads ---- */

struct huge {
    struct http_conn *conn;
    size_t left;
};

static void huge_more(void *user)
{
    static char block[65536];
    struct huge *h = user;
    struct http_conn *conn = h->conn;
    memset(block, ' ', sizeof block);
    while (h->left && http_queued(conn) < 262144) {
        size_t n = h->left < sizeof block ? h->left : sizeof block;
        http_stream_write(conn, block, n);
        h->left -= n;
    }
    if (h->left)
        return;
    http_watch(conn, NULL, NULL, NULL);
    free(h);
    http_stream_end(conn);
}

static void reply_huge(struct http_conn *conn, long size)
{
    struct huge *h = sim_alloc(sizeof *h);
    *h = (struct huge){conn, (size_t)size};
    http_watch(conn, h, huge_more, free);
    http_stream_begin(conn, 200, "application/json", NULL);
    http_stream_write(conn, "{", 1);
    huge_more(h);
}

/* Answers that are always the same bytes: type NULL means raw bytes and the end of the connection. */
static const struct {
    enum fault_id id;
    int status;
    const char *type, *extra, *body;
} fixed[] = {
    {F_REDIRECT, 302, "text/plain", "Location: /redirected/away\r\n", ""},
    {F_HTML, 502, "text/html", NULL,
     "<!DOCTYPE html><html><head><title>502 Bad gateway</title></head><body>cloud</body></html>"},
    {F_ERROR_TEXT, 500, "text/plain", NULL, "it broke"},
    {F_BODY_INVALID, 200, "application/json", NULL, "{\"data\":[{\"id\":"},
    {F_BODY_EMPTY, 200, "application/json", NULL, ""},
    {F_GARBAGE, 0, NULL, NULL, "\x16\x03\x01 this is not HTTP\r\n\r\n"},
    {F_BODY_CUT, 0, NULL, NULL,
     "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{\"data\":["},
};

static bool reply_fixed(struct http_conn *conn, enum fault_id id)
{
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++) {
        if (fixed[i].id != id)
            continue;
        if (fixed[i].type) {
            http_reply(conn, fixed[i].status, fixed[i].type, fixed[i].extra, fixed[i].body,
                       strlen(fixed[i].body));
        } else {
            http_raw(conn, fixed[i].body, strlen(fixed[i].body));
            http_close(conn);
        }
        return true;
    }
    return false;
}

static void start_slow(struct event_base *base, struct http_conn *conn, long ms)
{
    struct slow *s = sim_alloc(sizeof *s);
    *s = (struct slow){base, ms, 0};
    slow_next(conn, s);
}

bool transport_fault(struct event_base *base, struct http_conn *conn, const struct fault_use *use)
{
    static const char headers[] =
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n";
    if (!use->fault || use->fault->id > F_BODY_EMPTY)
        return false;
    sim_stats.faults++;
    if (reply_fixed(conn, use->fault->id))
        return true;
    switch (use->fault->id) {
    case F_HTTP:
        reply_http(conn, use);
        break;
    case F_HTTP_429_BARE:
        reply_status(conn, 429, NULL, message_of(429));
        break;
    case F_ERROR_LONG:
        reply_long_error(conn);
        break;
    case F_SLOW_HEADERS:
        start_slow(base, conn, use->value);
        break;
    case F_SILENT:
        break;
    case F_HEADERS_ONLY:
        http_raw(conn, headers, sizeof headers - 1);
        break;
    case F_CLOSE:
        http_close(conn);
        break;
    case F_RESET:
        http_reset(conn);
        break;
    case F_HUGE_HEADERS:
        reply_huge_headers(conn, use->value);
        break;
    case F_BODY_HUGE:
        reply_huge(conn, use->value);
        break;
    default:
        break;
    }
    return true;
}
