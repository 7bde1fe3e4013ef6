/* Any request body. What is taken seals to a body that parses, stays within its announced bound, opens to the contents
 * that went in, and has no free text in it: each name is the table's, each string is sealed or of a closed list. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "wire/field.h"
#include "wire/fields.h"
#include "wire/request.h"
#include "json/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool ok)
{
    if (!ok) {
        abort();
    }
}

/* One key for both sides: the cipher asks for no points. */
static struct aead *fixed_key(void)
{
    static struct aead *key;
    if (key == NULL) {
        struct err err;
        struct secret bytes = SECRET_EMPTY;
        require(secret_heap_init(&err) && secret_new(&bytes, AEAD_KEY_BYTES, &err));
        key = aead_new(&err);
        require(key != NULL && aead_set_key(key, &bytes, &err));
        secret_free(&bytes);
    }
    return key;
}

static bool known_name(const struct json_doc *doc, const struct json_node *member)
{
    for (int where = FIELDS_TOP; where < FIELDS_PART; where++) {
        if (fields_find((enum fields_where)where, doc, member) != NULL) {
            return true;
        }
    }
    return false;
}

static bool closed_word(const struct json_doc *doc, const struct json_node *node)
{
    static const char *const words[] = {"m",     "off",     "system",  "user",    "assistant", "tool",
                                        "none",  "minimal", "low",     "max",     "medium",    "high",
                                        "xhigh", "auto",    "concise", "detailed"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (json_string_is(doc, node, words[i])) {
            return true;
        }
    }
    return false;
}

static void check_no_free_text(const struct json_doc *doc)
{
    for (size_t i = 0; i < doc->count; i++) {
        const struct json_node *n = &doc->nodes[i];
        const char *raw;
        size_t len;
        require(n->key_end == 0 || known_name(doc, n));
        if (n->type == JSON_STRING) {
            require(json_string_raw(doc, n, &raw, &len));
            bool id = json_key_is(doc, n, "tool_call_id") && len <= 128 && strcspn(raw, " \\\"") == len;
            require(field_is_sealed(raw, len) || closed_word(doc, n) || id);
        }
    }
}

/* What the sealed string n opens to, against the client's value: its text, or something made of its bytes. */
static void check_opens(const struct json_doc *doc, const struct json_node *n, struct aead *key,
                        const uint8_t *point, const struct json_doc *theirs, const struct json_node *content)
{
    const char *raw;
    size_t len;
    struct err err;
    struct field f;
    require(json_string_raw(doc, n, &raw, &len));
    uint8_t *bytes = mem_alloc(len / 2);
    require(bytes != NULL && field_decode(&f, bytes, raw, len, &err));
    require(memcmp(f.point, point, POINT_BYTES) == 0);
    require(aead_open(key, f.sealed, f.nonce, f.sealed, f.sealed_len, &err));
    size_t plain = f.sealed_len - AEAD_TAG_BYTES;
    struct buf text;
    buf_init(&text, theirs->len + 1);
    if (content->type == JSON_STRING && json_string_get(theirs, content, &text)) {
        bool same = plain == text.len && (plain == 0 || memcmp(f.sealed, text.data, plain) == 0);
        struct json_doc parts;
        json_doc_init(&parts);
        if (!same) {
            /* Wrapped: one text part with the same text in it. */
            require(json_parse(&parts, (char *)f.sealed, plain, 10, &err) && parts.count == 4);
            const struct json_node *inner =
                json_member(&parts, json_first(&parts, json_root(&parts)), "text");
            struct buf again;
            buf_init(&again, plain);
            require(json_string_get(&parts, inner, &again) && again.len == text.len);
            require(memcmp(again.data, text.data, text.len) == 0);
            buf_free(&again);
        } else {
            /* Nothing that is sealed as text may be read as an array. */
            require(!json_parse(&parts, (char *)f.sealed, plain, 100000, &err) ||
                    json_root(&parts)->type != JSON_ARRAY);
        }
        json_doc_free(&parts);
    }
    buf_free(&text);
    mem_free(bytes);
}

static void check_sealed(const struct buf *out, struct aead *key, const uint8_t *point, const char *data,
                         size_t size)
{
    struct json_doc doc, theirs;
    struct err err;
    json_doc_init(&doc);
    json_doc_init(&theirs);
    require(json_parse(&doc, (char *)out->data, out->len, SIZE_MAX, &err));
    require(json_parse(&theirs, data, size, SIZE_MAX, &err));
    check_no_free_text(&doc);
    const struct json_node *root = json_root(&doc);
    require(json_member(&doc, root, "stop") == NULL && json_member(&doc, root, "tools") == NULL);
    require(json_member(&doc, root, "stream")->type == JSON_TRUE);
    const struct json_node *m = json_first(&doc, json_member(&doc, root, "messages"));
    const struct json_node *t = json_first(&theirs, json_member(&theirs, json_root(&theirs), "messages"));
    for (; m != NULL; m = json_next(&doc, m), t = json_next(&theirs, t)) {
        require(t != NULL);
        const struct json_node *sealed = json_present(&doc, m, "content");
        const struct json_node *content = json_present(&theirs, t, "content");
        content = content != NULL ? content : json_present(&theirs, t, "refusal");
        require(sealed == NULL || content != NULL);
        if (sealed != NULL) {
            check_opens(&doc, sealed, key, point, &theirs, content);
        }
    }
    require(t == NULL);
    json_doc_free(&doc);
    json_doc_free(&theirs);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t point[POINT_BYTES] = {4, 1, 2, 3};
    struct aead *key = fixed_key();
    struct chat_request *r;
    struct buf body, out;
    struct err err = {0};
    char param[REQUEST_PARAM_BYTES];
    buf_init(&body, size + 1);
    require(buf_append(&body, data, size));
    bool ok = request_parse(&r, &body, param, &err);
    require(body.len == 0 && ok == (r != NULL));
    if (!ok) {
        require(err.kind == ERR_INVALID || err.kind == ERR_UNSUPPORTED || err.kind == ERR_NOT_FOUND);
        return 0;
    }
    const struct request_info *info = request_info(r);
    require(info->model[0] != '\0' && info->choices >= 1 && strlen(info->dropped) < 1024);
    buf_init(&out, info->sealed_max);
    for (int round = 0; round < 2; round++) {
        buf_reset(&out);
        require(request_seal(r, "m", key, point, &out, &err));
        require(out.len <= info->sealed_max);
        check_sealed(&out, key, point, (const char *)data, size);
    }
    request_free(r);
    buf_free(&out);
    return 0;
}
