#include "attest/body_value.h"

#include <string.h>

#include "base/hex.h"
#include "base/limits.h"

#define ENCODINGS_MAX 3 /* JSON within a string within a string */

void body_value_init(struct body_value *o)
{
    memset(o, 0, sizeof *o);
    buf_init(&o->text, LIMIT_ATTESTATION_BYTES);
    json_doc_init(&o->own);
}

void body_value_free(struct body_value *o)
{
    json_doc_free(&o->own);
    buf_free(&o->text);
}

/* No buffer here is smaller than the body, so that one which fails means that memory ran out. */
static bool unescape(struct buf *out, const struct json_doc *doc, const struct json_node *node,
                     const char *name, struct err *err)
{
    return json_string_get(doc, node, out) || err_set(err, out->failed ? ERR_MEMORY : ERR_INVALID, "%s %s",
                                                      out->failed ? "no memory for" : "no text in", name);
}

/* The text of a value into out: an object or array as it stands, a string unescaped, and again while that is once
 * more a JSON string. */
bool body_value_text(struct buf *out, const struct json_doc *doc, const struct json_node *node,
                     const char *name, struct err *err)
{
    struct json_doc inner;
    struct buf text;
    bool ok = false;

    json_doc_init(&inner);
    buf_init(&text, LIMIT_ATTESTATION_BYTES);
    buf_reset(out);
    if (node->type != JSON_STRING) {
        buf_append(out, doc->text + node->start, node->end - node->start);
    } else if (!unescape(out, doc, node, name, err)) {
        goto out;
    }
    for (int i = 0; i < ENCODINGS_MAX && !out->failed && out->len > 0 && out->data[0] == '"'; i++) {
        buf_move(&text, out);
        if (!json_parse(&inner, (const char *)text.data, text.len, 1, err)) {
            err_context(err, "%s", name);
            goto out;
        }
        if (!unescape(out, &inner, json_root(&inner), name, err)) {
            goto out;
        }
    }
    ok = !out->failed || err_set(err, ERR_MEMORY, "no memory for %s", name);
out:
    json_doc_free(&inner);
    buf_free(&text);
    return ok;
}

bool body_value_object(struct body_value *o, const struct json_doc *doc, const struct json_node *node,
                       const char *name, struct err *err)
{
    if (node == NULL) {
        return true;
    }
    if (node->type == JSON_OBJECT) {
        o->doc = doc;
        o->node = node;
        return true;
    }
    if (node->type != JSON_STRING) {
        return err_set(err, ERR_INVALID, "%s is neither an object nor a text", name);
    }
    if (!body_value_text(&o->text, doc, node, name, err)) {
        return false;
    }
    if (o->text.len == 0) {
        return true;
    }
    if (!json_parse(&o->own, (const char *)o->text.data, o->text.len, LIMIT_JSON_NODES, err)) {
        return err_context(err, "%s", name);
    }
    o->doc = &o->own;
    o->node = json_root(&o->own);
    return o->node->type == JSON_OBJECT ||
           err_set(err, ERR_INVALID, "%s holds something else than an object", name);
}

static bool is_hex_digits(const uint8_t *text, size_t len)
{
    return hex_all((const char *)text, len);
}

/* Hex of either case, or base64: the provider's documents say base64, every capture is hex (protocol.md section 0). */
bool body_value_quote(struct buf *out, const struct json_doc *doc, const struct json_node *node,
                      struct err *err)
{
    struct buf text;
    bool ok = false;

    buf_init(&text, LIMIT_ATTESTATION_BYTES);
    buf_reset(out);
    if (!unescape(&text, doc, node, "the quote", err)) {
        goto out;
    }
    if (text.len == 0 || text.len > BODY_QUOTE_TEXT_BYTES) {
        err_set(err, ERR_INVALID, "the quote is empty or longer than %d characters", BODY_QUOTE_TEXT_BYTES);
        goto out;
    }
    if (text.len % 2 == 0 && is_hex_digits(text.data, text.len)) {
        if (!buf_reserve(out, text.len / 2) || !hex_decode(out->data, (const char *)text.data, text.len)) {
            err_set(err, ERR_MEMORY, "no memory for the quote");
            goto out;
        }
        out->len = text.len / 2;
        ok = true;
        goto out;
    }
    if (!buf_reserve(out, BASE64_DECODED_MAX(text.len))) {
        err_set(err, ERR_MEMORY, "no memory for the quote");
        goto out;
    }
    ok = base64_decode(out->data, out->cap, &out->len, (const char *)text.data, text.len, false);
    if (!ok || out->len == 0) {
        ok = err_set(err, ERR_INVALID, "the quote is neither hex nor base64");
    }
out:
    buf_free(&text);
    return ok;
}
