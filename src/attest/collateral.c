#include "attest/collateral.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "attest/certs.h"
#include "attest/quote.h"
#include "attest/sgx.h"
#include "attest/tcb_info.h"
#include "base/hex.h"
#include "base/mem.h"
#include "base/text.h"

#define PATH_BYTES 4096
#define PEM_CRL_BEGIN "-----BEGIN X509 CRL-----"
#define PEM_CRL_END "-----END X509 CRL-----"

/* The files of a folder, each with its place. */
struct item {
    const char *name;
    size_t offset;
    bool crl, optional;
};

static const struct item items[] = {
    {"tcb_info.json", offsetof(struct collateral, tcb_info), false, false},
    {"qe_identity.json", offsetof(struct collateral, qe_identity), false, false},
    {"tcb_info_issuer_chain.pem", offsetof(struct collateral, tcb_info_chain), false, false},
    {"qe_identity_issuer_chain.pem", offsetof(struct collateral, qe_identity_chain), false, true},
    {"pck_crl.der", offsetof(struct collateral, pck_crl), true, false},
    {"root_ca_crl.der", offsetof(struct collateral, root_crl), true, false},
    {"pck_crl_issuer_chain.pem", offsetof(struct collateral, pck_crl_chain), false, true},
};

#define ITEMS (sizeof items / sizeof items[0])

static struct buf *item_buf(struct collateral *c, const struct item *item)
{
    return (struct buf *)(void *)((char *)c + item->offset);
}

void collateral_init(struct collateral *c)
{
    memset(c, 0, sizeof *c);
    for (size_t i = 0; i < ITEMS; i++) {
        buf_init(item_buf(c, &items[i]), COLLATERAL_ITEM_BYTES_MAX);
    }
}

void collateral_free(struct collateral *c)
{
    for (size_t i = 0; i < ITEMS; i++) {
        buf_free(item_buf(c, &items[i]));
    }
}

static size_t squeeze(char *text, size_t len)
{
    size_t kept = 0;
    for (size_t i = 0; i < len; i++) {
        if (strchr(" \t\r\n", text[i]) == NULL || text[i] == '\0') {
            text[kept++] = text[i];
        }
    }
    return kept;
}

static bool decode_crl(struct buf *out, char *text, size_t len, bool hex)
{
    size_t got = 0;
    len = squeeze(text, len);
    buf_reset(out);
    if (!buf_reserve(out, len)) {
        return false;
    }
    if (hex ? !hex_decode(out->data, text, len)
            : !base64_decode(out->data, out->cap, &got, text, len, false)) {
        return false;
    }
    out->len = hex ? len / 2 : got;
    return out->len > 0;
}

bool collateral_set_crl(struct buf *out, const uint8_t *data, size_t len, struct err *err)
{
    buf_free(out);
    buf_init(out, COLLATERAL_ITEM_BYTES_MAX);
    if (len > 1 && data[0] == 0x30 && (data[1] & 0x80)) {
        buf_append(out, data, len);
        return buf_check(out, "CRL", err);
    }
    char *text = len <= COLLATERAL_ITEM_BYTES_MAX ? mem_strndup((const char *)data, len) : NULL;
    if (text == NULL) {
        return err_set(err, len > COLLATERAL_ITEM_BYTES_MAX ? ERR_TOO_LARGE : ERR_MEMORY,
                       "no room for a CRL");
    }
    len = strlen(text);
    char *begin = strstr(text, PEM_CRL_BEGIN);
    char *inner = begin != NULL ? begin + strlen(PEM_CRL_BEGIN) : NULL;
    char *end = inner != NULL ? strstr(inner, PEM_CRL_END) : NULL;
    bool ok =
        end != NULL ? decode_crl(out, inner, (size_t)(end - inner), false) : decode_crl(out, text, len, true);
    bool memory = out->failed;
    mem_free(text);
    if (!ok) {
        buf_free(out);
        err_set(err, memory ? ERR_MEMORY : ERR_INVALID, "a CRL is neither DER nor PEM nor hex");
    }
    return ok;
}

