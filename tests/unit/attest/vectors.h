/* Where the tests of this layer find evidence: shared/vectors beside the repository (or at E2EE_SHARED_DIR), and the
 * licence-clean part of it in tests/vectors. */
#ifndef E2EE_TESTS_ATTEST_VECTORS_H
#define E2EE_TESTS_ATTEST_VECTORS_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/hex.h"
#include "base/limits.h"
#include "base/text.h"
#include "json/json.h"

#define VECTORS_BYTES_MAX 8388608

/* The folder shared/vectors, or NULL. Static memory. */
__attribute__((unused)) static const char *vectors_shared(void)
{
    static char path[1024];
    const char *env = getenv("E2EE_SHARED_DIR");
    const char *places[] = {env != NULL ? env : "", E2EE_SOURCE_DIR "/../shared",
                            E2EE_SOURCE_DIR "/../../shared"};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        struct stat st;
        snprintf(path, sizeof path, "%s/vectors", places[i]);
        if (places[i][0] != '\0' && stat(path, &st) == 0) {
            return path;
        }
    }
    return NULL;
}

/* dir/name into out; false when it is not there. */
__attribute__((unused)) static bool vectors_read(struct buf *out, const char *dir, const char *name)
{
    char path[8192];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    buf_init(out, VECTORS_BYTES_MAX);
    return text_read_file(out, path, NULL);
}

/* What a vector's expected.json says. */
struct vector_expectation {
    char expect[32], verdict[16], tcb_status[64], reason[128], body[64], nonce_hex[65];
    bool has_nonce, has_at;
    unsigned char nonce[32];
    long long at;
};

__attribute__((unused)) static bool vectors_expectation(struct vector_expectation *e, const char *dir)
{
    struct buf text;
    struct json_doc doc;
    uint64_t at;
    bool ok = false;

    memset(e, 0, sizeof *e);
    json_doc_init(&doc);
    if (vectors_read(&text, dir, "expected.json") &&
        json_parse(&doc, (const char *)text.data, text.len, LIMIT_JSON_NODES, NULL)) {
        const struct json_node *root = json_root(&doc), *strict = json_present(&doc, root, "strict");
        ok = strict != NULL &&
             json_string_copy(&doc, json_member(&doc, root, "expect"), e->expect, sizeof e->expect) &&
             json_string_copy(&doc, json_member(&doc, strict, "verdict"), e->verdict, sizeof e->verdict);
        if (!json_string_copy(&doc, json_present(&doc, strict, "tcb_status"), e->tcb_status,
                              sizeof e->tcb_status)) {
            e->tcb_status[0] = '\0';
        }
        if (!json_string_copy(&doc, json_present(&doc, strict, "reason"), e->reason, sizeof e->reason)) {
            e->reason[0] = '\0';
        }
        if (!json_string_copy(&doc, json_present(&doc, root, "body"), e->body, sizeof e->body)) {
            e->body[0] = '\0';
        }
        e->has_nonce = json_string_copy(&doc, json_present(&doc, root, "client_nonce"), e->nonce_hex,
                                        sizeof e->nonce_hex) &&
                       strlen(e->nonce_hex) == 64 && hex_decode(e->nonce, e->nonce_hex, 64);
        e->has_at = json_u64(&doc, json_present(&doc, root, "verify_at_epoch"), &at);
        e->at = e->has_at ? (long long)at : 0;
    }
    json_doc_free(&doc);
    buf_free(&text);
    return ok;
}

#endif
