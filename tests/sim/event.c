#include <string.h>

#include "record.h"
#include "stream.h"

bool stream_fault(const struct stream *s, enum fault_id id)
{
    return fault_is(&s->plan.fault, id);
}

bool stream_fault_now(struct stream *s, enum fault_id id)
{
    if (!stream_fault(s, id) || s->fault_spent || s->phase < PHASE_CONTENT || s->piece < s->fault_at)
        return false;
    s->fault_spent = true;
    return true;
}

/* ---- framing ---- */

static const char *line_end(const struct stream *s)
{
    static const char *const mixed[] = {"\n", "\r\n", "\r"};
    if (stream_fault(s, F_MIXED_EOL))
        return mixed[s->events % 3];
    return stream_fault(s, F_CR) ? "\r" : stream_fault(s, F_CRLF) ? "\r\n" : "\n";
}

/* JSON may be broken after the comma between members (never inside a string: hex and our ids hold no ','). */
static void add_multi_line(struct bytes *b, const char *json, size_t len, const char *eol)
{
    size_t from = 0;
    bool in_string = false;
    for (size_t i = 0; i < len; i++) {
        if (json[i] == '\\')
            i++;
        else if (json[i] == '"')
            in_string = !in_string;
        else if (json[i] == ',' && !in_string) {
            bytes_str(b, "data: ");
            bytes_add(b, json + from, i + 1 - from);
            bytes_str(b, eol);
            from = i + 1;
        }
    }
    bytes_str(b, "data: ");
    bytes_add(b, json + from, len - from);
    bytes_str(b, eol);
}

void event_frame(struct stream *s, const char *json, size_t len)
{
    struct bytes *b = &s->event;
    const char *eol = line_end(s);
    if (s->events == 0 && stream_fault(s, F_BOM))
        bytes_str(b, "\xef\xbb\xbf");
    if (stream_fault(s, F_COMMENTS))
        bytes_fmt(b, ": keep-alive %ld%s:%s%s", s->events, eol, eol, s->events % 2 ? eol : "");
    if (stream_fault(s, F_EVENT_FIELDS))
        bytes_fmt(b, "event: message%sid: %ld%sretry: 3000%sunknown: word%sdata_not: {}%s", eol, s->events,
                  eol, eol, eol, eol);
    if (stream_fault(s, F_MULTI_LINE) || stream_fault(s, F_PRETTY)) {
        add_multi_line(b, json, len, eol);
    } else {
        bytes_str(b, stream_fault(s, F_NO_SPACE) ? "data:" : "data: ");
        bytes_add(b, json, len);
        bytes_str(b, eol);
    }
    bytes_str(b, eol);
    if (stream_fault(s, F_BLANK_LINES) || (s->chat.model && s->chat.model->flavour == FLAVOUR_DV))
        bytes_str(b, eol); /* DV emits extra blank lines */
    s->events++;
}

static void frame_text(struct stream *s, const char *json)
{
    event_frame(s, json, strlen(json));
}

/* ---- the other chunks ---- */

static void role_event(struct stream *s, int choice)
{
    bytes_clear(&s->json);
    piece_head(s, &s->json);
    bytes_fmt(&s->json, "{\"index\":%d,\"delta\":{\"role\":\"assistant\"%s},\"finish_reason\":null}", choice,
              s->chat.model->flavour == FLAVOUR_NR || s->chat.model->flavour == FLAVOUR_NP
                  ? ",\"content\":\"\""
                  : "");
    piece_tail(s, &s->json);
    frame_text(s, bytes_text(&s->json));
}

static void finish_event(struct stream *s, int choice)
{
    const char *why = stream_fault(s, F_FINISH_LENGTH)   ? "length"
                      : stream_fault(s, F_FINISH_FILTER) ? "content_filter"
                      : stream_fault(s, F_FINISH_TOOLS)  ? "tool_calls"
                      : stream_fault(s, F_FINISH_ODD)    ? "because the injected words said so"
                                                         : s->plan.finish;
    bytes_clear(&s->json);
    piece_head(s, &s->json);
    bytes_fmt(&s->json, "{\"index\":%d,%s\"finish_reason\":", choice,
              stream_fault(s, F_NO_DELTA)     ? ""
              : stream_fault(s, F_DELTA_NULL) ? "\"delta\":null,"
                                              : "\"delta\":{},");
    bytes_json(&s->json, why, strlen(why));
    bytes_str(&s->json, "}");
    piece_tail(s, &s->json);
    frame_text(s, bytes_text(&s->json));
}

static void usage_event(struct stream *s)
{
    long prompt = (long)s->chat.prompt.len / 4 + 1;
    bytes_clear(&s->json);
    piece_head(s, &s->json);
    bytes_fmt(
        &s->json,
        "],\"usage\":{\"prompt_tokens\":%ld,\"completion_tokens\":%ld,\"total_tokens\":%ld,"
        "\"prompt_tokens_details\":{\"cached_tokens\":0}},\"cost\":{\"usd\":0.000012,\"diem\":0.000012}}",
        prompt, s->completion_tokens, prompt + s->completion_tokens);
    frame_text(s, bytes_text(&s->json));
}