static bool load_item(struct collateral *c, const struct item *item, const char *path, struct err *err)
{
    struct buf raw;
    bool ok;

    if (!item->crl) {
        return text_read_file(item_buf(c, item), path, err);
    }
    buf_init(&raw, COLLATERAL_ITEM_BYTES_MAX);
    ok = text_read_file(&raw, path, err) && collateral_set_crl(item_buf(c, item), raw.data, raw.len, err);
    buf_free(&raw);
    return ok;
}

bool collateral_load_folder(struct collateral *c, const char *path, struct err *err)
{
    char file[PATH_BYTES];
    size_t found = 0;
    const char *missing = NULL;

    collateral_free(c);
    for (size_t i = 0; i < ITEMS; i++) {
        if (snprintf(file, sizeof file, "%s/%s", path, items[i].name) >= (int)sizeof file) {
            return err_set(err, ERR_INVALID, "the folder's path is too long");
        }
        if (access(file, F_OK) != 0) {
            missing = items[i].optional ? missing : items[i].name;
            continue;
        }
        found++;
        if (!load_item(c, &items[i], file, err)) {
            collateral_free(c);
            return err_context(err, "%s", items[i].name);
        }
    }
    if (missing == NULL) {
        return true;
    }
    collateral_free(c);
    return found == 0 ? err_set(err, ERR_NOT_FOUND, "the folder has no collateral")
                      : err_set(err, ERR_INVALID, "the folder's collateral lacks %s", missing);
}

bool collateral_save_folder(const struct collateral *c, const char *path, struct err *err)
{
    char file[PATH_BYTES];
    for (size_t i = 0; i < ITEMS; i++) {
        const struct buf *data = item_buf((struct collateral *)(uintptr_t)c, &items[i]);
        if (snprintf(file, sizeof file, "%s/%s", path, items[i].name) >= (int)sizeof file) {
            return err_set(err, ERR_INVALID, "the folder's path is too long");
        }
        if (data->len == 0) {
            unlink(file); /* what is not in this set must not be taken for part of it */
        } else if (!text_write_file_atomic(file, data->data, data->len, err)) {
            return false;
        }
    }
    return true;
}

/* "tcb_info" (the signed object as text) and "tcb_info_signature" as the answer that Intel gives. */
static bool read_signed(struct buf *out, const struct json_doc *doc, const char *member,
                        const char *signature_member, const char *name, struct err *err)
{
    struct buf value, signature;
    bool ok = false;

    buf_init(&value, COLLATERAL_ITEM_BYTES_MAX);
    buf_init(&signature, 2 * P256_SIGNATURE_BYTES);
    const struct json_node *root = json_root(doc), *node = json_member(doc, root, member);
    bool object = node != NULL && node->type == JSON_OBJECT;
    if (object) {
        buf_append(&value, doc->text + node->start, node->end - node->start);
    }
    if ((!object && !json_string_get(doc, node, &value)) ||
        !json_string_get(doc, json_member(doc, root, signature_member), &signature)) {
        err_set(err, value.failed || signature.failed ? ERR_MEMORY : ERR_INVALID,
                "%s or %s is missing or no text", member, signature_member);
        goto out;
    }
    buf_appendf(out, "{\"%s\":", name);
    buf_append(out, value.data, value.len);
    buf_append_str(out, ",\"signature\":");
    json_append_string(out, (const char *)signature.data, signature.len);
    buf_append_byte(out, '}');
    ok = buf_check(out, member, err);
out:
    buf_free(&value);
    buf_free(&signature);
    return ok;
}

static bool read_text(struct buf *out, const struct json_doc *doc, const char *member, bool optional,
                      struct err *err)
{
    const struct json_node *node = json_present(doc, json_root(doc), member);
    if (node == NULL && optional) {
        return true;
    }
    return json_string_get(doc, node, out) ||
           err_set(err, out->failed ? ERR_MEMORY : ERR_INVALID, "%s is missing or no text", member);
}

