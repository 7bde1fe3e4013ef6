/* Answers: how bytes leave. */
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "http_conn.h"
#include "record.h"

static const char *reason(int status)
{
    static const struct {
        int status;
        const char *text;
    } table[] = {{200, "OK"},
                 {302, "Found"},
                 {400, "Bad Request"},
                 {401, "Unauthorized"},
                 {402, "Payment Required"},
                 {403, "Forbidden"},
                 {404, "Not Found"},
                 {405, "Method Not Allowed"},
                 {413, "Payload Too Large"},
                 {415, "Unsupported Media Type"},
                 {421, "Misdirected Request"},
                 {422, "Unprocessable Entity"},
                 {429, "Too Many Requests"},
                 {500, "Internal Server Error"},
                 {502, "Bad Gateway"},
                 {503, "Service Unavailable"},
                 {504, "Gateway Timeout"}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (table[i].status == status)
            return table[i].text;
    return "Status";
}

/* The answer is complete: the next request may come. */
static void finish(struct http_conn *c)
{
    bool tls = c->request.tls;
    if (!c->busy)
        return;
    c->busy = false;
    c->on_drain = NULL;
    c->on_gone = NULL;
    sim_stats.transfers_open--;
    http_conn_clear(c);
    c->request.tls = tls;
    if (!c->keep_alive)
        http_close(c);
    else
        http_conn_pump(c);
}

static void head(struct http_conn *c, int status, const char *type, const char *extra, const char *framing)
{
    struct evbuffer *out = bufferevent_get_output(c->bev);
    evbuffer_add_printf(out, "HTTP/1.1 %d %s\r\nServer: e2ee-sim\r\n", status, reason(status));
    if (type)
        evbuffer_add_printf(out, "Content-Type: %s\r\n", type);
    if (!c->keep_alive)
        evbuffer_add_printf(out, "Connection: close\r\n");
    evbuffer_add_printf(out, "%s%s\r\n", extra ? extra : "", framing);
}

void http_reply(struct http_conn *c, int status, const char *type, const char *extra, const void *body,
                size_t len)
{
    struct bytes framing = {0};
    bytes_fmt(&framing, "Content-Length: %zu\r\n", len);
    head(c, status, type, extra, bytes_text(&framing));
    bytes_free(&framing);
    if (len && !(c->request.method && !strcmp(c->request.method, "HEAD")))
        bufferevent_write(c->bev, body, len);
    finish(c);
}

void http_stream_begin(struct http_conn *c, int status, const char *type, const char *extra)
{
    head(c, status, type, extra, "Transfer-Encoding: chunked\r\n");
}

void http_stream_write(struct http_conn *c, const void *data, size_t len)
{
    struct evbuffer *out = bufferevent_get_output(c->bev);
    if (!len)
        return;
    char size[20], *p = size + sizeof size;
    *--p = '\n';
    *--p = '\r';
    for (size_t n = len; n; n >>= 4) /* no printf: this is the hot path of benchmarks */
        *--p = "0123456789abcdef"[n & 15];
    evbuffer_add(out, p, (size_t)(size + sizeof size - p));
    evbuffer_add(out, data, len);
    evbuffer_add(out, "\r\n", 2);
}

void http_stream_bytes(struct http_conn *c, const void *data, size_t len)
{
    for (size_t i = 0; i < len; i++)
        http_stream_write(c, (const uint8_t *)data + i, 1);
}

void http_stream_end(struct http_conn *c)
{
    http_raw(c, "0\r\n\r\n", 5);
    finish(c);
}

void http_raw(struct http_conn *c, const void *data, size_t len)
{
    bufferevent_write(c->bev, data, len);
}

void http_close(struct http_conn *c)
{
    c->closing = true;
    c->on_drain = NULL;
    bufferevent_setwatermark(c->bev, EV_WRITE, 0, 0);
    if (evbuffer_get_length(bufferevent_get_output(c->bev)) == 0)
        http_conn_drop(c);
}

void http_reset(struct http_conn *c)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    setsockopt(bufferevent_getfd(c->bev), SOL_SOCKET, SO_LINGER, &now, sizeof now);
    c->closing = true;
    http_conn_drop(c);
}

void http_watch(struct http_conn *c, void *user, void (*on_drain)(void *user), void (*on_gone)(void *user))
{
    c->user = user;
    c->on_drain = on_drain;
    c->on_gone = on_gone;
}

size_t http_queued(const struct http_conn *c)
{
    return evbuffer_get_length(bufferevent_get_output(c->bev));
}
