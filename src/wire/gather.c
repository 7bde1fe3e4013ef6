#include "wire/gather.h"

#include <string.h>

#include "base/limits.h"
#include "base/mem.h"

/* One choice as it grows. */
struct part {
    bool seen;
    bool sent[ANSWER_MEMBER_COUNT]; /* the member came, if only with an empty text */
    struct buf text[ANSWER_MEMBER_COUNT];
    struct buf finish; /* finish_reason in JSON */
};

struct gather {
    struct part *parts; /* by index */
    size_t part_cap;
    size_t total; /* bytes of text */
    struct buf meta[ANSWER_META_COUNT];
};

static const char *const member_names[ANSWER_MEMBER_COUNT] = {"content", "reasoning_content", "reasoning"};

struct gather *gather_new(struct err *err)
{
    struct gather *g = mem_calloc(1, sizeof *g);
    if (g == NULL) {
        err_set(err, ERR_MEMORY, "no memory to gather an answer");
        return NULL;
    }
    for (size_t i = 0; i < ANSWER_META_COUNT; i++) {
        buf_init(&g->meta[i], LIMIT_SSE_EVENT_BYTES);
    }
    return g;
}

void gather_free(struct gather *g)
{
    if (g == NULL) {
        return;
    }
    for (size_t i = 0; i < g->part_cap; i++) {
        for (size_t m = 0; m < ANSWER_MEMBER_COUNT; m++) {
            buf_free(&g->parts[i].text[m]);
        }
        buf_free(&g->parts[i].finish);
    }
    for (size_t i = 0; i < ANSWER_META_COUNT; i++) {
        buf_free(&g->meta[i]);
    }
    mem_free(g->parts);
    mem_free(g);
}

static struct part *part_at(struct gather *g, uint32_t index, struct err *err)
{
    if (index >= LIMIT_ANSWER_CHOICES) {
        err_set(err, ERR_UPSTREAM, "an answer has more than %d choices", LIMIT_ANSWER_CHOICES);
        return NULL;
    }
    if (index >= g->part_cap) {
        /* Structs only: the texts stay where they are. */
        size_t cap = index < 1 ? 1 : LIMIT_ANSWER_CHOICES;
        struct part *parts = mem_calloc(cap, sizeof *parts);
        if (parts == NULL) {
            err_set(err, ERR_MEMORY, "no memory to gather %zu choices", cap);
            return NULL;
        }
        if (g->part_cap > 0) {
            memcpy(parts, g->parts, g->part_cap * sizeof *parts);
        }
        for (size_t i = g->part_cap; i < cap; i++) {
            for (size_t m = 0; m < ANSWER_MEMBER_COUNT; m++) {
                buf_init(&parts[i].text[m], LIMIT_GATHERED_ANSWER_BYTES);
            }
            buf_init(&parts[i].finish, 64);
        }
        mem_free(g->parts);
        g->parts = parts;
        g->part_cap = cap;
    }
    g->parts[index].seen = true;
    return &g->parts[index];
}

bool gather_add_text(struct gather *g, uint32_t index, enum answer_member member, const uint8_t *text,
                     size_t len, struct err *err)
{
    struct part *part = part_at(g, index, err);
    if (part == NULL) {
        return false;
    }
    if (len > LIMIT_GATHERED_ANSWER_BYTES - g->total) {
        return err_set(err, ERR_UPSTREAM, "the answer is larger than %d bytes", LIMIT_GATHERED_ANSWER_BYTES);
    }
    part->sent[member] = true;
    g->total += len;
    return buf_append(&part->text[member], text, len) ||
           err_set(err, ERR_MEMORY, "no memory for an answer of %zu bytes", g->total);
}

size_t gather_bytes(const struct gather *g)
{
    return g->total;
}

static bool set_raw(struct buf *b, const struct answer_event *event, struct answer_span span, struct err *err)
{
    buf_reset(b);
    return buf_append(b, event->text.data + span.start, span.end - span.start) ||
           err_set(err, ERR_MEMORY, "no memory to gather an answer");
}

