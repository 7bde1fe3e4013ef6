#include "http_conn.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "record.h"

#define MAX_BODY ((size_t)32 << 20) /* PG's limit, docs/PROTOCOL.md section 6 */
#define LOW_WATER 65536             /* bytes queued below which a watcher is called again */

struct listener {
    struct evconnlistener *lev;
    SSL_CTX *tls;
    http_handler *handler;
};

static struct http_conn *connections;
static struct listener listeners[4];
static size_t listener_count;

/* ---- one request's pieces ---- */

void http_conn_clear(struct http_conn *c)
{
    struct http_request *r = &c->request;
    for (size_t i = 0; i < r->header_count; i++) {
        free(r->headers[i].name);
        free(r->headers[i].value);
    }
    free(r->headers);
    free(r->method);
    free(r->target);
    free(r->path);
    bytes_free(&r->body);
    bytes_free(&r->raw);
    memset(r, 0, sizeof *r);
    bytes_free(&c->target);
    bytes_free(&c->name);
    bytes_free(&c->value);
}

static int on_target(llhttp_t *p, const char *at, size_t len)
{
    bytes_add(&((struct http_conn *)p->data)->target, at, len);
    return 0;
}

static int on_name(llhttp_t *p, const char *at, size_t len)
{
    bytes_add(&((struct http_conn *)p->data)->name, at, len);
    return 0;
}

static int on_value(llhttp_t *p, const char *at, size_t len)
{
    bytes_add(&((struct http_conn *)p->data)->value, at, len);
    return 0;
}

static int on_value_complete(llhttp_t *p)
{
    struct http_conn *c = p->data;
    struct http_request *r = &c->request;
    r->headers = sim_resize(r->headers, (r->header_count + 1) * sizeof *r->headers);
    r->headers[r->header_count++] =
        (struct http_header){sim_strdup(bytes_text(&c->name)), sim_strdup(bytes_text(&c->value))};
    bytes_clear(&c->name);
    bytes_clear(&c->value);
    return 0;
}

static int on_headers_complete(llhttp_t *p)
{
    struct http_conn *c = p->data;
    struct http_request *r = &c->request;
    r->method = sim_strdup(llhttp_method_name((llhttp_method_t)p->method));
    r->target = sim_strdup(bytes_text(&c->target));
    char *question = strchr(r->target, '?');
    r->path = question ? sim_strndup(r->target, (size_t)(question - r->target)) : sim_strdup(r->target);
    r->query = question ? question + 1 : NULL;
    const char *expect = http_header_get(r, "Expect", NULL);
    if (expect && !strcasecmp(expect, "100-continue"))
        http_raw(c, "HTTP/1.1 100 Continue\r\n\r\n", 25);
    return 0;
}

static int on_body(llhttp_t *p, const char *at, size_t len)
{
    struct http_request *r = &((struct http_conn *)p->data)->request;
    if (r->body.len + len > MAX_BODY)
        r->too_large = true;
    else
        bytes_add(&r->body, at, len);
    return 0;
}

static int on_message_complete(llhttp_t *p)
{
    struct http_conn *c = p->data;
    c->busy = true;
    c->keep_alive = llhttp_should_keep_alive(p) != 0;
    return HPE_PAUSED;
}

static void parser_init(struct http_conn *c)
{
    static llhttp_settings_t settings;
    llhttp_settings_init(&settings);
    settings.on_url = on_target;
    settings.on_header_field = on_name;
    settings.on_header_value = on_value;
    settings.on_header_value_complete = on_value_complete;
    settings.on_headers_complete = on_headers_complete;
    settings.on_body = on_body;
    settings.on_message_complete = on_message_complete;
    llhttp_init(&c->parser, HTTP_REQUEST, &settings);
    c->parser.data = c;
}

const char *http_header_get(const struct http_request *r, const char *name, int *count)
{
    const char *found = NULL;
    int n = 0;
    for (size_t i = 0; i < r->header_count; i++)
        if (!strcasecmp(r->headers[i].name, name) && n++ == 0)
            found = r->headers[i].value;
    if (count)
        *count = n;
    return found;
}

/* ---- connections ---- */

static void conn_free(struct http_conn *c)
{
    if (c->busy)
        sim_stats.transfers_open--;
    else if (c->request.raw.len)
        record_request(c->request.method, c->request.target, c->request.tls, false, &c->request.raw);
    if (c->on_gone)
        c->on_gone(c->user);
    if (c->prev)
        c->prev->next = c->next;
    else
        connections = c->next;
    if (c->next)
        c->next->prev = c->prev;
    sim_stats.connections_open--;
    http_conn_clear(c);
    bufferevent_free(c->bev);
    free(c);
}

