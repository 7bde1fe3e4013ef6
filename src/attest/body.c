#include "attest/body.h"

#include <string.h>

#include "attest/body_value.h"
#include "base/hex.h"
#include "base/limits.h"
#include "base/mem.h"
#include "json/json.h"

/* ACI names of the algorithms whose keys are ours: protocol.md section 1, "Fallback for ACI". */
#define ACI_LEGACY_ALGO "ecdsa"
#define ACI_ALGO "secp256k1-aes-256-gcm-hkdf-sha256"

/* The first quote that is there; a second one under another name must be the same. */
static bool read_quote(struct attest_body *b, const struct json_doc *doc, const struct json_node *node,
                       struct err *err)
{
    struct buf other;
    bool ok;

    if (node == NULL) {
        return true;
    }
    if (b->quote.len == 0) {
        return body_value_quote(&b->quote, doc, node, err);
    }
    buf_init(&other, BODY_QUOTE_TEXT_BYTES);
    ok = body_value_quote(&other, doc, node, err);
    if (ok && (other.len != b->quote.len || memcmp(other.data, b->quote.data, other.len) != 0)) {
        ok = err_set(err, ERR_INVALID, "the body holds two different quotes");
    }
    buf_free(&other);
    return ok;
}

static bool add_key(struct attest_body *b, const struct json_doc *doc, const struct json_node *node,
                    const char *name, bool from_keyset, struct err *err)
{
    char hex[POINT_HEX_CHARS + 1];
    struct body_key key;

    if (node == NULL) {
        return true;
    }
    memset(&key, 0, sizeof key);
    if (!json_string_copy(doc, node, hex, sizeof hex) || !point_from_hex(key.point, hex, strlen(hex), err)) {
        return err_set(err, ERR_INVALID, "%s is no secp256k1 point of 128 or 130 hex digits", name);
    }
    bool bare = strlen(hex) == POINT_HEX_CHARS - 2;
    memcpy(key.hex, "04", 2);
    memcpy(key.hex + (bare ? 2 : 0), hex, strlen(hex) + 1);
    key.from_keyset = from_keyset;
    for (size_t i = 0; i < b->key_count; i++) {
        if (memcmp(b->keys[i].point, key.point, POINT_BYTES) == 0) {
            return true;
        }
    }
    if (b->key_count == BODY_KEYS_MAX) {
        return err_set(err, ERR_INVALID, "more than %d different keys", BODY_KEYS_MAX);
    }
    b->keys[b->key_count++] = key;
    return true;
}

static bool read_time(int64_t *out, const struct json_doc *doc, const struct json_node *node,
                      const char *name, struct err *err)
{
    uint64_t value;
    *out = 0;
    if (node == NULL) {
        return true;
    }
    if (!json_u64(doc, node, &value) || value > INT64_MAX) {
        return err_set(err, ERR_INVALID, "%s is no time in seconds", name);
    }
    *out = (int64_t)value;
    return true;
}

static bool read_keyset(struct attest_body *b, const struct json_doc *doc, const struct json_node *keyset,
                        struct err *err)
{
    const struct json_node *keys = json_present(doc, keyset, "e2ee_public_keys");
    for (const struct json_node *k = json_first(doc, keys); k != NULL; k = json_next(doc, k)) {
        const struct json_node *algo = json_member(doc, k, "algo");
        if ((json_string_is(doc, algo, ACI_ALGO) || json_string_is(doc, algo, ACI_LEGACY_ALGO)) &&
            !add_key(b, doc, json_present(doc, k, "public_key"), "a key of the keyset", true, err)) {
            return false;
        }
    }
    return read_time(&b->keyset_not_after, doc,
                     json_present(doc, json_present(doc, keyset, "keyset_epoch"), "not_after"),
                     "keyset_epoch.not_after", err);
}

static bool read_optional_text(struct buf *out, const struct json_doc *doc, const struct json_node *node,
                               const char *name, struct err *err)
{
    return node == NULL || out->len > 0 || body_value_text(out, doc, node, name, err);
}

static bool read_aci(struct attest_body *b, const struct json_doc *doc, const struct json_node *attestation,
                     struct err *err)
{
    struct body_value evidence;
    bool ok = false;

