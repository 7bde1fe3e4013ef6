#include "attest/signature.h"

#include <string.h>

#include "base/hex.h"
#include "base/limits.h"
#include "json/json.h"

#define HASH_CHARS (2 * SHA256_BYTES)
#define RECOVERABLE_BYTES 65 /* r || s || v */

/* "0x" in front is what servers write; neither it nor the digits' case means anything. */
static bool read_hex(const struct json_doc *doc, const char *name, uint8_t *out, size_t bytes,
                     struct err *err)
{
    char text[2 * RECOVERABLE_BYTES + 3];
    const char *digits = text;
    if (!json_string_copy(doc, json_present(doc, json_root(doc), name), text, sizeof text)) {
        return err_set(err, ERR_INVALID, "%s is no string, or a long one", name);
    }
    if (strncmp(text, "0x", 2) == 0) {
        digits += 2;
    }
    if (strlen(digits) != 2 * bytes || !hex_decode(out, digits, 2 * bytes)) {
        return err_set(err, ERR_INVALID, "%s is not %zu bytes in hex", name, bytes);
    }
    return true;
}

/* The hash that ends text[0..*len), which is cut by it. */
static bool take_hash(uint8_t hash[static SHA256_BYTES], const char *text, size_t *len)
{
    if (*len < HASH_CHARS || !hex_decode(hash, text + *len - HASH_CHARS, HASH_CHARS)) {
        return false;
    }
    *len -= HASH_CHARS;
    return true;
}

/* From the right: a model's name may hold colons, slashes and dots (docs/PROTOCOL.md section 4). */
static bool read_text(struct signature_result *r, const char *text, struct err *err)
{
    size_t len = strlen(text);
    bool ok = take_hash(r->response_hash, text, &len);
    r->form = SIGNATURE_SINGLE;
    if (ok && len > 0) {
        r->form = SIGNATURE_PAIR;
        ok = text[--len] == ':' && take_hash(r->request_hash, text, &len);
    }
    if (ok && len > 0) {
        r->form = SIGNATURE_MODEL_PAIR;
        ok = len > 1 && text[len - 1] == ':';
    }
    return ok || err_set(err, ERR_INVALID, "the signed text is not made of hashes");
}

static bool check(struct signature_result *r, const struct json_doc *doc, const char *id,
                  const uint8_t address[static ETH_ADDRESS_BYTES], struct err *err)
{
    char text[SIGNATURE_TEXT_BYTES_MAX];
    uint8_t signature[RECOVERABLE_BYTES], claimed[ETH_ADDRESS_BYTES];
    const struct json_node *root = json_root(doc);
    const struct json_node *algorithm = json_present(doc, root, "signing_algo");
    const struct json_node *answered = json_present(doc, root, "requested_request_id");

    if (root->type != JSON_OBJECT) {
        return err_set(err, ERR_INVALID, "it is no JSON object");
    }
    if (algorithm != NULL && !json_string_is(doc, algorithm, "ecdsa")) {
        return err_set(err, ERR_INVALID, "signing_algo is not ecdsa");
    }
    if (answered != NULL && !json_string_is(doc, answered, id)) {
        return err_set(err, ERR_INVALID, "it is about another answer");
    }
    if (!json_string_copy(doc, json_present(doc, root, "text"), text, sizeof text)) {
        return err_set(err, ERR_INVALID, "text is no string, or a long one");
    }
    if (!read_text(r, text, err) || !read_hex(doc, "signature", signature, sizeof signature, err) ||
        !read_hex(doc, "signing_address", claimed, sizeof claimed, err) ||
        !point_recover_eip191(r->signer, text, strlen(text), signature, err)) {
        return false;
    }
    if (memcmp(r->signer, claimed, sizeof claimed) != 0) {
        return err_set(err, ERR_ATTESTATION, "it names another signer than the one who signed");
    }
    if (memcmp(r->signer, address, ETH_ADDRESS_BYTES) != 0) {
        return err_set(err, ERR_ATTESTATION, "signed by another key than the attested one");
    }
    r->has_receipt = json_present(doc, root, "receipt") != NULL;
    return true;
}

bool signature_check(struct signature_result *out, const char *body, size_t len, const char *id,
                     const uint8_t address[static ETH_ADDRESS_BYTES], struct err *err)
{
    struct json_doc doc;
    *out = (struct signature_result){.form = SIGNATURE_SINGLE};
    if (len > SIGNATURE_BODY_BYTES_MAX) {
        return err_set(err, ERR_INVALID, "it is longer than %d bytes", SIGNATURE_BODY_BYTES_MAX);
    }
    json_doc_init(&doc);
    bool ok = json_parse(&doc, body, len, LIMIT_JSON_NODES, err) && check(out, &doc, id, address, err);
    json_doc_free(&doc);
    if (!ok) {
        *out = (struct signature_result){.form = SIGNATURE_SINGLE};
    }
    return ok;
}

const char *signature_meaning(const struct signature_result *r)
{
    return r->form == SIGNATURE_SINGLE
               ? "the attested key signed one hash that the provider files under this answer; of which bytes "
                 "cannot be told here, so it proves nothing about the text"
               : "the attested key signed hashes that the provider files under this answer; they are of "
                 "bytes "
                 "that the provider rewrote on the way, so they prove nothing about the text";
}
