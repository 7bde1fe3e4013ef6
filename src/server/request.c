/* From bytes to calls: gathers a head, has it judged, reads the body, delivers. */
#include <stdatomic.h>
#include <string.h>

#include <event2/buffer.h>

#include "base/clock.h"
#include "base/mem.h"
#include "server/conn.h"

#define BODY_CHARGE_STEP 65536u

static atomic_uint_fast64_t next_id = 1;

static int on_url(llhttp_t *p, const char *at, size_t len)
{
    struct http_call *call = p->data;
    call->url = (uint32_t)((const uint8_t *)at - call->head.data);
    call->url_len = (uint32_t)len;
    return 0;
}

/* The whole head is parsed from one piece of memory: each text comes in one call. The fields of trailers (after the
 * body began) are not kept. */
static int on_field(llhttp_t *p, const char *at, size_t len)
{
    struct http_call *call = p->data;
    if (call->announced) {
        return 0;
    }
    if (call->field_count == LIMIT_HTTP_HEADER_COUNT) {
        call->too_many_fields = true;
        return -1;
    }
    struct field *f = &call->fields[call->field_count++];
    f->name = (uint32_t)((const uint8_t *)at - call->head.data);
    f->value = f->name + (uint32_t)len; /* the terminator that will replace ':', should there be no value */
    return 0;
}

static int on_value(llhttp_t *p, const char *at, size_t len)
{
    struct http_call *call = p->data;
    if (!call->announced && len > 0) {
        call->fields[call->field_count - 1].value = (uint32_t)((const uint8_t *)at - call->head.data);
    }
    return 0;
}

static int on_headers_complete(llhttp_t *p)
{
    return HPE_PAUSED;
}

static int on_body(llhttp_t *p, const char *at, size_t len)
{
    struct http_call *call = p->data;
    /* Room was made by room_for_body before llhttp ran. */
    return buf_append(&call->body, at, len) ? 0 : -1;
}

static int on_message_complete(llhttp_t *p)
{
    struct http_call *call = p->data;
    call->message_complete = true;
    return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_url = on_url,
    .on_header_field = on_field,
    .on_header_value = on_value,
    .on_headers_complete = on_headers_complete,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
};

static struct http_call *call_new(struct conn *c)
{
    struct http_call *call = mem_calloc(1, sizeof *call);
    if (call == NULL) {
        return NULL;
    }
    call->conn = c;
    call->id = atomic_fetch_add_explicit(&next_id, 1, memory_order_relaxed);
    buf_init(&call->head, c->worker->config->header_bytes + 1);
    buf_init(&call->body, 0);
    call->body_limit = c->worker->config->max_body;
    call->version = 11;
    llhttp_init(&call->parser, HTTP_REQUEST, &settings);
    call->parser.data = call;
    return call;
}

void call_free(struct http_call *call)
{
    if (call == NULL) {
        return;
    }
    call_body_release(call);
    buf_free(&call->head);
    buf_free(&call->body);
    mem_free(call);
}

void call_refuse(struct http_call *call, const struct http_error *e)
{
    struct conn *c = call->conn;
    struct http_worker *w = c->worker;
    if (call->announced) {
        call->announced = false;
        w->handler->on_closed(call, w->arg);
    }
    if (w->handler->on_refused != NULL) {
        w->handler->on_refused(e->status, e->code != NULL ? e->code : "", w->arg);
    }
    call_reply_error(call, e, NULL, 0);
}

static void refuse(struct http_call *call, int status, const char *code, const char *message)
{
    const struct http_error e = {.status = status, .code = code, .message = message};
    call_refuse(call, &e);
}

/* Puts terminators behind the texts. White space at a value's end, which llhttp leaves, goes. */
static void terminate_texts(struct http_call *call)
{
    char *text = (char *)call->head.data;
    text[call->url + call->url_len] = '\0';
    char *mark = strchr(text + call->url, '?');
    if (mark != NULL) {
        *mark = '\0';
    }
    call->query = mark != NULL ? (uint32_t)(mark + 1 - text) : call->url + call->url_len;
    for (unsigned i = 0; i < call->field_count; i++) {
        struct field *f = &call->fields[i];
        char *colon = strchr(text + f->name, ':');
        char *end = strchr(colon, '\r');
        while (end > colon + 1 && (end[-1] == ' ' || end[-1] == '\t')) {
            end--;
        }
        *end = '\0';
        if (text + f->value > end) {
            f->value = (uint32_t)(end - text);
        }
        *colon = '\0';
    }
}

static bool parse_head(struct http_call *call)
{
    llhttp_t *p = &call->parser;
    llhttp_errno_t e = llhttp_execute(p, (const char *)call->head.data, call->head.len);
    if (call->too_many_fields) {
        refuse(call, 431, "header_too_large", "the request has too many header fields");
        return false;
    }
    if (e == HPE_INVALID_VERSION || p->http_major == 2 ||
        (e == HPE_PAUSED && (p->http_major != 1 || p->http_minor > 1))) {
        refuse(call, 505, "http_version_not_supported", "this server speaks HTTP/1.1 and HTTP/1.0");
        return false;
    }
    /* Whatever comes after the head is no protocol of ours, so an Upgrade is ignored, as HTTP allows. */
    p->upgrade = 0;
    if (e != HPE_PAUSED || llhttp_get_error_pos(p) != (const char *)call->head.data + call->head.len ||
        call->url_len == 0) {
        refuse(call, 400, "invalid_request", "the request's head is not valid HTTP/1.1");
        return false;
    }
    call->method = p->method;
    call->version = (uint8_t)(p->http_major * 10 + p->http_minor);
    call->keep_alive = llhttp_should_keep_alive(p) != 0;
    call->chunked_body = (p->flags & F_CHUNKED) != 0;
    call->length = (p->flags & F_CONTENT_LENGTH) != 0 ? p->content_length : 0;
    terminate_texts(call);
    return true;
}

