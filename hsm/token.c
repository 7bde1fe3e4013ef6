#include "hsm/token.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "hsm/audit.h"
#include "hsm/ckr.h"
#include "hsm/slot.h"

#define TAKEN "the token's sessions are taken, perhaps by a crashed process (a YubiHSM frees them after 30 s)"
#define DEFAULT_MODULE "/usr/lib/softhsm/libsofthsm2.so"

/* What the token's flags say before the first try: a wrong PIN may be the last. */
static bool check_flags(const struct token *t, struct err *err)
{
    CK_FLAGS flags = t->found.info.flags;
    if ((flags & CKF_USER_PIN_LOCKED) != 0) {
        return err_set(
            err, ERR_PIN,
            "the PIN of \"%s\" is locked; its security officer must unlock it, see the token's own tool",
            t->found.label);
    }
    if ((flags & CKF_USER_PIN_FINAL_TRY) != 0) {
        return err_set(
            err, ERR_PIN,
            "one wrong PIN more would lock \"%s\": nothing is tried. Log in once with the right PIN by the "
            "token's own tool, then start again",
            t->found.label);
    }
    if ((flags & CKF_USER_PIN_TO_BE_CHANGED) != 0) {
        return err_set(err, ERR_PIN, "the PIN of \"%s\" must be changed first, by the token's own tool",
                       t->found.label);
    }
    if ((flags & CKF_LOGIN_REQUIRED) != 0 && (flags & CKF_USER_PIN_INITIALIZED) == 0) {
        return err_set(err, ERR_PIN, "\"%s\" has no user PIN yet: set one by the token's own tool",
                       t->found.label);
    }
    if ((flags & CKF_USER_PIN_COUNT_LOW) != 0) {
        log_warn("the PIN of \"%s\" was wrong at least once since the last login", t->found.label);
    }
    return true;
}

/* Everything but a broken session, device or queue of theirs counts as a refused PIN: a YubiHSM answers a wrong key id by
 * OBJECT_HANDLE_INVALID and a short password by ARGUMENTS_BAD. */
static bool judge_login(struct token *t, CK_RV rv, struct err *err)
{
    if (rv == CKR_OK) {
        pin_clear_refused(&t->pin, t->found.serial);
        return true;
    }
    if (ckr_is_loss(rv)) {
        return ckr_fail(err, rv, ckr_class(rv) == CKR_CLASS_BUSY ? TAKEN : "C_Login");
    }
    pin_mark_refused(&t->pin, t->found.serial);
    struct audit_text label, serial;
    audit_event("login_refused", ",\"token\":%s,\"serial\":%s,\"why\":\"%s\"",
                audit_quote(&label, t->found.label), audit_quote(&serial, t->found.serial), ckr_name(rv));
    const char *hint = "";
    if (rv == CKR_PIN_LOCKED) {
        hint = "; it is locked now, its security officer must unlock it";
    } else if (rv == CKR_PIN_EXPIRED) {
        hint = "; it has expired and must be changed by the token's own tool";
    } else if (memcmp(t->found.info.manufacturerID, "Yubico", 6) == 0) {
        hint = "; a YubiHSM's PIN is four hex digits of the key's id and then its password";
    }
    return err_set(err, ERR_PIN, "\"%s\" refused the PIN (%s)%s; it is not tried again", t->found.label,
                   ckr_name(rv), hint);
}

static bool login(struct token *t, struct err *err)
{
    struct secret pin = SECRET_EMPTY;
    if ((t->found.info.flags & CKF_LOGIN_REQUIRED) == 0) {
        return true;
    }
    if (!check_flags(t, err)) {
        return false;
    }
    if ((t->found.info.flags & CKF_PROTECTED_AUTHENTICATION_PATH) != 0) {
        log_info("waiting for the PIN at the token's own keypad");
    } else if (!pin_not_refused(&t->pin, t->found.serial, err) ||
               !pin_read(&pin, &t->pin, t->found.label, err)) {
        return false;
    }
    CK_RV rv = module_login(t->module, t->session, &pin);
    secret_free(&pin);
    return judge_login(t, rv, err);
}

