#include "wire/stop_filter.h"

#include <string.h>

#include "base/limits.h"
#include "base/mem.h"
#include "wire/answer_internal.h"

#define HEAD_MAX 1024

struct stop_filter_choice {
    uint32_t index;
    bool finished; /* the upstream gave its finish_reason: nothing is held any more */
    struct stop_state state;
};

void stop_filter_init(struct stop_filter *f, const struct stop_set *set)
{
    memset(f, 0, sizeof *f);
    f->set = set;
    buf_init(&f->texts, 2 * LIMIT_SSE_EVENT_BYTES);
    buf_init(&f->head, HEAD_MAX);
}

void stop_filter_free(struct stop_filter *f)
{
    mem_free_wipe(f->choices);
    f->choices = NULL;
    f->choice_count = f->choice_cap = 0;
    buf_free(&f->texts);
    buf_free(&f->head);
}

static struct stop_filter_choice *choice_at(struct stop_filter *f, uint32_t index, struct err *err)
{
    for (size_t i = 0; i < f->choice_count; i++) {
        if (f->choices[i].index == index) {
            return &f->choices[i];
        }
    }
    if (!answer_grow((void **)&f->choices, f->choice_count, &f->choice_cap, sizeof *f->choices, err)) {
        return NULL;
    }
    struct stop_filter_choice *choice = &f->choices[f->choice_count++];
    memset(choice, 0, sizeof *choice);
    choice->index = index;
    return choice;
}

static bool full(const struct stop_filter *f, struct err *err)
{
    return err_set(err, ERR_MEMORY, "no memory for the content of an event");
}

/* One choice's content fields. Their new texts are offsets into f->texts until all are there, since it moves. */
static bool filter_choice(struct stop_filter *f, struct answer_event *event, uint32_t position,
                          struct err *err)
{
    struct answer_choice *choice = &event->choices[position];
    struct stop_filter_choice *mine = choice_at(f, choice->index, err);
    struct answer_field *last = NULL;
    if (mine == NULL) {
        return false;
    }
    if (mine->state.stopped || mine->finished) {
        choice->dropped = true;
        return true;
    }
    for (size_t i = 0; i < event->field_count; i++) {
        struct answer_field *field = &event->fields[i];
        if (field->choice != position || field->member != ANSWER_CONTENT) {
            continue;
        }
        size_t before = f->texts.len;
        if (!stop_feed(f->set, &mine->state, field->text, field->text_len, &f->texts)) {
            return full(f, err);
        }
        field->text_len = f->texts.len - before;
        last = field;
    }
    if (mine->state.stopped) {
        choice->new_finish = "stop";
        f->stopped++;
        return true;
    }
    if (!choice->finished) {
        return true;
    }
    mine->finished = true;
    size_t before = f->texts.len;
    if (!stop_flush(f->set, &mine->state, &f->texts)) {
        return full(f, err);
    }
    if (last != NULL) {
        last->text_len += f->texts.len - before;
    } else {
        choice->tail_len = f->texts.len - before;
    }
    return true;
}

/* Points the event at the texts, in the order in which filter_choice made them. */
static void attach(struct stop_filter *f, struct answer_event *event)
{
    const uint8_t *at = f->texts.data != NULL ? f->texts.data : (const uint8_t *)"";
    for (uint32_t c = 0; c < event->choice_count; c++) {
        struct answer_choice *choice = &event->choices[c];
        if (choice->dropped) {
            continue;
        }
        for (size_t i = 0; i < event->field_count; i++) {
            struct answer_field *field = &event->fields[i];
            if (field->choice == c && field->member == ANSWER_CONTENT) {
                field->text = at;
                at += field->text_len;
            }
        }
        if (choice->tail_len > 0) {
            choice->tail = at;
            at += choice->tail_len;
        }
    }
}

bool stop_filter_apply(struct stop_filter *f, struct answer_event *event, struct err *err)
{
    buf_reset(&f->texts);
    if (event->kind != ANSWER_CHUNK) {
        return true;
    }
    if (f->head.len == 0 && !answer_head(event, &f->head)) {
        return err_set(err, ERR_MEMORY, "no memory for the head of an event");
    }
    for (uint32_t c = 0; c < event->choice_count; c++) {
        if (!filter_choice(f, event, c, err)) {
            return false;
        }
    }
    attach(f, event);
    return true;
}

bool stop_filter_done(struct stop_filter *f, struct gather *gather, struct buf *out, struct err *err)
{
    for (size_t i = 0; i < f->choice_count; i++) {
        struct stop_filter_choice *mine = &f->choices[i];
        buf_reset(&f->texts);
        if (!stop_flush(f->set, &mine->state, &f->texts)) {
            return full(f, err);
        }
        if (f->texts.len == 0) {
            continue;
        }
        if (gather != NULL) {
            if (!gather_add_text(gather, mine->index, ANSWER_CONTENT, f->texts.data, f->texts.len, err)) {
                return false;
            }
        } else {
            answer_render_chunk(out, (const char *)f->head.data, f->head.len, mine->index, f->texts.data,
                                f->texts.len);
        }
    }
    return gather != NULL || !out->failed || full(f, err);
}
