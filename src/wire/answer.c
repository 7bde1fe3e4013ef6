#include "wire/answer.h"

#include <string.h>

#include "base/limits.h"
#include "base/mem.h"
#include "wire/answer_internal.h"

#define KEEP_BYTES 65536 /* an event that grew past this gives its memory back */
#define KEEP_ELEMENTS 256
#define FIRST_ELEMENTS 4

void answer_parser_init(struct answer_parser *p)
{
    json_doc_init(&p->doc);
    memset(p->point, 0, sizeof p->point);
}

void answer_parser_free(struct answer_parser *p)
{
    json_doc_free(&p->doc);
}

struct answer_event *answer_event_new(struct err *err)
{
    struct answer_event *event = mem_calloc(1, sizeof *event);
    if (event == NULL) {
        err_set(err, ERR_MEMORY, "no memory for an event");
        return NULL;
    }
    buf_init(&event->text, LIMIT_SSE_EVENT_BYTES);
    return event;
}

static void drop_array(void **array, size_t *count, size_t *cap, size_t keep)
{
    *count = 0;
    if (*cap > keep) {
        mem_free(*array);
        *array = NULL;
        *cap = 0;
    }
}

static void reset(struct answer_event *event, size_t keep)
{
    drop_array((void **)&event->fields, &event->field_count, &event->field_cap, keep);
    drop_array((void **)&event->choices, &event->choice_count, &event->choice_cap, keep);
    drop_array((void **)&event->edits, &event->edit_count, &event->edit_cap, keep);
}

void answer_event_reset(struct answer_event *event)
{
    if (event->text.cap > KEEP_BYTES) {
        buf_free(&event->text);
    } else {
        buf_reset(&event->text);
    }
    reset(event, KEEP_ELEMENTS);
    event->kind = ANSWER_NOTHING;
    event->multiline = false;
    memset(event->meta, 0, sizeof event->meta);
    event->error.message[0] = '\0';
}

void answer_event_free(struct answer_event *event)
{
    if (event != NULL) {
        buf_free(&event->text);
        reset(event, 0);
        mem_free(event);
    }
}

bool answer_grow(void **array, size_t count, size_t *cap, size_t size, struct err *err)
{
    if (count < *cap) {
        return true;
    }
    size_t more = *cap > 0 ? 2 * *cap : FIRST_ELEMENTS;
    void *grown = mem_calloc(more, size);
    if (grown == NULL) {
        return err_set(err, ERR_MEMORY, "no memory for an event of %zu parts", more);
    }
    if (count > 0) {
        memcpy(grown, *array, count * size);
    }
    mem_free(*array);
    *array = grown;
    *cap = more;
    return true;
}

bool answer_open(struct answer_event *event, size_t i, struct aead *aead, struct err *err)
{
    struct answer_field *field = &event->fields[i];
    field->text = NULL;
    field->text_len = 0;
    if (!aead_open(aead, field->sealed, field->nonce, field->sealed, field->sealed_len, err)) {
        return false;
    }
    size_t len = field->sealed_len - AEAD_TAG_BYTES;
    if (!json_utf8_valid((const char *)field->sealed, len)) {
        return err_set(err, ERR_DECRYPT, "a sealed field of the answer does not hold UTF-8");
    }
    field->text = field->sealed;
    field->text_len = len;
    return true;
}

/* Bytes that pass. Line ends stand between tokens only, and would end the data line. */
static void append_kept(const struct answer_event *event, struct buf *out, size_t from, size_t to)
{
    size_t start = out->len;
    if (!buf_append(out, event->text.data + from, to - from) || !event->multiline) {
        return;
    }
    for (size_t i = start; i < out->len; i++) {
        if (out->data[i] == '\n' || out->data[i] == '\r') {
            out->data[i] = ' ';
        }
    }
}

static void apply_edit(const struct answer_event *event, struct buf *out, const struct answer_edit *edit)
{
    const char *finish;
    switch (edit->kind) {
    case ANSWER_EDIT_FIELD:
        json_append_string(out, (const char *)event->fields[edit->which].text,
                           event->fields[edit->which].text_len);
        break;
    case ANSWER_EDIT_FINISH:
        finish = event->choices[edit->which].new_finish;
        if (finish != NULL) {
            json_append_string(out, finish, strlen(finish));
        } else {
            append_kept(event, out, edit->span.start, edit->span.end);
        }
        break;
    case ANSWER_EDIT_FINISH_INSERT:
        finish = event->choices[edit->which].new_finish;
        if (finish != NULL) {
            buf_append_str(out, "\"finish_reason\":");
            json_append_string(out, finish, strlen(finish));
            buf_append_str(out, event->choices[edit->which].bare ? "" : ",");
        }
        break;
    case ANSWER_EDIT_CHOICES_INSERT:
        buf_append_str(out, "\"choices\":[],");
        break;
    default: /* ANSWER_EDIT_CUT */
        break;
    }
}

