#include "app/reply.h"

void reply_error(struct http_call *call, const struct openai_error *error)
{
    const struct http_error e = {.status = error->status,
                                 .type = error->type,
                                 .code = error->code,
                                 .param = error->param,
                                 .message = error->message,
                                 .retry_after = error->retry_after_s,
                                 .no_retry = error->no_retry};
    call_reply_error(call, &e, NULL, 0);
}

void reply_error_event(struct http_call *call, const struct openai_error *error)
{
    struct buf out;
    buf_init(&out, 65536);
    if (openai_error_event(&out, error)) {
        (void)!call_stream_write(call, out.data, out.len);
        call_stream_end(call);
    } else {
        call_abort(call); /* no memory to say why: a cut body is at least no silent end */
    }
    buf_free(&out);
}

void reply_stream_begin(struct http_call *call, const char *dropped)
{
    const struct http_header headers[] = {{"Cache-Control", "no-cache"}, {"X-E2EE-Dropped", dropped}};
    call_stream_begin(call, 200, "text/event-stream; charset=utf-8", headers, dropped[0] != '\0' ? 2 : 1);
}

void reply_json(struct http_call *call, int status, const char *dropped, const struct buf *body)
{
    const struct http_header headers[] = {{"X-E2EE-Dropped", dropped}};
    call_reply(call, status, "application/json", headers, dropped[0] != '\0' ? 1 : 0, body->data, body->len);
}