static bool open_and_login(struct token *t, struct err *err)
{
    CK_RV rv = module_open_session(t->module, t->found.slot, &t->session);
    if (rv != CKR_OK) {
        t->session = CK_INVALID_HANDLE;
        return ckr_fail(err, rv, ckr_class(rv) == CKR_CLASS_BUSY ? TAKEN : "C_OpenSession");
    }
    if (!login(t, err)) {
        module_close_session(t->module, t->session);
        t->session = CK_INVALID_HANDLE;
        return false;
    }
    struct audit_text label, serial;
    audit_event("login", ",\"token\":%s,\"serial\":%s,\"slot\":%lu", audit_quote(&label, t->found.label),
                audit_quote(&serial, t->found.serial), t->found.slot);
    CK_ULONG limit = t->found.info.ulMaxRwSessionCount;
    t->max_sessions =
        limit == CK_EFFECTIVELY_INFINITE || limit > TOKEN_SESSIONS_MAX ? TOKEN_SESSIONS_MAX : (unsigned)limit;
    if (module_single_threaded(t->module)) {
        t->max_sessions = 1;
    }
    return true;
}

static bool can(struct token *t, CK_MECHANISM_TYPE type, const char *name, struct err *err)
{
    CK_MECHANISM_INFO info;
    CK_RV rv = module_mechanism_info(t->module, t->found.slot, type, &info);
    /* A module that does not tell is asked by the self test. */
    return rv != CKR_MECHANISM_INVALID || err_set(err, ERR_TOKEN,
                                                  "\"%s\" has no %s: a token is needed that makes secp256k1 "
                                                  "keys and does ECDH with them, such as "
                                                  "SoftHSM2, YubiHSM 2 or SmartCard-HSM",
                                                  t->found.label, name);
}

static bool can_derive(struct token *t, struct err *err)
{
    CK_MECHANISM_INFO info;
    CK_SLOT_ID slot = t->found.slot;
    if (module_mechanism_info(t->module, slot, CKM_ECDH1_DERIVE, &info) == CKR_MECHANISM_INVALID &&
        module_mechanism_info(t->module, slot, CKM_ECDH1_COFACTOR_DERIVE, &info) == CKR_OK) {
        module_use_cofactor(t->module);
        return true;
    }
    return can(t, CKM_ECDH1_DERIVE, "CKM_ECDH1_DERIVE", err);
}

/* Of what is there, what no other --token has. */
static size_t drop_claimed(const struct token *t, struct module_token *tokens, size_t count)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (!module_slot_claimed(t->module, tokens[i].slot)) {
            tokens[kept++] = tokens[i];
        }
    }
    return kept;
}

/* The one token that the URI names, and whether it can do what is needed. */
static bool choose(struct token *t, struct module_token *tokens, size_t count, struct err *err)
{
    CK_INFO library;
    module_library_info(t->module, &library);
    count = drop_claimed(t, tokens, count);
    if (!slot_choose(&t->found, tokens, count, t->uri, &library, err) ||
        !can(t, CKM_EC_KEY_PAIR_GEN, "CKM_EC_KEY_PAIR_GEN", err) || !can_derive(t, err)) {
        return false;
    }
    t->claimed = module_claim_slot(t->module, t->found.slot);
    t->known = true;
    t->tested = false;
    return true;
}

const char *token_module_path(const struct token_options *options, const struct uri *uri)
{
    const char *path = options->module_path;
    if (path == NULL && uri != NULL) {
        path = uri_module_path(uri);
    }
    return path != NULL ? path : DEFAULT_MODULE;
}

