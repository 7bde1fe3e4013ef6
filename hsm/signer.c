#include "hsm/signer.h"

#include <stdio.h>
#include <string.h>

#include "base/hex.h"
#include "base/log.h"
#include "hsm/audit.h"
#include "hsm/ckr.h"

#define VALUE_BYTES_MAX 1024 /* a modulus, a point, an id, a label */
#define MATCHES_MAX 8

static CK_RV get(const struct signer *s, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type,
                 uint8_t value[static VALUE_BYTES_MAX], size_t *len)
{
    *len = VALUE_BYTES_MAX;
    return module_get_attribute(s->token.module, s->token.session, object, type, value, len);
}

/* 1, 0, or -1 for what the token does not tell. */
static int flag(const struct signer *s, CK_ATTRIBUTE_TYPE type)
{
    uint8_t value[VALUE_BYTES_MAX];
    size_t len;
    CK_RV rv = get(s, s->key, type, value, &len);
    return rv == CKR_OK && len == 1 ? value[0] != CK_FALSE : -1;
}

static CK_RV find(const struct signer *s, CK_OBJECT_CLASS class, const CK_ATTRIBUTE *id,
                  const CK_ATTRIBUTE *label, CK_OBJECT_HANDLE *found, size_t *count)
{
    CK_ATTRIBUTE wanted[3] = {{CKA_CLASS, &class, sizeof class}};
    CK_ULONG n = 1;
    if (id != NULL) {
        wanted[n++] = *id;
    }
    if (label != NULL) {
        wanted[n++] = *label;
    }
    return module_find(s->token.module, s->token.session, wanted, n, found, MATCHES_MAX, count);
}

static bool label_is_ours(const uint8_t *label, size_t len)
{
    return len >= sizeof INSTANCE_PREFIX - 1 &&
           memcmp(label, INSTANCE_PREFIX, sizeof INSTANCE_PREFIX - 1) == 0;
}

static bool refuse_label(struct err *err)
{
    return err_set(err, ERR_CONFIG,
                   "the key's label begins with \"" INSTANCE_PREFIX
                   "\", as those of keys that the keyholder makes "
                   "and destroys: give it another one");
}

static bool find_key(struct signer *s, struct err *err)
{
    CK_OBJECT_HANDLE found[MATCHES_MAX];
    uint8_t label[VALUE_BYTES_MAX];
    size_t count, len;
    const struct uri *uri = s->token.uri;
    CK_RV rv =
        find(s, CKO_PRIVATE_KEY, uri_attribute(uri, CKA_ID), uri_attribute(uri, CKA_LABEL), found, &count);
    if (rv != CKR_OK) {
        return ckr_fail(err, rv, "looking for the key");
    }
    if (count != 1) {
        return err_set(err, ERR_CONFIG, "\"%s\" has %s private key that the URI names%s",
                       s->token.found.label, count == 0 ? "no" : "more than one",
                       count == 0 ? "" : ": name it by id=%…, or give each its own object=");
    }
    s->key = found[0];
    rv = get(s, s->key, CKA_LABEL, label, &len);
    return rv != CKR_OK || !label_is_ours(label, len) || refuse_label(err);
}

/* A private part that can be read signs for whoever has read it. */
static bool readable(const struct signer *s, CK_ATTRIBUTE_TYPE type)
{
    struct secret value = SECRET_EMPTY;
    struct err ignored;
    if (!secret_new(&value, VALUE_BYTES_MAX, &ignored)) {
        return true; /* cannot tell: refuse */
    }
    size_t len = value.len;
    CK_RV rv = module_get_attribute(s->token.module, s->token.session, s->key, type, value.data, &len);
    secret_free(&value);
    return rv == CKR_BUFFER_TOO_SMALL || (rv == CKR_OK && len > 0);
}

static bool judge_key(const struct signer *s, CK_KEY_TYPE type, struct err *err)
{
    if (flag(s, CKA_SIGN) == 0) {
        return err_set(err, ERR_CONFIG, "the key may not sign: its CKA_SIGN is false");
    }
    if (flag(s, CKA_ALWAYS_AUTHENTICATE) == 1) {
        return err_set(err, ERR_CONFIG, "the key wants the PIN at each use (CKA_ALWAYS_AUTHENTICATE)");
    }
    if (readable(s, type == CKK_RSA ? CKA_PRIVATE_EXPONENT : CKA_VALUE)) {
        return err_set(err, ERR_CONFIG, "the key can be read out of its token: what it signs proves nothing");
    }
    if (flag(s, CKA_SENSITIVE) != 1 || flag(s, CKA_EXTRACTABLE) == 1) {
        log_warn("the audit key is not called CKA_SENSITIVE, or may be wrapped out of its token "
                 "(CKA_EXTRACTABLE): it proves as much as whoever could do that is trusted");
    }
    return true;
}