    body_value_init(&evidence);
    const struct json_node *fresh = json_present(doc, attestation, "freshness");
    if (!body_value_object(&evidence, doc, json_present(doc, attestation, "evidence"), "attestation.evidence",
                           err) ||
        !read_keyset(b, doc, json_present(doc, attestation, "workload_keyset"), err) ||
        !read_time(&b->fetched_at, doc, json_present(doc, fresh, "fetched_at"), "freshness.fetched_at",
                   err) ||
        !read_time(&b->stale_after, doc, json_present(doc, fresh, "stale_after"), "freshness.stale_after",
                   err)) {
        goto out;
    }
    const struct json_doc *d = evidence.doc;
    const struct json_node *e = evidence.node;
    ok = e == NULL ||
         (read_quote(b, d, json_present(d, e, "quote"), err) &&
          read_optional_text(&b->event_log, d, json_present(d, e, "event_log"), "event_log", err) &&
          read_optional_text(&b->app_compose, d, json_present(d, e, "app_compose"), "app_compose", err) &&
          read_optional_text(&b->vm_config, d, json_present(d, e, "vm_config"), "vm_config", err));
out:
    body_value_free(&evidence);
    return ok;
}

static bool read_info(struct attest_body *b, const struct json_doc *doc, const struct json_node *root,
                      struct err *err)
{
    struct body_value info, tcb;
    bool ok = false;

    body_value_init(&info);
    body_value_init(&tcb);
    if (!body_value_object(&info, doc, json_present(doc, root, "info"), "info", err)) {
        goto out;
    }
    if (info.node != NULL &&
        (!body_value_object(&tcb, info.doc, json_present(info.doc, info.node, "tcb_info"), "info.tcb_info",
                            err) ||
         !read_optional_text(&b->vm_config, info.doc, json_present(info.doc, info.node, "vm_config"),
                             "vm_config", err))) {
        goto out;
    }
    ok = tcb.node == NULL ||
         (read_optional_text(&b->app_compose, tcb.doc, json_present(tcb.doc, tcb.node, "app_compose"),
                             "app_compose", err) &&
          read_optional_text(&b->event_log, tcb.doc, json_present(tcb.doc, tcb.node, "event_log"),
                             "event_log", err));
out:
    body_value_free(&info);
    body_value_free(&tcb);
    return ok;
}

static bool read_nonce(struct attest_body *b, const struct json_doc *doc, const struct json_node *node,
                       struct err *err)
{
    char hex[2 * BODY_NONCE_BYTES + 1];
    if (node == NULL) {
        return true;
    }
    if (!json_string_copy(doc, node, hex, sizeof hex) || strlen(hex) != sizeof hex - 1 ||
        !hex_decode(b->nonces[b->nonce_count], hex, sizeof hex - 1)) {
        return err_set(err, ERR_INVALID, "the nonce is not %d hex digits", 2 * BODY_NONCE_BYTES);
    }
    b->nonce_count++;
    return true;
}

static bool read_address(struct attest_body *b, const struct json_doc *doc, const struct json_node *node,
                         struct err *err)
{
    char hex[2 + 2 * ETH_ADDRESS_BYTES + 1];
    if (node == NULL) {
        return true;
    }
    if (json_string_copy(doc, node, hex, sizeof hex)) {
        size_t skip = hex[0] == '0' && (hex[1] == 'x' || hex[1] == 'X') ? 2 : 0;
        if (strlen(hex) - skip == sizeof b->address * 2 &&
            hex_decode(b->address, hex + skip, sizeof b->address * 2)) {
            b->has_address = true;
            return true;
        }
    }
    return err_set(err, ERR_INVALID, "signing_address is no address of 40 hex digits");
}

static bool read_claims(struct attest_body *b, const struct json_doc *doc, const struct json_node *root,
                        struct err *err)
{
    const struct json_node *verified = json_present(doc, root, "verified"),
                           *model = json_present(doc, root, "model"),
                           *algo = json_present(doc, root, "signing_algo");
    b->has_verified = verified != NULL;
    if (verified != NULL && !json_bool(verified, &b->verified)) {
        return err_set(err, ERR_INVALID, "verified is neither true nor false");
    }
    b->has_model = model != NULL;
    if (model != NULL && !json_string_copy(doc, model, b->model, sizeof b->model)) {
        return err_set(err, ERR_INVALID, "model is no text, or longer than any model's id");
    }
    b->has_algo = algo != NULL;
    b->ecdsa = algo != NULL && json_string_is(doc, algo, "ecdsa");
    return true;
}