/* The text from..to as edited; *next is the first edit at or after from, and moves on. */
static void append_edited(const struct answer_event *event, struct buf *out, size_t from, size_t to,
                          size_t *next)
{
    for (; *next < event->edit_count && event->edits[*next].span.start < to; ++*next) {
        const struct answer_edit *edit = &event->edits[*next];
        append_kept(event, out, from, edit->span.start);
        apply_edit(event, out, edit);
        from = edit->span.end;
    }
    append_kept(event, out, from, to);
}

static void append_choices(const struct answer_event *event, struct buf *out, size_t *next)
{
    bool first = true;
    for (size_t i = 0; i < event->choice_count; i++) {
        const struct answer_choice *choice = &event->choices[i];
        if (!choice->dropped) {
            buf_append_str(out, first ? "" : ",");
            first = false;
            append_edited(event, out, choice->span.start, choice->span.end, next);
        }
        while (*next < event->edit_count && event->edits[*next].span.start < choice->span.end) {
            ++*next;
        }
    }
}

static bool append_chunk_end(struct buf *out, uint32_t index, const uint8_t *text, size_t len)
{
    return buf_appendf(out, ",\"choices\":[{\"index\":%u,\"delta\":{\"content\":", (unsigned)index) &&
           json_append_string(out, (const char *)text, len) &&
           buf_append_str(out, "},\"finish_reason\":null}]}\n\n");
}

bool answer_render_chunk(struct buf *out, const char *head, size_t head_len, uint32_t index,
                         const uint8_t *text, size_t len)
{
    return buf_append_str(out, "data: ") && buf_append(out, head, head_len) &&
           append_chunk_end(out, index, text, len);
}

static bool append_meta(const struct answer_event *event, struct buf *out, const char *name,
                        enum answer_meta which)
{
    struct answer_span span = event->meta[which];
    if (span.start < span.end) {
        buf_appendf(out, "\"%s\":", name);
        append_kept(event, out, span.start, span.end);
        buf_append_byte(out, ',');
    }
    return !out->failed;
}

bool answer_head(const struct answer_event *event, struct buf *out)
{
    return buf_append_byte(out, '{') && append_meta(event, out, "id", ANSWER_ID) &&
           append_meta(event, out, "created", ANSWER_CREATED) &&
           append_meta(event, out, "model", ANSWER_MODEL) &&
           buf_append_str(out, "\"object\":\"chat.completion.chunk\"");
}

bool answer_render_done(struct buf *out)
{
    return buf_append_str(out, "data: [DONE]\n\n");
}

static bool renderable(const struct answer_event *event, struct err *err)
{
    if (event->kind != ANSWER_CHUNK && event->kind != ANSWER_USAGE) {
        return err_set(err, ERR_INTERNAL, "an event of kind %d has no form for the client", (int)event->kind);
    }
    for (size_t i = 0; i < event->field_count; i++) {
        if (event->fields[i].text == NULL && !event->choices[event->fields[i].choice].dropped) {
            return err_set(err, ERR_INTERNAL, "a sealed field is to be rendered before it was opened");
        }
    }
    return true;
}

static bool fits(const struct buf *out, struct err *err)
{
    return !out->failed ||
           err_set(err, ERR_MEMORY, "an event of the answer does not fit %zu bytes, or memory ran out",
                   out->max);
}

bool answer_render(const struct answer_event *event, struct buf *out, struct err *err)
{
    size_t dropped = 0, next = 0;
    if (!renderable(event, err)) {
        return false;
    }
    for (size_t i = 0; i < event->choice_count; i++) {
        const struct answer_choice *choice = &event->choices[i];
        dropped += choice->dropped;
        if (choice->tail_len > 0) {
            buf_append_str(out, "data: ");
            answer_head(event, out);
            append_chunk_end(out, choice->index, choice->tail, choice->tail_len);
        }
    }
    if (event->kind == ANSWER_CHUNK && dropped == event->choice_count) {
        return fits(out, err);
    }
    buf_append_str(out, "data: ");
    if (dropped == 0) {
        append_edited(event, out, 0, event->text.len, &next);
    } else {
        append_edited(event, out, 0, event->choices[0].span.start, &next);
        append_choices(event, out, &next);
        append_edited(event, out, event->choices[event->choice_count - 1].span.end, event->text.len, &next);
    }
    buf_append_str(out, "\n\n");
    return fits(out, err);
}