bool token_load(struct token *t, const struct token_options *options, size_t index,
                const struct instance *instance, struct err *err)
{
    const char *uri = index < options->uri_count ? options->uris[index] : NULL;
    *t = (struct token){.session = CK_INVALID_HANDLE, .max_sessions = 1, .instance = instance};
    if (uri != NULL && (t->uri = uri_parse(uri, err)) == NULL) {
        return false;
    }
    t->pin.file = t->uri != NULL ? uri_pin_file(t->uri) : NULL;
    if (t->pin.file == NULL) {
        t->pin.file = options->pin_file;
    }
    t->pin.state_dir = options->state_dir;
    t->module = module_load(token_module_path(options, t->uri), err);
    if (t->module == NULL) {
        token_close(t);
    }
    return t->module != NULL;
}

bool token_login(struct token *t, struct err *err)
{
    struct module_token tokens[MODULE_TOKENS_MAX];
    size_t count;
    if (!module_find_tokens(t->module, tokens, &count, err) || !choose(t, tokens, count, err) ||
        !open_and_login(t, err)) {
        return false;
    }
    log_info("token \"%s\", serial %s, slot %lu: logged in", t->found.label, t->found.serial, t->found.slot);
    return true;
}

void token_close(struct token *t)
{
    if (t->module != NULL && t->session != CK_INVALID_HANDLE) {
        module_logout(t->module, t->session); /* frees a YubiHSM's device session at once */
        module_close_all_sessions(t->module, t->found.slot);
    }
    module_close(t->module);
    uri_free(t->uri);
    t->module = NULL;
    t->uri = NULL;
    t->session = CK_INVALID_HANDLE;
}

static const struct module_token *same_device(const struct token *t, const struct module_token *tokens,
                                              size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(tokens[i].serial, t->found.serial) == 0 && strcmp(tokens[i].label, t->found.label) == 0) {
            return &tokens[i];
        }
    }
    return NULL;
}

static bool find_again(struct token *t, struct err *err)
{
    struct module_token tokens[MODULE_TOKENS_MAX], before = t->found;
    size_t count;
    CK_RV rv = module_list_tokens(t->module, tokens, &count);
    if (rv != CKR_OK) {
        return ckr_fail(err, rv, "C_GetSlotList");
    }
    if (t->claimed) {
        module_release_slot(t->module, t->found.slot);
        t->claimed = false;
    }
    const struct module_token *same = t->known ? same_device(t, tokens, count) : NULL;
    if (same != NULL) {
        t->found = *same;
        t->claimed = module_claim_slot(t->module, t->found.slot);
        return true;
    }
    if (t->known && (t->uri == NULL || uri_names_serial(t->uri))) {
        return err_set(err, ERR_TOKEN, "the token \"%s\" (serial %s) is not there", t->found.label,
                       t->found.serial);
    }
    if (!choose(t, tokens, count, err)) {
        t->found = before;
        return false;
    }
    if (before.serial[0] != '\0') {
        log_warn("token \"%s\", serial %s, takes the place of serial %s", t->found.label, t->found.serial,
                 before.serial);
    }
    return true;
}

bool token_recover(struct token *t, bool thorough, struct err *err)
{
    if (t->pin.file == NULL && (!t->known || (t->found.info.flags & CKF_LOGIN_REQUIRED) != 0) &&
        (t->found.info.flags & CKF_PROTECTED_AUTHENTICATION_PATH) == 0) {
        return err_set(err, ERR_PIN,
                       "the PIN was typed and is not kept: start the keyholder again to type it");
    }
    if (t->known) {
        module_close_all_sessions(t->module, t->found.slot);
    }
    t->session = CK_INVALID_HANDLE;
    if (thorough && module_idle(t->module)) {
        if (!module_restart(t->module, err)) {
            return false;
        }
        t->unseen = 0;
    }
    t->room = 0;
    return find_again(t, err) && open_and_login(t, err);
}

CK_RV token_new_session(struct token *t, CK_SESSION_HANDLE *session)
{
    return module_open_session(t->module, t->found.slot, session);
}
