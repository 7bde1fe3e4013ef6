#include "attest/jwt.h"

#include <string.h>

#include "base/hex.h"
#include "base/limits.h"
#include "base/mem.h"

#define HEADER_BYTES_MAX 4096
#define COORDINATE_BYTES (P384_KEY_BYTES / 2)

static bool is_fatal(const struct err *err)
{
    return err->kind == ERR_MEMORY || err->kind == ERR_CRYPTO || err->kind == ERR_INTERNAL;
}

/* RFC 7515 section 2: base64url without padding. */
static bool decode(uint8_t *out, size_t cap, size_t *len, const char *text, size_t text_len)
{
    *len = 0;
    return text_len > 0 && memchr(text, '=', text_len) == NULL &&
           base64_decode(out, cap, len, text, text_len, true);
}

/* A coordinate of a point: exactly as many bytes as the curve's (RFC 7518 section 6.2.1.2). */
static bool read_coordinate(uint8_t out[static COORDINATE_BYTES], const struct json_doc *doc,
                            const struct json_node *key, const char *name)
{
    char text[COORDINATE_BYTES * 2];
    uint8_t bytes[BASE64_DECODED_MAX(sizeof text)];
    size_t len;
    if (!json_string_copy(doc, json_present(doc, key, name), text, sizeof text) ||
        !decode(bytes, sizeof bytes, &len, text, strlen(text)) || len != COORDINATE_BYTES) {
        return false;
    }
    memcpy(out, bytes, COORDINATE_BYTES);
    return true;
}

/* *is_ours false: a key of another kind, which is left out. */
static bool read_key(struct jwks_key *out, const struct json_doc *doc, const struct json_node *key,
                     bool *is_ours, struct err *err)
{
    const struct json_node *use = json_present(doc, key, "use"), *alg = json_present(doc, key, "alg");
    *is_ours = false;
    if (key->type != JSON_OBJECT) {
        return err_set(err, ERR_INVALID, "the key set holds something that is no key");
    }
    if (!json_string_is(doc, json_present(doc, key, "kty"), "EC") ||
        !json_string_is(doc, json_present(doc, key, "crv"), "P-384") ||
        (use != NULL && !json_string_is(doc, use, "sig")) ||
        (alg != NULL && !json_string_is(doc, alg, "ES384"))) {
        return true;
    }
    if (!json_string_copy(doc, json_present(doc, key, "kid"), out->kid, sizeof out->kid) ||
        out->kid[0] == '\0' || !read_coordinate(out->key, doc, key, "x") ||
        !read_coordinate(out->key + COORDINATE_BYTES, doc, key, "y")) {
        return err_set(err, ERR_INVALID, "a P-384 key of the set is malformed");
    }
    *is_ours = true;
    return true;
}

static const struct jwks_key *find_key(const struct jwks *set, const char *kid)
{
    for (size_t i = 0; i < set->count; i++) {
        if (strcmp(set->keys[i].kid, kid) == 0) {
            return &set->keys[i];
        }
    }
    return NULL;
}

static bool read_keys(struct jwks *out, const struct json_doc *doc, struct err *err)
{
    const struct json_node *keys = json_present(doc, json_root(doc), "keys");
    if (keys == NULL || keys->type != JSON_ARRAY || keys->count == 0 || keys->count > JWKS_KEYS_MAX) {
        return err_set(err, ERR_INVALID, "the key set has no list of keys, or too many");
    }
    out->keys = mem_calloc(keys->count, sizeof *out->keys);
    if (out->keys == NULL) {
        return err_set(err, ERR_MEMORY, "no memory for a key set");
    }
    for (const struct json_node *n = json_first(doc, keys); n != NULL; n = json_next(doc, n)) {
        struct jwks_key *key = &out->keys[out->count];
        bool is_ours;
        if (!read_key(key, doc, n, &is_ours, err)) {
            return false;
        }
        if (is_ours && find_key(out, key->kid) != NULL) {
            return err_set(err, ERR_INVALID, "two keys of the set have one name");
        }
        out->count += is_ours;
    }
    return true;
}

bool jwks_parse(struct jwks *out, const char *text, size_t len, struct err *err)
{
    struct json_doc doc;
    *out = (struct jwks){NULL, 0};
    if (len > JWKS_BYTES_MAX) {
        return err_set(err, ERR_INVALID, "the key set has %zu bytes", len);
    }
    json_doc_init(&doc);
    bool ok = json_parse(&doc, text, len, LIMIT_JSON_NODES, err) && read_keys(out, &doc, err);
    json_doc_free(&doc);
    if (!ok) {
        jwks_free(out);
    }
    return ok;
}

