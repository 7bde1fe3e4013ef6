/* What the app may ask of a request. */
#include "server/call.h"

#include <strings.h>

#include "server/conn.h"

void call_set_context(struct http_call *call, void *context)
{
    call->context = context;
}

void *call_context(const struct http_call *call)
{
    return call->context;
}

enum http_method call_method(const struct http_call *call)
{
    switch (call->method) {
    case HTTP_GET:
        return HTTP_METHOD_GET;
    case HTTP_HEAD:
        return HTTP_METHOD_HEAD;
    case HTTP_POST:
        return HTTP_METHOD_POST;
    default:
        return HTTP_METHOD_OTHER;
    }
}

const char *call_method_name(const struct http_call *call)
{
    return llhttp_method_name((llhttp_method_t)call->method);
}

const char *call_path(const struct http_call *call)
{
    return (const char *)call->head.data + call->url;
}

const char *call_query(const struct http_call *call)
{
    return (const char *)call->head.data + call->query;
}

const char *call_header(const struct http_call *call, const char *name)
{
    const char *text = (const char *)call->head.data;
    for (unsigned i = 0; i < call->field_count; i++) {
        if (strcasecmp(text + call->fields[i].name, name) == 0) {
            return text + call->fields[i].value;
        }
    }
    return NULL;
}

int call_version(const struct http_call *call)
{
    return call->version;
}

uint64_t call_id(const struct http_call *call)
{
    return call->id;
}

void call_set_body_limit(struct http_call *call, size_t bytes)
{
    call->body_limit = bytes;
}

void call_body_release(struct http_call *call)
{
    if (call->charged > 0) {
        inflight_give(call->conn->worker->config->inflight, call->charged);
        call->charged = 0;
    }
}

bool call_streaming(const struct http_call *call)
{
    return call->streaming;
}

bool call_stream_full(const struct http_call *call)
{
    return call->full;
}

size_t call_queued(const struct http_call *call)
{
    return conn_queued(call->conn);
}
