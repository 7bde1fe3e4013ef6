#include <string.h>

#include "record.h"
#include "stream.h"

/* ---- what the previous response to a client key looked like, for the fault "replay" ---- */

static struct {
    uint8_t client[SIM_POINT];
    struct bytes field;
} previous;

/* ---- the field ---- */

static void set_field(struct stream *s, const char *text)
{
    bytes_clear(&s->field);
    bytes_str(&s->field, text);
}

/* Puts a point in front; the rest of the field stays. */
static void set_point(struct stream *s, const uint8_t point[SIM_POINT])
{
    char hex[2 * SIM_POINT + 1];
    hex_encode(point, SIM_POINT, hex);
    memcpy(s->field.p, hex, 2 * SIM_POINT);
}

static void seal_to_other(struct stream *s, const char *text, size_t len)
{
    struct sim_key other;
    struct sealer sealer;
    sim_key_new(&other);
    sealer_init(&sealer, SEAL_PER_FIELD, other.pub, false);
    bytes_clear(&s->field);
    sealer_add(&sealer, &s->field, text, len);
}

static void reseal(struct stream *s, const char *text, size_t len)
{
    bytes_clear(&s->field);
    sealer_add(&s->sealer, &s->field, text, len);
}

static void flip_digit(struct bytes *field, size_t at)
{
    field->p[at] = field->p[at] == '0' ? '1' : '0';
}

/* Damage to the digits of s->field, which holds the right field. */
static void damage_digits(struct stream *s)
{
    uint8_t point[SIM_POINT] = {4};
    switch (s->plan.fault.fault->id) {
    case F_BAD_TAG:
        flip_digit(&s->field, s->field.len - 1);
        break;
    case F_BAD_POINT: /* same X, Y off by one bit */
        hex_decode((char *)s->field.p, 2 * SIM_POINT, point, SIM_POINT);
        point[SIM_POINT - 1] ^= 1;
        set_point(s, point);
        break;
    case F_PREFIX:
        s->field.p[1] = '6';
        break;
    case F_ZERO_X:
        set_point(s, point);
        break;
    case F_SHORT_FIELD:
        s->field.len = SIM_FIELD_MIN_HEX - 2;
        break;
    case F_ODD_HEX:
        s->field.len--;
        break;
    case F_NON_HEX:
        s->field.p[150] = 'g';
        break;
    case F_UPPER_HEX:
        for (size_t i = 0; i < s->field.len; i++)
            if (s->field.p[i] >= 'a')
                s->field.p[i] = (uint8_t)(s->field.p[i] - 32);
        break;
    case F_REFLECT_CLIENT:
        set_point(s, s->chat.client);
        break;
    case F_REFLECT_MODEL:
        set_point(s, s->chat.model->key->pub);
        break;
    default:
        break;
    }
}

/* Another field, or none, in its place. */
static void replace_field(struct stream *s, const char *text, size_t len)
{
    uint8_t negated[SIM_POINT];
    switch (s->plan.fault.fault->id) {
    case F_PLAIN_CONTENT:
    case F_PLAIN_REASONING:
    case F_PLAIN_REASONING_FIELD:
        set_field(s, "injected: ");
        bytes_add(&s->field, text, len);
        break;
    case F_PLAIN_WHITESPACE:
        set_field(s, " ");
        break;
    case F_EMPTY_AT_186:
        reseal(s, "", 0);
        break;
    case F_OX_HEX:
        set_field(s, "0x");
        sealer_add(&s->sealer, &s->field, text, len);
        break;
    case F_REPEAT:
        if (s->last_field.len)
            set_field(s, bytes_text(&s->last_field));
        break;
    case F_REPLAY:
        if (previous.field.len && !memcmp(previous.client, s->chat.client, SIM_POINT))
            set_field(s, bytes_text(&previous.field));
        break;
    case F_REFLECT_REQUEST:
        set_field(s, s->chat.sealed_sample ? s->chat.sealed_sample : "");
        break;
    case F_REFLECT_NEGATED:
        set_field(s, s->chat.sealed_sample ? s->chat.sealed_sample : "");
        sim_point_negate(s->chat.client, negated);
        if (s->field.len)
            set_point(s, negated);
        break;
    case F_WRONG_KEY:
        seal_to_other(s, text, len);
        break;
    case F_SEALED_BAD_UTF8:
        reseal(s, "broken \xff\xc0\xaf \xed\xa0\x80", 14);
        break;
    case F_SEALED_NUL:
        reseal(s, "a\0b\x01\x1f\x7f\"\\", 8);
        break;
    case F_KEY_CHANGE:
        sealer_new_key(&s->sealer);
        reseal(s, text, len);
        break;
    default:
        damage_digits(s);
    }
}

/* ---- the event around it ---- */