static bool read_crl(struct buf *out, const struct json_doc *doc, const char *member, struct err *err)
{
    struct buf text;
    bool ok;
    buf_init(&text, COLLATERAL_ITEM_BYTES_MAX);
    ok = read_text(&text, doc, member, false, err) && collateral_set_crl(out, text.data, text.len, err);
    buf_free(&text);
    return ok;
}

bool collateral_parse_json(struct collateral *c, const char *text, size_t len, struct err *err)
{
    struct json_doc doc;
    bool ok = false;

    collateral_free(c);
    json_doc_init(&doc);
    if (json_parse(&doc, text, len, SIGNED_JSON_NODES, err)) {
        ok = (json_root(&doc)->type == JSON_OBJECT || err_set(err, ERR_INVALID, "is no JSON object")) &&
             read_signed(&c->tcb_info, &doc, "tcb_info", "tcb_info_signature", "tcbInfo", err) &&
             read_signed(&c->qe_identity, &doc, "qe_identity", "qe_identity_signature", "enclaveIdentity",
                         err) &&
             read_text(&c->tcb_info_chain, &doc, "tcb_info_issuer_chain", false, err) &&
             read_text(&c->qe_identity_chain, &doc, "qe_identity_issuer_chain", false, err) &&
             read_text(&c->pck_crl_chain, &doc, "pck_crl_issuer_chain", true, err) &&
             read_crl(&c->pck_crl, &doc, "pck_crl", err) && read_crl(&c->root_crl, &doc, "root_ca_crl", err);
    }
    json_doc_free(&doc);
    if (!ok) {
        collateral_free(c);
        err_context(err, "collateral");
    }
    return ok;
}

bool collateral_key_of_quote(struct collateral_key *out, const uint8_t *quote, size_t len, struct err *err)
{
    struct quote q;
    struct certs certs;
    struct sgx_extension sgx;
    bool ok = false;

    memset(out, 0, sizeof *out);
    if (!quote_parse(&q, quote, len, err) || !certs_parse(&certs, q.pck_pem, q.pck_pem_len, 3, err)) {
        return false;
    }
    if (sgx_of_cert(&sgx, certs.cert[0], err)) {
        memcpy(out->fmspc, sgx.fmspc, sizeof out->fmspc);
        out->processor_ca = certs_named(certs.cert[1], PCK_PROCESSOR_CN);
        ok = true;
    }
    certs_free(&certs);
    return ok;
}

static void narrow(int64_t *from, int64_t *until, int64_t begin, int64_t end)
{
    *from = begin > *from ? begin : *from;
    *until = end < *until ? end : *until;
}

static bool narrow_by_crl(int64_t *from, int64_t *until, const struct buf *der, struct err *err)
{
    struct certs_crl crl;
    if (!certs_crl_parse(&crl, der->data, der->len, err)) {
        return err_context(err, "CRL");
    }
    narrow(from, until, crl.from, crl.until);
    certs_crl_free(&crl);
    return true;
}

static bool narrow_by_json(int64_t *from, int64_t *until, const struct buf *text, const char *name,
                           struct err *err)
{
    struct signed_json json;
    int64_t begin, end;
    bool ok = false;

    if (!signed_json_parse(&json, (const char *)text->data, text->len, name, err)) {
        return err_context(err, "%s", name);
    }
    if (signed_json_date(&json.doc, json.value, "issueDate", &begin, NULL, err) &&
        signed_json_date(&json.doc, json.value, "nextUpdate", &end, NULL, err)) {
        narrow(from, until, begin, end);
        ok = true;
    }
    signed_json_free(&json);
    return ok;
}

bool collateral_validity(const struct collateral *c, int64_t *from, int64_t *until, struct err *err)
{
    int64_t begin = INT64_MIN, end = INT64_MAX;
    *from = *until = 0;
    if (!narrow_by_crl(&begin, &end, &c->root_crl, err) || !narrow_by_crl(&begin, &end, &c->pck_crl, err) ||
        !narrow_by_json(&begin, &end, &c->tcb_info, "tcbInfo", err) ||
        !narrow_by_json(&begin, &end, &c->qe_identity, "enclaveIdentity", err)) {
        return false;
    }
    *from = begin;
    *until = end;
    return true;
}