/* The public half: of the same id, and where there is none of the same label. */
static bool find_public(const struct signer *s, CK_OBJECT_HANDLE *out, struct err *err)
{
    uint8_t value[VALUE_BYTES_MAX];
    CK_OBJECT_HANDLE found[MATCHES_MAX];
    size_t len, count = 0;
    CK_ATTRIBUTE name = {CKA_ID, value, 0};
    CK_RV rv = get(s, s->key, CKA_ID, value, &len);
    if (rv != CKR_OK || len == 0) {
        rv = get(s, s->key, CKA_LABEL, value, &len);
        name.type = CKA_LABEL;
    }
    name.ulValueLen = len;
    if (rv == CKR_OK && len > 0) {
        rv = find(s, CKO_PUBLIC_KEY, &name, NULL, found, &count);
    }
    if (rv != CKR_OK && ckr_is_loss(rv)) {
        return ckr_fail(err, rv, "looking for the public key");
    }
    *out = count > 0 ? found[0] : CK_INVALID_HANDLE;
    return count > 0 || err_set(err, ERR_CONFIG,
                                "the key's public half is not in the token: it must be, with the same id");
}

/* Two attributes of the public half, as the type of key wants. */
static bool read_public(struct signer *s, CK_KEY_TYPE type, struct signature_key **out, struct err *err)
{
    uint8_t first[VALUE_BYTES_MAX], second[VALUE_BYTES_MAX];
    size_t first_len, second_len;
    CK_OBJECT_HANDLE object = CK_INVALID_HANDLE;
    bool rsa = type == CKK_RSA;
    if (!find_public(s, &object, err)) {
        return false;
    }
    CK_RV rv = get(s, object, rsa ? CKA_MODULUS : CKA_EC_PARAMS, first, &first_len);
    rv = rv == CKR_OK ? get(s, object, rsa ? CKA_PUBLIC_EXPONENT : CKA_EC_POINT, second, &second_len) : rv;
    if (rv != CKR_OK) {
        return ckr_fail(err, rv, "reading the public key");
    }
    *out = rsa ? signature_key_rsa(first, first_len, second, second_len, err)
               : signature_key_ec(first, first_len, second, second_len, err);
    if (*out == NULL && err->kind != ERR_MEMORY) {
        err->kind = ERR_CONFIG;
    }
    return *out != NULL;
}

/* The key in a session that is new. Another one than at the start is none. */
static bool take_key(struct signer *s, struct err *err)
{
    uint8_t value[VALUE_BYTES_MAX];
    struct signature_key *key = NULL;
    CK_KEY_TYPE type;
    size_t len;
    if (!find_key(s, err)) {
        return false;
    }
    CK_RV rv = get(s, s->key, CKA_KEY_TYPE, value, &len);
    if (rv != CKR_OK || len != sizeof type) {
        return ckr_fail(err, rv != CKR_OK ? rv : CKR_GENERAL_ERROR, "reading the key's type");
    }
    memcpy(&type, value, sizeof type);
    if (type != CKK_EC && type != CKK_RSA) {
        return err_set(err, ERR_CONFIG, "the key is neither an EC nor an RSA one");
    }
    if (!judge_key(s, type, err) || !read_public(s, type, &key, err)) {
        return false;
    }
    bool same = s->public_key == NULL ||
                memcmp(signature_fingerprint(s->public_key), signature_fingerprint(key), SHA256_BYTES) == 0;
    if (s->public_key == NULL) {
        s->public_key = key;
    } else {
        signature_key_free(key);
    }
    return same || err_set(err, ERR_CONFIG, "the token has another key of this name now");
}

static void record(const struct signer *s)
{
    struct audit_text label, serial;
    char fingerprint[2 * SHA256_BYTES + 1];
    hex_str(fingerprint, signature_fingerprint(s->public_key), SHA256_BYTES);
    audit_event(
        "audit_key",
        ",\"token\":%s,\"serial\":%s,\"algorithm\":\"%s\",\"key\":\"%s\",\"attributes\":{\"sensitive\":%s,"
        "\"extractable\":%s,\"never_extractable\":%s,\"local\":%s}",
        audit_quote(&label, s->token.found.label), audit_quote(&serial, s->token.found.serial),
        signature_algorithm(s->public_key), fingerprint, audit_flag(flag(s, CKA_SENSITIVE)),
        audit_flag(flag(s, CKA_EXTRACTABLE)), audit_flag(flag(s, CKA_NEVER_EXTRACTABLE)),
        audit_flag(flag(s, CKA_LOCAL)));
    log_info("checkpoints of the custody log are signed by a key on \"%s\", %s, fingerprint %s",
             s->token.found.label, signature_algorithm(s->public_key), fingerprint);
}

bool signer_open(struct signer *s, const struct token_options *options, const char *uri,
                 const struct token *first, struct err *err)
{
    *s = (struct signer){.token = {.session = CK_INVALID_HANDLE}};
    if (!token_load_signing(&s->token, options, uri, first, err) || !token_login(&s->token, err) ||
        !take_key(s, err)) {
        return err_context(err, "--audit-key");
    }
    s->ended = module_sessions_ended(s->token.module, s->token.guest);
    record(s);
    return true;
}