static void deliver(struct http_call *call)
{
    struct http_worker *w = call->conn->worker;
    call->body_read = true;
    call->conn->state = CONN_CALL;
    w->handler->on_request(call, &call->body, w->arg);
}

/* After the app let the head pass: room for the body, or none of it is read. */
static void admit_body(struct http_call *call)
{
    struct conn *c = call->conn;
    if (call->length > call->body_limit) {
        refuse(call, 413, "request_too_large", "the request's body is larger than this server takes");
        return;
    }
    if (!call->chunked_body && call->length == 0) {
        deliver(call);
        return;
    }
    if (!inflight_take(c->worker->config->inflight, (size_t)call->length)) {
        refuse(call, 503, "overloaded", "too many bytes of requests and answers are in flight: try again");
        return;
    }
    call->charged = (size_t)call->length;
    buf_init(&call->body, call->body_limit);
    if (!buf_reserve(&call->body, (size_t)call->length)) {
        refuse(call, 503, "overloaded", "no memory for the request's body");
        return;
    }
    if (call->expect_continue && call->version == 11) {
        static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
        conn_queue(c, go_on, sizeof go_on - 1);
        conn_touch(c);
    }
    llhttp_resume(&call->parser);
    c->state = CONN_BODY;
    c->since_ns = clock_boot_ns();
}

static void head_complete(struct http_call *call)
{
    struct conn *c = call->conn;
    struct http_worker *w = c->worker;
    struct http_error e = {0};
    bool preflight = false;
    if (!parse_head(call)) {
        return;
    }
    if (!judge_head(w, call, &e, &preflight)) {
        call_refuse(call, &e);
        return;
    }
    if (call->method == HTTP_OPTIONS) {
        reply_options(call, preflight);
        return;
    }
    call->announced = true;
    w->handler->on_headers(call, w->arg);
    if (!call->ended && !c->doomed) {
        admit_body(call);
    }
}

static size_t head_input(struct conn *c, const uint8_t *data, size_t len)
{
    size_t used, skip;
    if (c->call == NULL) {
        c->call = call_new(c);
        if (c->call == NULL) {
            conn_doom(c);
            return len;
        }
        c->since_ns = clock_boot_ns();
    }
    struct http_call *call = c->call;
    enum head_result r = head_scan(&c->scan, data, len, &used, &skip);
    if (used - skip > c->worker->config->header_bytes - call->head.len) {
        refuse(call, 431, "header_too_large", "the request's head is larger than this server takes");
    } else if (r == HEAD_BAD) {
        refuse(call, 400, "invalid_request", "the request's head is not valid HTTP/1.1");
    } else if (!buf_append(&call->head, data + skip, used - skip)) {
        conn_doom(c);
    } else if (r == HEAD_DONE) {
        head_complete(call);
    }
    return used;
}

/* Bytes of the body that may come out of len bytes of input are charged before they are kept. */
static bool room_for_body(struct http_call *call, size_t len)
{
    size_t need = call->body.len + len;
    if (!call->chunked_body || need <= call->charged) {
        return true;
    }
    size_t more = need - call->charged > BODY_CHARGE_STEP ? need - call->charged : BODY_CHARGE_STEP;
    if (!inflight_take(call->conn->worker->config->inflight, more)) {
        refuse(call, 503, "overloaded", "too many bytes of requests and answers are in flight: try again");
        return false;
    }
    call->charged += more;
    return true;
}

/* llhttp lets a bare LF pass as the very last line end. */
static bool ends_with_crlf(const struct http_call *call, const uint8_t *data, size_t used)
{
    uint8_t before = used >= 2 ? data[used - 2] : call->last_byte;
    return used >= 1 && data[used - 1] == '\n' && before == '\r';
}

static size_t body_input(struct conn *c, const uint8_t *data, size_t len)
{
    struct http_call *call = c->call;
    if (!room_for_body(call, len)) {
        return len;
    }
    size_t had = call->body.len;
    llhttp_errno_t e = llhttp_execute(&call->parser, (const char *)data, len);
    size_t used = len;
    if (e == HPE_PAUSED && call->message_complete) {
        used = (size_t)((const uint8_t *)llhttp_get_error_pos(&call->parser) - data);
        e = HPE_OK;
    }
    c->since_ns = clock_boot_ns();
    if (call->body.failed) {
        refuse(call, 413, "request_too_large", "the request's body is larger than this server takes");
        return len;
    }
    call->overhead += used - (call->body.len - had);
    if (e != HPE_OK || (call->chunked_body && call->message_complete && !ends_with_crlf(call, data, used)) ||
        call->overhead > LIMIT_HTTP_CHUNK_OVERHEAD + 8 * (uint64_t)call->body.len) {
        refuse(call, 400, "invalid_request", "the request's body is not valid HTTP/1.1");
        return len;
    }
    call->last_byte = used > 0 ? data[used - 1] : call->last_byte;
    if (call->message_complete) {
        deliver(call);
    }
    return used;
}

size_t conn_input(struct conn *c, const uint8_t *data, size_t len)
{
    size_t used = 0;
    while (used < len && !c->doomed) {
        if (c->state == CONN_HEAD) {
            used += head_input(c, data + used, len - used);
        } else if (c->state == CONN_BODY) {
            used += body_input(c, data + used, len - used);
        } else if (c->state == CONN_LINGER) {
            return len;
        } else {
            break;
        }
    }
    return used;
}
