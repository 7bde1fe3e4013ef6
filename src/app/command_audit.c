/* audit verify FILE...: is the custody log as it was written? */
#include <string.h>

#include "app/audit_verify.h"
#include "app/command.h"
#include "base/hex.h"

static void print_hash(const uint8_t *hash)
{
    for (size_t i = 0; i < SHA256_BYTES; i++) {
        printf("%02x", hash[i]);
    }
}

static void print_summary(const struct audit_result *r)
{
    const struct chain_check *c = &r->check;
    if (c->lines == 0) {
        puts("no line at all");
        return;
    }
    printf("%llu lines, number %llu to %llu, head ", (unsigned long long)c->lines,
           (unsigned long long)c->first_seq, (unsigned long long)c->last.seq);
    print_hash(c->last.hash);
    putchar('\n');
    if (c->first_seq > 1) {
        printf("note: lines 1 to %llu are not in these files, and were not judged\n",
               (unsigned long long)(c->first_seq - 1));
    }
    if (r->gaps > 0) {
        printf("note: %llu lines say that the log could not be written for a while, or was torn\n",
               (unsigned long long)r->gaps);
    }
}

/* What a chain alone cannot show. */
static void print_limits(const struct audit_result *r, bool head)
{
    uint64_t last = r->check.last.seq;
    if (!head) {
        puts(
            "note: without --head, a tail that was cut off and a log that was rewritten as a whole cannot be "
            "excluded");
    } else if (r->head_found && r->head_seq < last) {
        printf(
            "note: up to line %llu nothing was cut or rewritten; a cut after line %llu cannot be excluded\n",
            (unsigned long long)r->head_seq, (unsigned long long)last);
    } else if (r->head_found) {
        puts("the last line is the wanted head: nothing was cut or rewritten");
    }
}

int command_audit(const struct config *config)
{
    struct err err = {0};
    struct audit_result result;
    uint8_t head[SHA256_BYTES];
    if (config->word_count < 2 || strcmp(config->words[0], "verify") != 0) {
        err_set(&err, ERR_CONFIG, "usage: e2ee-hsm-proxy audit verify FILE... [--head HASH]");
        return command_failed(&err);
    }
    if (config->head != NULL &&
        (strlen(config->head) != 2 * sizeof head || !hex_decode(head, config->head, 2 * sizeof head))) {
        err_set(&err, ERR_CONFIG, "--head takes 64 hex digits");
        return command_failed(&err);
    }
    if (!audit_verify(&result, config->words + 1, config->word_count - 1, config->head != NULL ? head : NULL,
                      stdout, &err)) {
        return command_failed(&err);
    }
    if (config->head != NULL && !result.head_found) {
        result.check.findings++;
        puts("no line has the wanted head: the tail was cut off, or the log was rewritten");
    }
    print_summary(&result);
    print_limits(&result, config->head != NULL);
    bool good = result.check.findings == 0 && result.check.lines > 0;
    puts(good ? "the chain holds" : "the chain does NOT hold");
    return good ? 0 : 1;
}
