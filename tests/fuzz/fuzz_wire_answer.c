/* Events of an answer. Whatever is accepted must render to an event that is itself accepted, whose sealed members hold
 * only what was put there, and in which nothing is left of what the rules leave out. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "wire/answer.h"
#include "wire/gather.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(condition)                                                                                     \
    if (!(condition)) {                                                                                      \
        abort();                                                                                             \
    }

static const char *const texts[] = {"", "x", "\"\\\n", "\xc3\xa4"};

/* Rendered with fields of no text: only then can the result be judged by the same rules. */
static void check_second_reading(struct answer_parser *p, const struct answer_event *event,
                                 const struct buf *first)
{
    struct err err = {0};
    struct buf again;
    struct answer_event *copy = answer_event_new(NULL);
    CHECK(copy != NULL && first->len > 8);
    CHECK(memchr(first->data, '\n', first->len) == first->data + first->len - 2);
    CHECK(answer_parse(p, copy, (const char *)first->data + 6, first->len - 8, &err));
    CHECK(copy->kind == event->kind && copy->field_count == 0 && copy->choice_count == event->choice_count);
    buf_init(&again, 64 << 20);
    CHECK(answer_render(copy, &again, &err));
    CHECK(again.len == first->len && memcmp(again.data, first->data, again.len) == 0);
    buf_free(&again);
    answer_event_free(copy);
}

static void render(const struct answer_event *event, struct buf *out, struct answer_parser *p)
{
    struct err err = {0};
    buf_reset(out);
    CHECK(answer_render(event, out, &err));
    if (out->len > 0) {
        struct json_doc doc;
        json_doc_init(&doc);
        const uint8_t *data = out->data, *end = out->data + out->len;
        while (data < end) {
            const uint8_t *line = memchr(data, '\n', (size_t)(end - data));
            CHECK(line != NULL && line + 1 < end && line[1] == '\n' && memcmp(data, "data: ", 6) == 0);
            CHECK(json_parse(&doc, (const char *)data + 6, (size_t)(line - data) - 6, 65536, &err));
            data = line + 2;
        }
        json_doc_free(&doc);
    }
}

static void change(struct answer_event *event, uint8_t seed)
{
    for (size_t i = 0; i < event->choice_count; i++) {
        event->choices[i].dropped = seed >> (i % 4) & 1;
        event->choices[i].new_finish = seed & 16 ? "stop" : NULL;
        event->choices[i].tail = (const uint8_t *)"tail";
        event->choices[i].tail_len = seed & 32 ? 4 : 0;
    }
    for (size_t i = 0; i < event->field_count; i++) {
        const char *text = texts[(seed + i) % 4];
        event->fields[i].text = (const uint8_t *)text;
        event->fields[i].text_len = strlen(text);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct answer_parser p;
    struct err err = {0};
    struct answer_event *event = answer_event_new(NULL);
    CHECK(event != NULL);
    answer_parser_init(&p);
    if (!answer_parse(&p, event, (const char *)data, size, &err)) {
        CHECK(err.kind == ERR_PLAINTEXT || err.kind == ERR_DECRYPT || err.kind == ERR_UPSTREAM);
        CHECK(event->kind == ANSWER_NOTHING && event->text.len == 0 && event->field_count == 0);
    } else if (event->kind == ANSWER_ERROR) {
        CHECK(json_utf8_valid(event->error.message, strlen(event->error.message)));
        CHECK(strncmp(event->error.message, "upstream: ", 10) == 0);
    } else if (event->kind == ANSWER_CHUNK || event->kind == ANSWER_USAGE) {
        struct buf out;
        struct gather *g = gather_new(NULL);
        CHECK(g != NULL);
        buf_init(&out, 64 << 20);
        for (size_t i = 0; i < event->field_count; i++) {
            event->fields[i].text = (const uint8_t *)"";
        }
        render(event, &out, &p);
        check_second_reading(&p, event, &out);
        change(event, size > 0 ? data[size / 2] : 0);
        render(event, &out, &p);
        CHECK(gather_add(g, event, &err));
        buf_reset(&out);
        if (gather_finish(g, &out, &err)) {
            CHECK(json_parse(&p.doc, (const char *)out.data, out.len, 65536, &err));
        }
        buf_free(&out);
        gather_free(g);
    }
    answer_event_free(event);
    answer_parser_free(&p);
    return 0;
}
