#include "custody/verify.h"

#include <errno.h>
#include <string.h>

#include "base/mem.h"

#define FILES_MAX 65536

/* A line that is longer than any may be is read on to its end, and judged as what it is: none. */
struct reader {
    FILE *file;
    size_t len;
    bool ended; /* by LF */
    char text[CHAIN_LINE_BYTES_MAX + 2];
};

/* False at the file's end. */
static bool next_line(struct reader *r)
{
    int c;
    r->len = 0;
    while ((c = getc(r->file)) != EOF && c != '\n') {
        if (r->len < sizeof r->text) {
            r->text[r->len++] = (char)c;
        }
    }
    r->ended = c == '\n';
    return r->ended || r->len > 0;
}

struct place {
    const char *path;
    uint64_t first; /* of its first good line; UINT64_MAX: it has none */
};

static bool open_file(struct reader *r, const char *path, struct err *err)
{
    r->file = fopen(path, "re");
    return r->file != NULL || err_errno(err, ERR_IO, errno, "cannot open %s", path);
}

static bool close_file(struct reader *r, const char *path, struct err *err)
{
    bool ok = ferror(r->file) == 0;
    fclose(r->file);
    return ok || err_set(err, ERR_IO, "cannot read %s", path);
}

static bool find_first(struct reader *r, struct place *place, struct err *err)
{
    if (!open_file(r, place->path, err)) {
        return false;
    }
    while (place->first == 0 && next_line(r)) {
        struct chain_line line;
        struct err ignored;
        (void)!chain_parse(&line, r->text, r->len, &ignored);
        place->first = line.seq; /* changed lines say where they stood too */
    }
    if (place->first == 0) {
        place->first = UINT64_MAX; /* nothing but a torn line: the newest */
    }
    return close_file(r, place->path, err);
}

/* Stable, for files whose lines say nothing. */
static void sort(struct place *places, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        struct place p = places[i];
        size_t at = i;
        for (; at > 0 && places[at - 1].first > p.first; at--) {
            places[at] = places[at - 1];
        }
        places[at] = p;
    }
}

static void note(struct custody_result *result, const struct chain_line *line, const uint8_t *wanted)
{
    result->gaps += strcmp(line->event, "gap") == 0 || strcmp(line->event, "torn") == 0;
    result->stopped =
        strcmp(line->event, "stop") == 0 || (result->stopped && strcmp(line->event, CHECKPOINT_EVENT) == 0);
    if (wanted != NULL && !result->head_found && memcmp(line->hash, wanted, sizeof line->hash) == 0) {
        result->head_found = true;
        result->head_seq = line->seq;
    }
}

struct place_in {
    const char *path;
    unsigned long long number;
    FILE *out;
};

/* Whether the line is right, and right in its place. */
static bool judge_line(struct custody_result *result, const struct reader *r, const struct place_in *at,
                       const uint8_t *wanted, struct err *why)
{
    struct chain_line line;
    uint64_t gap_from, gap_to;
    bool good = chain_check_line(&result->check, &line, r->text, r->len, why);
    if (good) {
        note(result, &line, wanted);
    }
    if (!signed_line(&result->sealed, &line, r->text, good, &gap_from, &gap_to, why)) {
        result->check.findings++;
        return false;
    }
    if (gap_from != 0) {
        fprintf(at->out,
                "note: %s:%llu: lines %llu to %llu were signed only as this start found them (the one before "
                "had crashed, or had no key): what was done to them before cannot be excluded\n",
                at->path, at->number, (unsigned long long)gap_from, (unsigned long long)gap_to);
    }
    return good;
}

static bool judge_file(struct custody_result *result, struct reader *r, const char *path, bool is_last,
                       const uint8_t *wanted, FILE *out, struct err *err)
{
    struct place_in at = {path, 0, out};
    if (!open_file(r, path, err)) {
        return false;
    }
    while (next_line(r)) {
        struct err why = {0};
        at.number++;
        bool good = judge_line(result, r, &at, wanted, &why);
        if (!r->ended) {
            result->torn = is_last;
            result->check.findings += good;
            err_set(&why, ERR_INVALID, "the last line is cut%s",
                    is_last ? ": a keyholder that died while it wrote leaves one, and so does who cuts" : "");
        }
        if (!good || !r->ended) {
            fprintf(out, "%s:%llu: %s\n", path, at.number, why.message);
        }
    }
    return close_file(r, path, err);
}

bool custody_verify(struct custody_result *result, const char *const *paths, size_t count,
                    const struct custody_wanted *wanted, FILE *out, struct err *err)
{
    memset(result, 0, sizeof *result);
    if (count > FILES_MAX) {
        return err_set(err, ERR_TOO_LARGE, "too many files");
    }
    struct reader *r = mem_calloc(1, sizeof *r);
    struct place *places = mem_calloc(count, sizeof *places);
    bool ok = r != NULL && places != NULL;
    if (!ok) {
        err_set(err, ERR_MEMORY, "no memory");
    }
    ok = ok && signed_begin(&result->sealed, wanted->keys, wanted->key_count, err);
    for (size_t i = 0; ok && i < count; i++) {
        places[i].path = paths[i];
        ok = find_first(r, &places[i], err);
    }
    if (ok) {
        sort(places, count);
    }
    for (size_t i = 0; ok && i < count; i++) {
        ok = judge_file(result, r, places[i].path, i + 1 == count, wanted->head, out, err);
    }
    signed_end(&result->sealed);
    mem_free(places);
    mem_free(r);
    return ok;
}