/* The same bytes in every chunk of an answer, made once. */
void piece_head(struct stream *s, struct bytes *b)
{
    bool changes = stream_fault(s, F_ID_CHANGES);
    if (!s->head.len || changes) {
        bytes_clear(&s->head);
        if (changes)
            bytes_fmt(&s->head, "{\"id\":\"chatcmpl-other-%ld", s->events);
        else
            bytes_fmt(&s->head, "{\"id\":\"%s", s->id);
        bytes_fmt(&s->head, "\",\"object\":\"chat.completion.chunk\",\"created\":%lld,\"model\":",
                  (long long)now_unix());
        bytes_json(&s->head, s->chat.model_id, strlen(s->chat.model_id));
        bytes_str(&s->head, ",\"choices\":[");
    }
    bytes_add(b, s->head.p, s->head.len);
}

void piece_tail(struct stream *s, struct bytes *b)
{
    bytes_str(b, "]");
    if (stream_fault(s, F_USAGE_EARLY))
        bytes_fmt(b, ",\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":%ld,\"total_tokens\":%ld}",
                  s->completion_tokens, s->completion_tokens + 1);
    bytes_str(b, "}");
}

/* A whole event whose one choice has this delta and these further members. */
static void simple_event(struct stream *s, int choice, const char *delta, const char *more)
{
    bytes_clear(&s->json);
    piece_head(s, &s->json);
    bytes_fmt(&s->json, "{\"index\":%d,\"delta\":%s,\"finish_reason\":null%s}", choice, delta, more);
    piece_tail(s, &s->json);
    event_frame(s, bytes_text(&s->json), s->json.len);
}

/* Events that come instead of the piece: a delta, and further members of the choice. */
static const struct {
    enum fault_id id;
    const char *delta, *more;
} odd_deltas[] = {
    {F_TOOL_CALLS,
     "{\"tool_calls\":[{\"index\":0,\"id\":\"call_1\",\"type\":\"function\",\"function\":{\"name\":\"run\","
     "\"arguments\":\"{\\\"cmd\\\":\\\"injected\\\"}\"}}]}",
     ""},
    {F_FUNCTION_CALL, "{\"function_call\":{\"name\":\"run\",\"arguments\":\"{\\\"injected\\\":1}\"}}", ""},
    {F_REFUSAL, "{\"refusal\":\"injected refusal\"}", ""},
    {F_AUDIO, "{\"audio\":{\"id\":\"a\",\"data\":\"aW5qZWN0ZWQ=\",\"transcript\":\"injected\"}}", ""},
    {F_MESSAGE, "{}", ",\"message\":{\"role\":\"assistant\",\"content\":\"injected message\"}"},
    {F_CHOICE_TEXT, "{}", ",\"text\":\"injected text\""},
    {F_LOGPROBS, "{}", ",\"logprobs\":{\"content\":[{\"token\":\"injected\",\"logprob\":-0.1}]}"},
    {F_DELTA_STRING, "\"injected delta\"", ""},
    {F_CONTENT_NUMBER, "{\"content\":5}", ""},
    {F_CONTENT_ARRAY, "{\"content\":[{\"type\":\"text\",\"text\":\"injected part\"}]}", ""},
    {F_INVALID_UTF8, "{\"role\":\"\xff\xfe\"}", ""},
};

/* True: nothing else is sent for this piece. */
static bool odd_event(struct stream *s, int choice)
{
    enum fault_id id = s->plan.fault.fault->id;
    struct bytes b = {0};
    for (size_t i = 0; i < sizeof odd_deltas / sizeof *odd_deltas; i++)
        if (odd_deltas[i].id == id) {
            simple_event(s, choice, odd_deltas[i].delta, odd_deltas[i].more);
            return true;
        }
    if (id == F_INVALID_JSON)
        bytes_str(&b, "{\"id\":\"x\",\"choices\":[{");
    else if (id == F_NOT_OBJECT)
        bytes_str(&b, "[1,2,3]");
    else if (id == F_DEEP)
        for (long i = 0; i < 2 * s->plan.fault.value; i++)
            bytes_str(&b, i < s->plan.fault.value ? "[" : "]");
    if (!b.len)
        return false;
    event_frame(s, bytes_text(&b), b.len);
    bytes_free(&b);
    return true;
}

/* Harmless events that come before the piece. */
static void extra_event(struct stream *s, int choice)
{
    switch (s->plan.fault.fault->id) {
    case F_CONTENT_NULL:
        simple_event(s, choice, "{\"content\":null,\"reasoning_content\":null}", "");
        break;
    case F_CONTENT_EMPTY:
        simple_event(s, choice, "{\"content\":\"\",\"reasoning_content\":\"\"}", "");
        break;
    case F_CONTENT_DELETED:
        simple_event(s, choice, "{}", "");
        break;
    case F_REASONING_186:
        bytes_clear(&s->field);
        bytes_str(&s->field, "{\"reasoning_content\":\"");
        sealer_add(&s->sealer, &s->field, "", 0);
        bytes_str(&s->field, "\"}");
        simple_event(s, choice, bytes_text(&s->field), "");
        break;
    case F_EMPTY_EXTRAS:
        simple_event(
            s, choice,
            "{\"content\":\"\",\"tool_calls\":[],\"refusal\":null,\"function_call\":null,\"audio\":null}",
            ",\"logprobs\":null,\"stop_reason\":null");
        break;
    case F_CHOICES_NULL:
        bytes_clear(&s->json);
        bytes_fmt(&s->json, "{\"id\":\"%s\",\"object\":\"chat.completion.chunk\",\"choices\":null}", s->id);
        event_frame(s, bytes_text(&s->json), s->json.len);
        break;
    default:
        break;
    }
}