/* Sessions that others have ended: their handles may be somebody else's by now. */
static void forget_ended(struct signer *s)
{
    unsigned ended = module_sessions_ended(s->token.module, s->token.guest);
    if (ended != s->ended) {
        s->token.session = CK_INVALID_HANDLE;
        s->ended = ended;
    }
}

static void drop_session(struct signer *s)
{
    if (s->token.session != CK_INVALID_HANDLE) {
        module_close_session(s->token.module, s->token.session);
        s->token.session = CK_INVALID_HANDLE;
    }
}

void signer_close(struct signer *s)
{
    if (s->token.module != NULL) {
        forget_ended(s);
    }
    token_close(&s->token);
    signature_key_free(s->public_key);
    s->public_key = NULL;
}

/* Within module_recovery_begin and _end. */
static bool bring_back(struct signer *s, struct err *err)
{
    if (s->token.session != CK_INVALID_HANDLE) {
        return true;
    }
    if (s->refused) {
        return err_set(err, ERR_PIN, "the PIN of \"%s\" was refused; it is not tried again",
                       s->token.found.label);
    }
    bool back = s->token.guest ? token_visit(&s->token, err) : token_recover(&s->token, s->failures > 1, err);
    s->refused = !back && err->kind == ERR_PIN;
    s->ended = module_sessions_ended(s->token.module, s->token.guest); /* by ourselves */
    if (back && !take_key(s, err)) {
        drop_session(s);
        back = false;
    }
    return back;
}

/* *again: another session may do better. */
static bool sign_once(struct signer *s, const char *text, size_t len, struct checkpoint *c, bool *again,
                      struct err *err)
{
    uint8_t input[SIGNATURE_INPUT_MAX];
    size_t input_len;
    *again = false;
    if (!bring_back(s, err) || !signature_input(s->public_key, text, len, input, &input_len, err)) {
        return false;
    }
    c->signature_len = sizeof c->signature;
    CK_RV rv = module_sign(s->token.module, s->token.session,
                           signature_is_rsa(s->public_key) ? CKM_RSA_PKCS : CKM_ECDSA, s->key, input,
                           input_len, c->signature, &c->signature_len);
    if (rv != CKR_OK) {
        *again = ckr_class(rv) == CKR_CLASS_SESSION || ckr_class(rv) == CKR_CLASS_KEY;
        if (*again || ckr_is_loss(rv)) {
            drop_session(s);
        }
        return ckr_fail(err, rv, "C_Sign");
    }
    return signature_from_token(s->public_key, c->signature, &c->signature_len, err) &&
           (signature_valid(s->public_key, text, len, c->signature, c->signature_len) ||
            err_set(err, ERR_TOKEN, "\"%s\" made a signature that is wrong", s->token.found.label));
}

bool signer_sign(void *signer, struct checkpoint *c, struct err *err)
{
    struct signer *s = signer;
    char text[CHECKPOINT_TEXT_BYTES];
    bool again;
    snprintf(c->algorithm, sizeof c->algorithm, "%s", signature_algorithm(s->public_key));
    memcpy(c->key, signature_fingerprint(s->public_key), sizeof c->key);
    size_t len = checkpoint_text(text, c);
    /* Nobody may close the slot's sessions or end the module meanwhile. */
    module_recovery_begin(s->token.module);
    forget_ended(s);
    bool ok = sign_once(s, text, len, c, &again, err);
    if (!ok && again) {
        ok = sign_once(s, text, len, c, &again, err);
    }
    module_recovery_end(s->token.module);
    s->failures = ok ? 0 : s->failures + 1;
    return ok || err_context(err, "--audit-key");
}

void signer_keep_awake(void *signer)
{
    struct signer *s = signer;
    if (s->token.guest) {
        return; /* its host does */
    }
    module_recovery_begin(s->token.module);
    forget_ended(s);
    if (s->token.session != CK_INVALID_HANDLE &&
        ckr_is_loss(module_touch(s->token.module, s->token.session, s->token.found.slot))) {
        drop_session(s);
    }
    module_recovery_end(s->token.module);
}

bool signer_spares(const char *text, uint8_t *id, size_t cap, size_t *len, struct err *err)
{
    struct uri *uri = uri_parse_object(text, err);
    *len = 0;
    if (uri == NULL) {
        return false;
    }
    const CK_ATTRIBUTE *label = uri_attribute(uri, CKA_LABEL), *wanted = uri_attribute(uri, CKA_ID);
    bool ok = label == NULL || !label_is_ours(label->pValue, label->ulValueLen) || refuse_label(err);
    if (ok && wanted != NULL) {
        ok = wanted->ulValueLen <= cap || err_set(err, ERR_CONFIG, "the id is longer than %zu bytes", cap);
        *len = ok ? wanted->ulValueLen : 0;
        memcpy(id, wanted->pValue, *len);
    }
    uri_free(uri);
    return ok;
}
