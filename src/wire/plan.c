#include "wire/plan.h"

#include <string.h>

#include "base/limits.h"
#include "base/mem.h"
#include "wire/field.h"
#include "json/json.h"

/* Servers turn a decrypted content that parses as a JSON array into structured content (docs/PROTOCOL.md, "Request
 * encryption", rule c), so text of that form goes as the one text part that it would otherwise be taken for. */
#define WRAP_BEFORE "[{\"type\":\"text\",\"text\":\""
#define WRAP_AFTER "\"}]"
#define WRAP_BYTES (sizeof WRAP_BEFORE + sizeof WRAP_AFTER - 2)

void plan_init(struct plan *p)
{
    *p = (struct plan){NULL, 0, 0, 0, false, false};
}

void plan_free(struct plan *p)
{
    mem_free(p->steps);
    plan_init(p);
}

static void add(struct plan *p, struct plan_step step, size_t writes)
{
    if (p->muted || p->failed) {
        return;
    }
    if (p->steps == NULL || p->count == p->cap) {
        size_t cap = p->cap > 0 ? 2 * p->cap : 32;
        struct plan_step *steps = mem_alloc(cap * sizeof *steps);
        if (steps == NULL) {
            p->failed = true;
            return;
        }
        if (p->steps != NULL) {
            memcpy(steps, p->steps, p->count * sizeof *steps);
        }
        mem_free(p->steps);
        p->steps = steps;
        p->cap = cap;
    }
    p->steps[p->count++] = step;
    p->out_max += writes;
}

void plan_copy(struct plan *p, size_t start, size_t end)
{
    if (p->muted || start == end) {
        return;
    }
    struct plan_step *last = p->count > 0 ? &p->steps[p->count - 1] : NULL;
    if (last != NULL && last->kind == PLAN_COPY && last->end == start) {
        last->end = (uint32_t)end;
        p->out_max += end - start;
        return;
    }
    add(p, (struct plan_step){PLAN_COPY, (uint32_t)start, (uint32_t)end, NULL}, end - start);
}

void plan_word(struct plan *p, const char *word)
{
    add(p, (struct plan_step){PLAN_WORD, 0, 0, word}, strlen(word));
}

void plan_model(struct plan *p)
{
    add(p, (struct plan_step){PLAN_MODEL, 0, 0, NULL}, 6 * LIMIT_MODEL_ID_BYTES + 2);
}

void plan_seal(struct plan *p, enum plan_kind kind, size_t start, size_t end)
{
    add(p, (struct plan_step){kind, (uint32_t)start, (uint32_t)end, NULL},
        FIELD_CHARS(end - start + WRAP_BYTES) + 2);
}

static bool is_space(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* True for everything that some server's JSON reader, strict or not, may take for an array. Some texts are wrapped
 * that none would: that costs nothing. */
static bool like_array(const uint8_t *text, size_t len)
{
    while (len > 0 && is_space(text[len - 1])) {
        len--;
    }
    while (len > 0 && is_space(text[0])) {
        text++;
        len--;
    }
    return len >= 2 && text[0] == '[' && text[len - 1] == ']';
}

/* What is to be sealed, written into room. */
static size_t write_plain(enum plan_kind kind, uint8_t *room, const char *raw, size_t len)
{
    if (kind == PLAN_SEAL_PARTS) {
        return json_compact(room, raw, len);
    }
    size_t n = json_unescape(room, raw, len);
    if (kind != PLAN_SEAL_CONTENT || !like_array(room, n)) {
        return n;
    }
    uint8_t *p = room;
    memcpy(p, WRAP_BEFORE, sizeof WRAP_BEFORE - 1);
    p += sizeof WRAP_BEFORE - 1;
    memcpy(p, raw, len);
    p += len;
    memcpy(p, WRAP_AFTER, sizeof WRAP_AFTER - 1);
    return len + WRAP_BYTES;
}

static bool seal_step(const struct plan_step *step, const char *text, struct aead *key,
                      const uint8_t point[static POINT_BYTES], struct buf *out, struct err *err)
{
    size_t len = step->end - step->start, max = len + WRAP_BYTES;
    uint8_t *room = buf_append_byte(out, '"') ? field_room(out, max) : NULL;
    if (room == NULL) {
        return buf_check(out, "the sealed request", err);
    }
    size_t n = write_plain(step->kind, room, text + step->start, len);
    if (!field_seal_room(out, max, n, key, point, err)) {
        return false;
    }
    return buf_append_byte(out, '"') || buf_check(out, "the sealed request", err);
}

static bool run_step(const struct plan_step *step, const char *text, const char *model, struct aead *key,
                     const uint8_t point[static POINT_BYTES], struct buf *out, struct err *err)
{
    switch (step->kind) {
    case PLAN_COPY:
        buf_append(out, text + step->start, step->end - step->start);
        break;
    case PLAN_WORD:
        buf_append_str(out, step->word);
        break;
    case PLAN_MODEL:
        json_append_string(out, model, strlen(model));
        break;
    default:
        return seal_step(step, text, key, point, out, err);
    }
    return buf_check(out, "the sealed request", err);
}

bool plan_run(const struct plan *p, const char *text, const char *model, struct aead *key,
              const uint8_t point[static POINT_BYTES], struct buf *out, struct err *err)
{
    /* All the room at once: growing by steps would copy a long body over and over. */
    bool fits = !out->failed && p->out_max <= out->max - out->len;
    bool ok = true;
    if (fits && !buf_reserve(out, p->out_max)) {
        buf_reset(out);
        return err_set(err, ERR_MEMORY, "no memory for the sealed request of %zu bytes", p->out_max);
    }
    for (size_t i = 0; ok && i < p->count; i++) {
        ok = run_step(&p->steps[i], text, model, key, point, out, err);
    }
    if (!ok) {
        buf_reset(out);
    }
    return ok;
}
