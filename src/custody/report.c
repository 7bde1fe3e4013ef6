#include "custody/report.h"

#include <string.h>

#include "base/hex.h"
#include "base/text.h"
#include "custody/verify.h"

#define PEM_BYTES_MAX 65536

typedef unsigned long long ull;

static void print_hex(const uint8_t *hash)
{
    char hex[2 * SHA256_BYTES + 1];
    fputs(hex_str(hex, hash, SHA256_BYTES), stdout);
}

static void print_summary(const struct custody_result *r)
{
    const struct chain_check *c = &r->check;
    if (c->lines == 0) {
        puts("no line at all");
        return;
    }
    printf("%llu lines, number %llu to %llu, head ", (ull)c->lines, (ull)c->first_seq, (ull)c->last.seq);
    print_hex(c->last.hash);
    putchar('\n');
    if (c->first_seq > 1) {
        printf("note: lines 1 to %llu are not in these files, and were not judged\n",
               (ull)(c->first_seq - 1));
    }
    if (r->gaps > 0) {
        printf("note: %llu lines say that the log could not be written for a while, or was torn\n",
               (ull)r->gaps);
    }
}

/* What the signatures say, and what they leave open. */
static void print_signed(const struct custody_result *r)
{
    const struct signed_check *s = &r->sealed;
    uint64_t last = r->check.last.seq;
    if (s->last_signed == 0) {
        return;
    }
    printf("%llu checkpoints, the last signs line %llu, by \"%s\"\n", (ull)s->checkpoints,
           (ull)s->last_signed, s->instance);
    if (s->as_found > 0) {
        printf("note: %llu lines were signed only as a later start found them, see above\n",
               (ull)s->as_found);
    }
    if (last > s->known_to) {
        printf("note: the last %llu lines are not signed: that they were changed, made or cut off cannot be "
               "excluded\n",
               (ull)(last - s->known_to));
    } else if (r->stopped) {
        puts("it ends by a stop that is signed; only a start that was cut off as a whole would not show");
    } else {
        puts("note: a tail that was cut off after this checkpoint cannot be excluded");
    }
}

static void print_limits(const struct custody_result *r, const struct report_options *o)
{
    uint64_t last = r->check.last.seq;
    if (o->head == NULL && o->key_count == 0) {
        puts("note: without --head or --key, a tail that was cut off and a log that was rewritten as a whole "
             "cannot be excluded");
        if (r->sealed.checkpoints > 0) {
            printf("note: the signatures of %llu checkpoints were not verified, which takes --key\n",
                   (ull)r->sealed.checkpoints);
        }
    } else if (r->head_found && r->head_seq < last) {
        printf(
            "note: up to line %llu nothing was cut or rewritten; a cut after line %llu cannot be excluded\n",
            (ull)r->head_seq, (ull)last);
    } else if (r->head_found) {
        puts("the last line is the wanted head: nothing was cut or rewritten");
    }
}

/* Findings about the log as a whole. */
static void judge_whole(struct custody_result *r, const struct report_options *o)
{
    if (o->head != NULL && !r->head_found) {
        r->check.findings++;
        puts("no line has the wanted head: the tail was cut off, or the log was rewritten");
    }
    if (o->key_count > 0 && r->sealed.last_signed == 0 && r->check.lines > 0) {
        r->check.findings++;
        puts("no checkpoint signs any of these lines: the log was made without the key, or rewritten");
    }
}

static struct signature_key *read_key(const char *path, struct err *err)
{
    struct signature_key *key = NULL;
    struct buf pem;
    buf_init(&pem, PEM_BYTES_MAX);
    if (text_read_file(&pem, path, err)) {
        key = signature_key_pem(pem.data, pem.len, err);
    }
    if (key == NULL) {
        err_context(err, "--key %s", path);
    }
    buf_free(&pem);
    return key;
}

static bool judge(bool *good, const struct report_options *o, const struct signature_key *const *keys,
                  struct err *err)
{
    struct custody_result result;
    uint8_t head[SHA256_BYTES];
    struct custody_wanted wanted = {.keys = keys, .key_count = o->key_count};
    if (o->head != NULL) {
        if (strlen(o->head) != 2 * sizeof head || !hex_decode(head, o->head, 2 * sizeof head)) {
            return err_set(err, ERR_CONFIG, "--head takes 64 hex digits");
        }
        wanted.head = head;
    }
    if (!custody_verify(&result, o->files, o->file_count, &wanted, stdout, err)) {
        return false;
    }
    judge_whole(&result, o);
    print_summary(&result);
    if (o->key_count > 0) {
        print_signed(&result);
    }
    print_limits(&result, o);
    *good = result.check.findings == 0 && result.check.lines > 0;
    puts(*good ? "the chain holds" : "the chain does NOT hold");
    return true;
}

bool report_custody(bool *good, const struct report_options *o, struct err *err)
{
    struct signature_key *keys[REPORT_KEYS_MAX] = {NULL};
    bool ok = o->key_count <= REPORT_KEYS_MAX || err_set(err, ERR_CONFIG, "--key is given too often");
    *good = false;
    for (size_t i = 0; ok && i < o->key_count; i++) {
        keys[i] = read_key(o->keys[i], err);
        ok = keys[i] != NULL;
    }
    ok = ok && judge(good, o, (const struct signature_key *const *)keys, err);
    for (size_t i = 0; i < REPORT_KEYS_MAX; i++) {
        signature_key_free(keys[i]);
    }
    return ok;
}