void http_conn_drop(struct http_conn *c)
{
    if (c->pumping)
        c->dead = true;
    else
        conn_free(c);
}

static void pump_one(struct http_conn *c, struct evbuffer *in)
{
    size_t len = evbuffer_get_length(in);
    const uint8_t *data = evbuffer_pullup(in, -1);
    if (c->request.header_count == 0 && !c->request.raw.len)
        parser_init(c);
    llhttp_errno_t e = llhttp_execute(&c->parser, (const char *)data, len);
    size_t used = len;
    if (e == HPE_PAUSED || e == HPE_PAUSED_UPGRADE)
        used = (size_t)((const uint8_t *)llhttp_get_error_pos(&c->parser) - data);
    if (c->request.raw.len < 2 * MAX_BODY)
        bytes_add(&c->request.raw, data, used);
    evbuffer_drain(in, used);
    if (e != HPE_OK && e != HPE_PAUSED) {
        record_violation("http_malformed", "%s", llhttp_errno_name(e));
        c->keep_alive = false;
        c->busy = true;
        sim_stats.transfers_open++;
        http_reply(c, 400, "text/plain", NULL, "bad request\n", 12);
    } else if (c->busy) {
        sim_stats.transfers_open++;
        c->handler(c, &c->request);
    }
}

void http_conn_pump(struct http_conn *c)
{
    struct evbuffer *in = bufferevent_get_input(c->bev);
    if (c->pumping)
        return;
    c->pumping = true;
    while (!c->dead && !c->busy && !c->closing && evbuffer_get_length(in))
        pump_one(c, in);
    c->pumping = false;
    if (c->dead)
        conn_free(c);
}

static void on_read(struct bufferevent *bev, void *data)
{
    http_conn_pump(data);
}

static void on_write(struct bufferevent *bev, void *data)
{
    struct http_conn *c = data;
    if (c->closing && evbuffer_get_length(bufferevent_get_output(bev)) == 0)
        http_conn_drop(c);
    else if (c->on_drain)
        c->on_drain(c->user);
}

static void on_event(struct bufferevent *bev, short what, void *data)
{
    struct http_conn *c = data;
    if (!(what & (BEV_EVENT_EOF | BEV_EVENT_ERROR)))
        return;
    if (c->busy && !c->closing)
        sim_stats.client_disconnects++;
    http_conn_drop(c);
}

static void on_accept(struct evconnlistener *lev, evutil_socket_t fd, struct sockaddr *peer, int len,
                      void *data)
{
    struct listener *l = data;
    struct event_base *base = evconnlistener_get_base(lev);
    struct http_conn *c = sim_alloc(sizeof *c);
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    c->bev = l->tls ? bufferevent_openssl_socket_new(base, fd, SSL_new(l->tls), BUFFEREVENT_SSL_ACCEPTING,
                                                     BEV_OPT_CLOSE_ON_FREE)
                    : bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE);
    if (l->tls)
        bufferevent_openssl_set_allow_dirty_shutdown(c->bev, 1);
    c->handler = l->handler;
    c->request.tls = l->tls != NULL;
    c->next = connections;
    if (connections)
        connections->prev = c;
    connections = c;
    sim_stats.connections++;
    sim_stats.connections_open++;
    sim_stats.tls_connections += l->tls != NULL;
    bufferevent_setcb(c->bev, on_read, on_write, on_event, c);
    bufferevent_setwatermark(c->bev, EV_WRITE, LOW_WATER, 0);
    bufferevent_enable(c->bev, EV_READ | EV_WRITE);
}

int http_listen(struct event_base *base, int port, SSL_CTX *tls, http_handler *handler)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    socklen_t len = sizeof sa;
    struct listener *l = &listeners[listener_count];
    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    *l = (struct listener){.tls = tls, .handler = handler};
    l->lev = evconnlistener_new_bind(base, on_accept, l,
                                     LEV_OPT_CLOSE_ON_FREE | LEV_OPT_REUSEABLE | LEV_OPT_CLOSE_ON_EXEC, 1024,
                                     (struct sockaddr *)&sa, sizeof sa);
    if (!l->lev)
        return 0;
    listener_count++;
    getsockname(evconnlistener_get_fd(l->lev), (struct sockaddr *)&sa, &len);
    return ntohs(sa.sin_port);
}

void http_shutdown(void)
{
    while (listener_count)
        evconnlistener_free(listeners[--listener_count].lev);
    while (connections)
        conn_free(connections);
}