static bool add_choice(struct gather *g, const struct answer_event *event, const struct answer_choice *choice,
                       struct err *err)
{
    if (choice->tail_len > 0 &&
        !gather_add_text(g, choice->index, ANSWER_CONTENT, choice->tail, choice->tail_len, err)) {
        return false;
    }
    if (choice->dropped) {
        return true;
    }
    struct part *part = part_at(g, choice->index, err);
    if (part == NULL) {
        return false;
    }
    if (choice->new_finish != NULL) {
        buf_reset(&part->finish);
        return json_append_string(&part->finish, choice->new_finish, strlen(choice->new_finish)) ||
               err_set(err, ERR_MEMORY, "no memory to gather an answer");
    }
    return !choice->finished || set_raw(&part->finish, event, choice->finish, err);
}

bool gather_add(struct gather *g, const struct answer_event *event, struct err *err)
{
    if (event->kind != ANSWER_CHUNK && event->kind != ANSWER_USAGE) {
        return true;
    }
    for (size_t i = 0; i < ANSWER_META_COUNT; i++) {
        if (event->meta[i].start < event->meta[i].end && !set_raw(&g->meta[i], event, event->meta[i], err)) {
            return false;
        }
    }
    for (size_t i = 0; i < event->choice_count; i++) {
        if (!add_choice(g, event, &event->choices[i], err)) {
            return false;
        }
    }
    for (size_t i = 0; i < event->field_count; i++) {
        const struct answer_field *field = &event->fields[i];
        const struct answer_choice *choice = &event->choices[field->choice];
        if (choice->dropped) {
            continue;
        }
        if (field->text == NULL) {
            return err_set(err, ERR_INTERNAL, "a sealed field is to be gathered before it was opened");
        }
        if (!gather_add_text(g, choice->index, field->member, field->text, field->text_len, err)) {
            return false;
        }
    }
    return true;
}

static void append_meta(const struct gather *g, struct buf *out, const char *name, enum answer_meta which)
{
    if (g->meta[which].len > 0) {
        buf_appendf(out, "\"%s\":", name);
        buf_append(out, g->meta[which].data, g->meta[which].len);
        buf_append_byte(out, ',');
    }
}

static void append_part(const struct part *part, struct buf *out, size_t index)
{
    buf_appendf(out, "{\"index\":%zu,\"message\":{\"role\":\"assistant\"", index);
    for (size_t m = 0; m < ANSWER_MEMBER_COUNT; m++) {
        if (!part->sent[m] && m != ANSWER_CONTENT) {
            continue;
        }
        buf_appendf(out, ",\"%s\":", member_names[m]);
        if (part->text[m].len > 0) {
            json_append_string(out, (const char *)part->text[m].data, part->text[m].len);
        } else {
            buf_append_str(out, part->sent[m] ? "\"\"" : "null");
        }
    }
    buf_append_str(out, ",\"refusal\":null},\"logprobs\":null,\"finish_reason\":");
    if (part->finish.len > 0) {
        buf_append(out, part->finish.data, part->finish.len);
    } else {
        buf_append_str(out, "null");
    }
    buf_append_byte(out, '}');
}

bool gather_finish(const struct gather *g, struct buf *out, struct err *err)
{
    bool any = false;
    for (size_t i = 0; i < g->part_cap; i++) {
        any |= g->parts[i].seen;
    }
    if (!any) {
        return err_set(err, ERR_UPSTREAM, "the upstream's answer ended without a choice");
    }
    buf_append_byte(out, '{');
    append_meta(g, out, "id", ANSWER_ID);
    buf_append_str(out, "\"object\":\"chat.completion\",");
    append_meta(g, out, "created", ANSWER_CREATED);
    append_meta(g, out, "model", ANSWER_MODEL);
    append_meta(g, out, "service_tier", ANSWER_SERVICE_TIER);
    append_meta(g, out, "system_fingerprint", ANSWER_FINGERPRINT);
    append_meta(g, out, "usage", ANSWER_USAGE_OBJECT);
    append_meta(g, out, "cost", ANSWER_COST);
    buf_append_str(out, "\"choices\":[");
    bool first = true;
    for (size_t i = 0; i < g->part_cap; i++) {
        if (g->parts[i].seen) {
            buf_append_str(out, first ? "" : ",");
            append_part(&g->parts[i], out, i);
            first = false;
        }
    }
    buf_append_str(out, "]}");
    return !out->failed || err_set(err, ERR_MEMORY,
                                   "the gathered answer does not fit %zu bytes, or memory ran out", out->max);
}