static void error_event(struct stream *s)
{
    if (stream_fault(s, F_ERR_STRING)) {
        frame_text(s, "{\"error\":\"upstream said no\"}");
        return;
    }
    const char *code =
        stream_fault(s, F_ERR_UPSTREAM) || stream_fault(s, F_ERR_NO_DONE) || stream_fault(s, F_ERR_EVENT)
            ? "upstream_error"
        : stream_fault(s, F_ERR_BLOCKED) ? "content_blocked_by_provider"
                                         : "model_overloaded";
    struct bytes b = {0};
    bytes_fmt(
        &b, "{\"error\":{\"message\":\"the simulated provider failed\",\"type\":\"upstream\",\"code\":\"%s\"",
        code);
    if (!strcmp(code, "model_overloaded"))
        bytes_fmt(&b, ",\"retry_after\":%ld", s->plan.fault.value);
    bytes_str(&b, "}}");
    if (stream_fault(s, F_ERR_EVENT))
        bytes_str(&s->event, "event: error\n");
    frame_text(s, bytes_text(&b));
    bytes_free(&b);
}

/* ---- the order of things ---- */

static void add_done(struct stream *s)
{
    frame_text(s, "[DONE]");
    if (stream_fault(s, F_DONE_TWICE))
        frame_text(s, "[DONE]");
    if (stream_fault(s, F_AFTER_DONE)) {
        bytes_clear(&s->json);
        piece_head(s, &s->json);
        bytes_str(&s->json,
                  "{\"index\":0,\"delta\":{\"content\":\"injected after the end\"},\"finish_reason\":null}");
        piece_tail(s, &s->json);
        frame_text(s, bytes_text(&s->json));
    }
}

/* In-band errors at their place; true when one was sent, which ends the answer. */
static bool error_now(struct stream *s)
{
    static const enum fault_id ids[] = {F_ERR_OVERLOADED, F_ERR_UPSTREAM, F_ERR_BLOCKED,
                                        F_ERR_STRING,     F_ERR_NO_DONE,  F_ERR_EVENT};
    bool now = s->events == 0 && stream_fault(s, F_ERR_FIRST);
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++)
        now = now || stream_fault_now(s, ids[i]);
    if (!now)
        return false;
    error_event(s);
    if (!stream_fault(s, F_ERR_NO_DONE))
        frame_text(s, "[DONE]");
    s->phase = PHASE_OVER;
    return true;
}

/* The synthetic piece number i: a few words and padding of size bytes in all. */
static void synthetic(struct stream *s, struct bytes *out, long i)
{
    bytes_str(out, "chunk ");
    bytes_number(out, i);
    bytes_str(out, " ");
    while ((long)out->len < s->plan.size)
        bytes_add(out, "abcdefghijklmnopqrstuvwxyz012345",
                  (size_t)s->plan.size - out->len > 32 ? 32 : (size_t)s->plan.size - out->len);
}

static void send_piece(struct stream *s, int choice, const char *text, size_t len)
{
    static struct bytes work;
    bool reasoning = s->phase == PHASE_REASONING;
    const char *field = reasoning ? s->plan.reasoning_field : "content";
    bytes_clear(&work);
    if (choice > 0 && s->offset == 0)
        bytes_fmt(&work, "(choice %d) ", choice);
    bytes_add(&work, text, len);
    s->completion_tokens++;
    if (reasoning && !strcmp(field, "both")) {
        piece_event(s, choice, "reasoning_content", bytes_text(&work), work.len);
        field = "reasoning";
    }
    piece_event(s, choice, field, bytes_text(&work), work.len);
}

/* One piece of the current text for the current choice; the next phase when the text is at its end. */
static void text_event(struct stream *s)
{
    static struct bytes made;
    const struct bytes *text = s->phase == PHASE_REASONING ? &s->plan.reasoning : &s->plan.text;
    size_t take, end = text->len;
    const char *from = bytes_text(text) + s->offset;
    if (s->phase == PHASE_CONTENT && s->plan.chunks) {
        end = (size_t)s->plan.chunks; /* offset counts pieces here */
        bytes_clear(&made);
        synthetic(s, &made, (long)s->offset);
        if (s->offset < end)
            send_piece(s, s->choice, bytes_text(&made), made.len);
        take = 1;
    } else {
        take = utf8_prefix(from, text->len - s->offset, (size_t)s->plan.piece);
        if (take)
            send_piece(s, s->choice, from, take);
    }
    if (s->offset < end && ++s->choice < s->plan.n)
        return;
    s->choice = 0;
    s->offset += s->offset < end ? take : 0;
    if (s->offset >= end) {
        s->phase = s->phase == PHASE_REASONING ? PHASE_CONTENT : PHASE_FINISH;
        s->offset = 0;
    }
}

static void each_choice(struct stream *s, void (*one)(struct stream *s, int choice), bool skip,
                        enum phase next)
{
    for (int i = 0; !skip && i < s->plan.n; i++)
        one(s, i);
    s->phase = next;
}

bool event_next(struct stream *s)
{
    bytes_clear(&s->event);
    if (s->phase < PHASE_OVER && error_now(s))
        return true;
    switch (s->phase) {
    case PHASE_ROLE:
        each_choice(s, role_event, stream_fault(s, F_NO_ROLE),
                    s->plan.reasoning.len ? PHASE_REASONING : PHASE_CONTENT);
        return true;
    case PHASE_REASONING:
    case PHASE_CONTENT:
        text_event(s);
        return true;
    case PHASE_FINISH:
        each_choice(s, finish_event, stream_fault(s, F_NO_FINISH), PHASE_USAGE);
        return true;
    case PHASE_USAGE:
        if (s->plan.usage && !stream_fault(s, F_NO_USAGE))
            usage_event(s);
        s->phase = PHASE_DONE;
        return true;
    case PHASE_DONE:
        if (!stream_fault(s, F_CUT_FINISHED))
            add_done(s);
        s->phase = PHASE_OVER;
        return true;
    case PHASE_OVER:
        break;
    }
    return false;
}