void jwks_free(struct jwks *set)
{
    mem_free(set->keys);
    *set = (struct jwks){NULL, 0};
}

void jwt_init(struct jwt *t)
{
    buf_init(&t->text, BASE64_DECODED_MAX(JWT_BYTES_MAX));
    json_doc_init(&t->claims);
}

void jwt_free(struct jwt *t)
{
    json_doc_free(&t->claims);
    buf_free(&t->text);
}

/* Which key the header names. Nothing of it is authenticated yet: it can only pick one of the set's. */
static bool read_header(const struct jwks_key **key, const char *text, size_t len, const struct jwks *set,
                        struct err *err)
{
    uint8_t json[HEADER_BYTES_MAX];
    char kid[JWT_KID_BYTES];
    struct json_doc doc;
    size_t json_len;
    bool ok = false;

    if (len > sizeof json || !decode(json, sizeof json, &json_len, text, len)) {
        return err_set(err, ERR_INVALID, "the token's header is no base64url, or a long one");
    }
    json_doc_init(&doc);
    if (!json_parse(&doc, (const char *)json, json_len, LIMIT_JSON_NODES, err)) {
        goto out;
    }
    const struct json_node *root = json_root(&doc);
    if (!json_string_is(&doc, json_member(&doc, root, "alg"), "ES384")) {
        err_set(err, ERR_INVALID, "the token is not signed with ES384");
    } else if (json_member(&doc, root, "crit") != NULL || json_member(&doc, root, "b64") != NULL) {
        err_set(err, ERR_INVALID, "the token's header wants extensions");
    } else if (!json_string_copy(&doc, json_member(&doc, root, "kid"), kid, sizeof kid) ||
               (*key = find_key(set, kid)) == NULL) {
        err_set(err, ERR_INVALID, "the token is signed with a key that is not in the set");
    } else {
        ok = true;
    }
out:
    json_doc_free(&doc);
    return ok;
}

static bool read_claims(struct jwt *t, const char *text, size_t len, struct err *err)
{
    if (!buf_reserve(&t->text, BASE64_DECODED_MAX(len))) {
        return err_set(err, ERR_MEMORY, "no memory for a token");
    }
    if (!decode(t->text.data, t->text.cap, &t->text.len, text, len)) {
        return err_set(err, ERR_INVALID, "the token's claims are no base64url");
    }
    if (!json_parse(&t->claims, (const char *)t->text.data, t->text.len, LIMIT_JSON_NODES, err)) {
        return err_context(err, "the token's claims");
    }
    return json_root(&t->claims)->type == JSON_OBJECT ||
           err_set(err, ERR_INVALID, "the token's claims are no JSON object");
}

static bool verify(struct jwt *t, const char *text, size_t len, const struct jwks *set, struct err *err)
{
    uint8_t signature[BASE64_DECODED_MAX(2 * P384_SIGNATURE_BYTES)];
    const struct jwks_key *key = NULL;
    size_t signature_len;
    bool valid;

    const char *first =
        len > 0 && len <= JWT_BYTES_MAX ? memchr(text, '.', len) : NULL; /* empty text may be NULL */
    const char *second = first != NULL ? memchr(first + 1, '.', len - (size_t)(first + 1 - text)) : NULL;
    if (second == NULL) {
        return err_set(err, ERR_INVALID, "the token has no three parts, or is too long");
    }
    size_t last = len - (size_t)(second + 1 - text);
    if (!read_header(&key, text, (size_t)(first - text), set, err)) {
        return false;
    }
    if (last > 2 * P384_SIGNATURE_BYTES ||
        !decode(signature, sizeof signature, &signature_len, second + 1, last) ||
        signature_len != P384_SIGNATURE_BYTES) {
        return err_set(err, ERR_INVALID, "the token's signature is not %d bytes", P384_SIGNATURE_BYTES);
    }
    if (!ecdsa_verify(ECDSA_P384, &valid, key->key, signature, text, (size_t)(second - text), err)) {
        return false;
    }
    return valid ? read_claims(t, first + 1, (size_t)(second - first - 1), err)
                 : err_set(err, ERR_INVALID, "the token's signature does not hold");
}

bool jwt_verify(struct jwt *t, const char *text, size_t len, const struct jwks *set, struct err *err)
{
    struct err why = {0};
    jwt_free(t);
    jwt_init(t);
    if (verify(t, text, len, set, &why)) {
        return true;
    }
    jwt_free(t);
    jwt_init(t);
    return err_set(err, is_fatal(&why) ? why.kind : ERR_INVALID, "%s", why.message);
}