static enum body_shape shape_of(const struct json_doc *doc, const struct json_node *root)
{
    const struct json_node *attestation = json_present(doc, root, "attestation");
    if (json_string_is(doc, json_member(doc, root, "api_version"), "aci/1") ||
        json_present(doc, attestation, "evidence") != NULL) {
        return BODY_ACI;
    }
    if (json_present(doc, root, "quote") != NULL && json_present(doc, root, "vm_config") != NULL) {
        return BODY_PHALA;
    }
    return json_present(doc, root, "model_name") != NULL ||
                   json_present(doc, root, "ohttp_attestation") != NULL
               ? BODY_NEAR
               : BODY_UNKNOWN;
}

static bool read_body(struct attest_body *b, const struct json_doc *doc, struct err *err)
{
    const struct json_node *root = json_root(doc);
    if (root->type != JSON_OBJECT) {
        return err_set(err, ERR_INVALID, "the body is no JSON object");
    }
    if (json_member(doc, root, "_client_nonce") != NULL && json_present(doc, root, "attestation") != NULL) {
        root = json_present(doc, root, "attestation");
    }
    b->shape = shape_of(doc, root);
    if (!read_claims(b, doc, root, err) ||
        !add_key(b, doc, json_present(doc, root, "signing_public_key"), "signing_public_key", false, err) ||
        !add_key(b, doc, json_present(doc, root, "signing_key"), "signing_key", false, err) ||
        !read_address(b, doc, json_present(doc, root, "signing_address"), err) ||
        !read_nonce(b, doc, json_present(doc, root, "nonce"), err) ||
        !read_nonce(b, doc, json_present(doc, root, "request_nonce"), err) ||
        !read_quote(b, doc, json_present(doc, root, "intel_quote"), err) ||
        !read_quote(b, doc, json_present(doc, root, "quote"), err) ||
        !read_optional_text(&b->event_log, doc, json_present(doc, root, "event_log"), "event_log", err) ||
        !read_optional_text(&b->vm_config, doc, json_present(doc, root, "vm_config"), "vm_config", err) ||
        !read_optional_text(&b->nvidia_payload, doc, json_present(doc, root, "nvidia_payload"),
                            "nvidia_payload", err)) {
        return false;
    }
    if (b->shape == BODY_ACI && !read_aci(b, doc, json_present(doc, root, "attestation"), err)) {
        return false;
    }
    return read_info(b, doc, root, err) &&
           (b->quote.len > 0 || err_set(err, ERR_INVALID, "the body has no quote"));
}

void body_init(struct attest_body *body)
{
    memset(body, 0, sizeof *body);
    buf_init(&body->quote, BODY_QUOTE_TEXT_BYTES);
    buf_init(&body->event_log, LIMIT_ATTESTATION_BYTES);
    buf_init(&body->app_compose, LIMIT_ATTESTATION_BYTES);
    buf_init(&body->nvidia_payload, LIMIT_ATTESTATION_BYTES);
    buf_init(&body->vm_config, LIMIT_ATTESTATION_BYTES);
}

void body_free(struct attest_body *body)
{
    buf_free(&body->quote);
    buf_free(&body->event_log);
    buf_free(&body->app_compose);
    buf_free(&body->nvidia_payload);
    buf_free(&body->vm_config);
    body_init(body);
}

bool body_parse(struct attest_body *body, const char *text, size_t len, struct err *err)
{
    struct json_doc doc;
    bool ok = false;

    body_free(body);
    if (len > LIMIT_ATTESTATION_BYTES) {
        return err_set(err, ERR_TOO_LARGE, "attestation body has %zu bytes, more than %d", len,
                       LIMIT_ATTESTATION_BYTES);
    }
    json_doc_init(&doc);
    if (json_parse(&doc, text, len, LIMIT_JSON_NODES, err)) {
        ok = read_body(body, &doc, err);
    }
    json_doc_free(&doc);
    if (!ok) {
        body_free(body);
        err_context(err, "attestation body");
    }
    return ok;
}

const char *body_shape_name(enum body_shape shape)
{
    static const char *const names[] = {"unrecognised", "NEAR", "old Phala", "ACI"};
    return (unsigned)shape <= BODY_ACI ? names[shape] : names[0];
}
