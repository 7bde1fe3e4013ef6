/* OpenAI's error object. Messages may quote an upstream: they are made valid JSON whatever they contain. */
#include <stdio.h>
#include <string.h>

#include "server/conn.h"

#define ERROR_BODY_MAX 8192
#define EXTRA_MAX 16

/* Length of the well-formed UTF-8 sequence at s (terminated), 0 when there is none. */
static size_t utf8_len(const unsigned char *s)
{
    size_t n = s[0] < 0x80 ? 1 : s[0] >= 0xc2 && s[0] < 0xe0 ? 2 : (s[0] & 0xf0) == 0xe0 ? 3 : 4;
    if ((s[0] >= 0x80 && s[0] < 0xc2) || s[0] > 0xf4) {
        return 0;
    }
    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    bool overlong = (s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xf0 && s[1] < 0x90);
    bool outside = (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf4 && s[1] > 0x8f);
    return overlong || outside ? 0 : n;
}

static void append_text(struct buf *out, const char *text)
{
    const unsigned char *s = (const unsigned char *)text;
    buf_append_byte(out, '"');
    while (*s != '\0') {
        size_t n = utf8_len(s);
        if (n == 0) {
            buf_append_byte(out, '?');
            n = 1;
        } else if (*s < 0x20 || *s == 0x7f) {
            buf_append_byte(out, ' ');
        } else {
            if (*s == '"' || *s == '\\') {
                buf_append_byte(out, '\\');
            }
            buf_append(out, s, n);
        }
        s += n;
    }
    buf_append_byte(out, '"');
}

static void append_member(struct buf *out, const char *key, const char *text)
{
    buf_append_str(out, key);
    if (text != NULL) {
        append_text(out, text);
    } else {
        buf_append_str(out, "null");
    }
}

bool call_error_json(struct buf *out, const struct http_error *e)
{
    const char *type = e->type != NULL    ? e->type
                       : e->status >= 500 ? "server_error"
                                          : "invalid_request_error";
    append_member(out, "{\"error\":{\"message\":", e->message != NULL ? e->message : "");
    append_member(out, ",\"type\":", type);
    append_member(out, ",\"param\":", e->param);
    append_member(out, ",\"code\":", e->code);
    return buf_append_str(out, "}}");
}

void call_reply_error(struct http_call *call, const struct http_error *e, const struct http_header *extra,
                      size_t extra_count)
{
    struct http_header fields[EXTRA_MAX + 3];
    char seconds[16];
    size_t n = 0;
    struct buf body;
    for (; n < extra_count && n < EXTRA_MAX; n++) {
        fields[n] = extra[n];
    }
    if (e->retry_after > 0 || e->status == 503) {
        snprintf(seconds, sizeof seconds, "%u", e->retry_after > 0 ? e->retry_after : 1);
        fields[n++] = (struct http_header){"Retry-After", seconds};
    }
    if (e->no_retry) {
        fields[n++] = (struct http_header){"x-should-retry", "false"};
    }
    if (e->status == 401) {
        fields[n++] = (struct http_header){"WWW-Authenticate", "Bearer"};
    }
    buf_init(&body, ERROR_BODY_MAX);
    if (call_error_json(&body, e)) {
        call_reply(call, e->status, "application/json", fields, n, body.data, body.len);
    } else {
        call_abort(call);
    }
    buf_free(&body);
}
