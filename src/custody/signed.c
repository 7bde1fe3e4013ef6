#include "custody/signed.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/hex.h"
#include "base/mem.h"

/* The hashes of the last lines, by number. */
struct signed_hash {
    uint64_t seq;
    uint8_t hash[SHA256_BYTES];
};

bool signed_begin(struct signed_check *s, const struct signature_key *const *keys, size_t key_count,
                  struct err *err)
{
    *s = (struct signed_check){.keys = keys, .key_count = key_count};
    s->hashes = mem_calloc(CHECKPOINT_BACK_MAX, sizeof *s->hashes);
    return s->hashes != NULL || err_set(err, ERR_MEMORY, "no memory for the checkpoints");
}

void signed_end(struct signed_check *s)
{
    mem_free(s->hashes);
    s->hashes = NULL;
}

static void remember(struct signed_check *s, uint64_t seq, const uint8_t *hash)
{
    struct signed_hash *slot = &s->hashes[seq % CHECKPOINT_BACK_MAX];
    slot->seq = seq;
    memcpy(slot->hash, hash, sizeof slot->hash);
}

static bool verify(const struct signed_check *s, const struct checkpoint *c, struct err *err)
{
    char text[CHECKPOINT_TEXT_BYTES], fingerprint[2 * SHA256_BYTES + 1];
    size_t len = checkpoint_text(text, c);
    for (size_t i = 0; i < s->key_count; i++) {
        const struct signature_key *key = s->keys[i];
        if (memcmp(signature_fingerprint(key), c->key, sizeof c->key) != 0) {
            continue;
        }
        return (strcmp(signature_algorithm(key), c->algorithm) == 0 &&
                signature_valid(key, text, len, c->signature, c->signature_len)) ||
               err_set(err, ERR_INVALID,
                       "its signature is wrong: somebody without the key made it, or the lines "
                       "before it");
    }
    return s->key_count == 0 ||
           err_set(err, ERR_INVALID, "it is signed by another key, with the fingerprint %s",
                   hex_str(fingerprint, c->key, sizeof c->key));
}

/* Is the line that it signs the one that stands here? */
static bool find_line(const struct signed_check *s, const struct checkpoint *c, uint64_t seq, struct err *err)
{
    const struct signed_hash *slot = &s->hashes[c->line % CHECKPOINT_BACK_MAX];
    if (c->line >= seq) {
        return err_set(err, ERR_INVALID, "it signs line %" PRIu64 ", which is not before it", c->line);
    }
    if (c->line <= s->last_signed) {
        return err_set(err, ERR_INVALID, "it signs line %" PRIu64 ", as an earlier one: it was repeated",
                       c->line);
    }
    if (slot->seq == c->line) {
        return memcmp(slot->hash, c->hash, sizeof c->hash) == 0 ||
               err_set(err, ERR_INVALID, "it signs another line %" PRIu64 " than the one that is here",
                       c->line);
    }
    /* Of an earlier file, which is not here: it says nothing about these lines. */
    return c->line < s->first ||
           err_set(err, ERR_INVALID, "it signs line %" PRIu64 ", which is not here or too far before it",
                   c->line);
}

static void count(struct signed_check *s, const struct checkpoint *c, uint64_t seq, uint64_t *gap_from,
                  uint64_t *gap_to)
{
    s->checkpoints++;
    if (c->line < s->first) {
        return;
    }
    uint64_t due = s->known_to != 0 ? s->known_to + 1 : s->first;
    if (c->from > due) {
        *gap_from = due;
        *gap_to = c->from - 1;
        s->as_found += c->from - due;
    }
    s->last_signed = c->line;
    s->known_to = seq == c->line + 1 ? seq : c->line;
    snprintf(s->instance, sizeof s->instance, "%s", c->instance);
}

bool signed_line(struct signed_check *s, const struct chain_line *line, const char *text, bool good,
                 uint64_t *gap_from, uint64_t *gap_to, struct err *err)
{
    struct checkpoint c;
    *gap_from = *gap_to = 0;
    if (line->seq == 0) {
        return true; /* no line at all, which the chain has said */
    }
    if (s->first == 0) {
        s->first = line->seq;
        remember(s, line->seq - 1, line->prev); /* a checkpoint that signs it holds this line too */
    }
    remember(s, line->seq, line->hash);
    if (!good || strcmp(line->event, CHECKPOINT_EVENT) != 0) {
        return true;
    }
    if (!checkpoint_parse(&c, text + line->members, line->members_len, err) ||
        !find_line(s, &c, line->seq, err) || !verify(s, &c, err)) {
        return false;
    }
    count(s, &c, line->seq, gap_from, gap_to);
    return true;
}
