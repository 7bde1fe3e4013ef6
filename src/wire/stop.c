#include "wire/stop.h"

#include <string.h>

#include "base/mem.h"
#include "base/secret.h"

/* One sequence with its failure table (Knuth, Morris, Pratt): fall[i] is the length of the longest proper prefix that
 * text[0..i] ends with. */
struct sequence {
    uint16_t len;
    uint8_t text[LIMIT_STOP_BYTES];
    uint16_t fall[LIMIT_STOP_BYTES];
};

struct stop_set {
    size_t count;
    bool first[256]; /* bytes that begin a sequence: the rest of a text is skipped over */
    struct sequence *sequences;
};

static void build(struct sequence *s, const char *text, size_t len)
{
    memcpy(s->text, text, len);
    s->len = (uint16_t)len;
    uint16_t k = 0;
    for (size_t i = 1; i < len; i++) {
        while (k > 0 && s->text[i] != s->text[k]) {
            k = s->fall[k - 1];
        }
        k = (uint16_t)(k + (s->text[i] == s->text[k]));
        s->fall[i] = k;
    }
}

struct stop_set *stop_set_new(const char *const *texts, const size_t *lens, size_t count, struct err *err)
{
    if (count > LIMIT_STOP_SEQUENCES) {
        err_set(err, ERR_INVALID, "%zu stop sequences are more than %d", count, LIMIT_STOP_SEQUENCES);
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        if (lens[i] == 0 || lens[i] > LIMIT_STOP_BYTES) {
            err_set(err, ERR_INVALID, "a stop sequence has %zu bytes: 1 to %d are possible", lens[i],
                    LIMIT_STOP_BYTES);
            return NULL;
        }
    }
    struct stop_set *set = mem_calloc(1, sizeof *set);
    if (set == NULL || (set->sequences = mem_calloc(count > 0 ? count : 1, sizeof *set->sequences)) == NULL) {
        err_set(err, ERR_MEMORY, "no memory for stop sequences");
        mem_free(set);
        return NULL;
    }
    set->count = count;
    for (size_t i = 0; i < count; i++) {
        build(&set->sequences[i], texts[i], lens[i]);
        set->first[(uint8_t)texts[i][0]] = true;
    }
    return set;
}

void stop_set_free(struct stop_set *set)
{
    if (set != NULL) {
        mem_free_wipe(set->sequences);
        mem_free_wipe(set);
    }
}

/* Takes one byte: the length of the longest sequence that ends here, else 0, with the states moved on. */
static size_t step(const struct stop_set *set, struct stop_state *state, uint8_t byte)
{
    size_t found = 0;
    state->held = 0;
    for (size_t i = 0; i < set->count; i++) {
        const struct sequence *s = &set->sequences[i];
        uint16_t k = state->matched[i];
        while (k > 0 && s->text[k] != byte) {
            k = s->fall[k - 1];
        }
        k = (uint16_t)(k + (s->text[k] == byte));
        state->matched[i] = k;
        if (k == s->len && k > found) {
            found = k;
        }
        if (k > state->held) {
            state->held = k;
            state->holder = (uint8_t)i;
        }
    }
    return found;
}

/* Gives out the first n bytes of what was held before and text. */
static bool give(const struct stop_set *set, uint8_t holder, size_t held, const uint8_t *text, size_t n,
                 struct buf *out)
{
    size_t old = n < held ? n : held;
    return buf_append(out, set->sequences[holder].text, old) && buf_append(out, text, n - old);
}

bool stop_feed(const struct stop_set *set, struct stop_state *state, const uint8_t *text, size_t len,
               struct buf *out)
{
    if (state->stopped || set->count == 0) {
        return state->stopped || buf_append(out, text, len);
    }
    uint8_t holder = state->holder;
    size_t held = state->held;
    for (size_t i = 0; i < len; i++) {
        if (state->held == 0 && !set->first[text[i]]) {
            continue;
        }
        size_t found = step(set, state, text[i]);
        if (found > 0) {
            bool ok = give(set, holder, held, text, held + i + 1 - found, out);
            memset(state, 0, sizeof *state);
            state->stopped = true;
            return ok;
        }
    }
    return give(set, holder, held, text, held + len - state->held, out);
}

bool stop_flush(const struct stop_set *set, struct stop_state *state, struct buf *out)
{
    bool ok = state->held == 0 || buf_append(out, set->sequences[state->holder].text, state->held);
    bool stopped = state->stopped;
    memset(state, 0, sizeof *state);
    state->stopped = stopped;
    return ok;
}