static void add_value(struct stream *s, struct bytes *b, bool escaped)
{
    if (!escaped && s->sealer.mode != SEAL_PLAIN && !s->plan.fault.fault) {
        bytes_add(b, "\"", 1); /* hex needs no look at every byte */
        bytes_add(b, s->field.p, s->field.len);
        bytes_add(b, "\"", 1);
        return;
    }
    if (!escaped) {
        bytes_json(b, bytes_text(&s->field), s->field.len);
        return;
    }
    bytes_str(b, "\"");
    for (size_t i = 0; i < s->field.len; i++)
        bytes_fmt(b, i % 3 ? "%c" : "\\u%04x", s->field.p[i]);
    bytes_str(b, "\"");
}

/* {"index":…,"delta":{FIELD:VALUE…},"finish_reason":null} with what the fault adds; now: the fault's place. */
static void add_choice(struct stream *s, int choice, const char *field, bool now)
{
    struct bytes *b = &s->json;
    bytes_str(b, "{");
    if (!(now && stream_fault(s, F_NO_INDEX))) {
        bytes_str(b, "\"index\":");
        bytes_number(b, now && stream_fault(s, F_WRONG_INDEX) ? s->plan.fault.value : (long)choice);
        bytes_str(b, ",");
    }
    bytes_str(b, "\"delta\":{\"");
    bytes_str(b, field);
    bytes_str(b, "\":");
    add_value(s, b, now && stream_fault(s, F_ESCAPED_FIELD));
    if (now && stream_fault(s, F_EXTRA_DELTA))
        bytes_str(b, ",\"thoughts\":\"injected words\"");
    if (now && stream_fault(s, F_DUP_KEY))
        bytes_fmt(b, ",\"%s\":\"injected duplicate\"", field);
    if (now && stream_fault(s, F_DUP_KEY_ESCAPED))
        bytes_str(b, ",\"con\\u0074ent\":\"injected duplicate\"");
    if (now && stream_fault(s, F_CASE_KEY))
        bytes_str(b, ",\"Content\":\"injected case\"");
    bytes_str(b, "},\"finish_reason\":null}");
}

/* Not a fault of the field's own bytes and not of its place: which texts a reasoning fault means. */
static bool fits_field(const struct stream *s, const char *field)
{
    if (stream_fault(s, F_PLAIN_REASONING) || stream_fault(s, F_PLAIN_REASONING_FIELD))
        return strncmp(field, "reasoning", 9) == 0;
    return !strcmp(field, "content");
}

static void top_faults(struct stream *s, int choice, const char *field)
{
    if (stream_fault(s, F_EXTRA_CHOICE)) {
        bytes_str(&s->json, ",");
        add_choice(s, s->plan.n, field, false);
    }
    piece_tail(s, &s->json);
    if (stream_fault(s, F_DUP_CHOICES)) {
        s->json.len--;
        bytes_fmt(&s->json, ",\"choices\":[{\"index\":%d,\"delta\":{\"content\":\"injected duplicate\"}}]}",
                  choice);
    }
    if (stream_fault(s, F_TOP_STRING)) {
        s->json.len--;
        bytes_str(&s->json, ",\"output_text\":\"injected top\"}");
    }
    if (stream_fault(s, F_TRAILING_JSON))
        bytes_str(&s->json, "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"injected second\"}}]}");
}

void piece_event(struct stream *s, int choice, const char *field, const char *text, size_t len)
{
    bool now = s->plan.fault.fault && !s->fault_spent && s->piece >= s->fault_at && fits_field(s, field);
    const char *key = field;
    s->piece += fits_field(s, field);
    if (now) {
        s->fault_spent = true;
        extra_event(s, choice);
        if (odd_event(s, choice))
            return;
        if (stream_fault(s, F_PLAIN_REASONING_FIELD))
            key = "reasoning";
    }
    bytes_clear(&s->field);
    sealer_add(&s->sealer, &s->field, text, len);
    if (now && s->sealer.mode != SEAL_PLAIN && s->sealer.mode != SEAL_SAME_SIZE)
        replace_field(s, text, len);
    bytes_clear(&s->json);
    piece_head(s, &s->json);
    add_choice(s, choice, key, now);
    if (now)
        top_faults(s, choice, key);
    else
        piece_tail(s, &s->json);
    event_frame(s, bytes_text(&s->json), s->json.len);
    if (s->hash) {
        bytes_clear(&s->last_field);
        bytes_add(&s->last_field, s->field.p, s->field.len);
        if (s->fault_spent || !s->plan.fault.fault) {
            memcpy(previous.client, s->chat.client, SIM_POINT);
            bytes_clear(&previous.field);
            bytes_add(&previous.field, s->field.p, s->field.len);
        }
    }
}
