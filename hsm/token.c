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

/* What a C_Login's answer says of the PIN. Codes that neither judge it nor rule that out are those of a failing device, of a
 * module's own invention, and "not logged in" from the very call that logs in. Everything else is a refusal: a YubiHSM
 * answers a wrong key id by OBJECT_HANDLE_INVALID and a short password by ARGUMENTS_BAD. */
static enum pin_outcome outcome_of(CK_RV rv)
{
    switch (ckr_class(rv)) {
    case CKR_CLASS_OK:
        return PIN_ACCEPTED; /* by another session of ours, when it says "already" */
    case CKR_CLASS_BUSY:
        return PIN_NOT_JUDGED;
    case CKR_CLASS_SESSION:
    case CKR_CLASS_TOKEN: /* by PKCS#11 these two come when it happens during the call */
        return rv == CKR_DEVICE_REMOVED || rv == CKR_SESSION_CLOSED ? PIN_AWAY : PIN_NOT_JUDGED;
    case CKR_CLASS_DEVICE:
    case CKR_CLASS_LOGIN:
        return PIN_UNKNOWN;
    default:
        return PIN_REFUSED;
    }
}

static bool judge_login(struct token *t, CK_RV rv, struct err *err)
{
    enum pin_outcome outcome = outcome_of(rv);
    if (outcome == PIN_ACCEPTED) {
        return true;
    }
    if (outcome != PIN_REFUSED) {
        return ckr_fail(err, rv, ckr_class(rv) == CKR_CLASS_BUSY ? TAKEN : "C_Login");
    }
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

/* After a login whose end nobody saw: whether the token, asked now, has lost no try. */
static bool no_try_lost(struct token *t, const struct pin_try *try, struct err *err)
{
    const CK_FLAGS lost = CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_FINAL_TRY | CKF_USER_PIN_LOCKED;
    struct module_token now;
    CK_RV rv = module_token_info(t->module, t->found.slot, &now);
    if (rv != CKR_OK) {
        return ckr_fail(err, rv, "C_GetTokenInfo");
    }
    return (now.info.flags & lost) == 0 || pin_try_deny(try, err);
}

/* by_keypad: the file, if there is one, is not for this token. */
static bool try_pin(struct token *t, bool by_keypad, struct err *err)
{
    const struct pin_source source = {by_keypad ? NULL : t->pin.file, t->pin.state_dir};
    struct secret pin = SECRET_EMPTY;
    struct pin_try try;
    if (!pin_try_begin(&try, &source, t->found.serial, err)) {
        return false;
    }
    bool may = !pin_try_doubtful(&try) || no_try_lost(t, &try, err);
    may = may && (by_keypad || pin_read(&pin, &source, t->found.label, err)) && pin_try_mark(&try, err);
    CK_RV rv = may ? module_login(t->module, t->session, &pin) : CKR_OK;
    secret_free(&pin);
    pin_try_end(&try, may ? outcome_of(rv) : PIN_NOT_JUDGED);
    return may && judge_login(t, rv, err);
}

static bool login(struct token *t, struct err *err)
{
    bool by_keypad = (t->found.info.flags & CKF_PROTECTED_AUTHENTICATION_PATH) != 0;
    if ((t->found.info.flags & CKF_LOGIN_REQUIRED) == 0) {
        return true;
    }
    if (!check_flags(t, err)) {
        return false;
    }
    if (by_keypad) {
        log_info("waiting for the PIN at the token's own keypad");
    }
    return try_pin(t, by_keypad, err);
}

static bool open_session(struct token *t, struct err *err)
{
    CK_RV rv = module_open_session(t->module, t->found.slot, &t->session);
    if (rv != CKR_OK) {
        t->session = CK_INVALID_HANDLE;
        return ckr_fail(err, rv, ckr_class(rv) == CKR_CLASS_BUSY ? TAKEN : "C_OpenSession");
    }
    return true;
}

static bool open_and_login(struct token *t, struct err *err)
{
    if (!open_session(t, err)) {
        return false;
    }
    if (!t->guest && !login(t, err)) {
        module_close_session(t->module, t->session);
        t->session = CK_INVALID_HANDLE;
        return false;
    }
    if (t->guest) {
        return true;
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
    if (t->signs) {
        return count; /* it may be the guest of one */
    }
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
    if (!slot_choose(&t->found, tokens, count, t->uri, &library, err)) {
        return false;
    }
    if (!t->signs && (!can(t, CKM_EC_KEY_PAIR_GEN, "CKM_EC_KEY_PAIR_GEN", err) || !can_derive(t, err))) {
        return false;
    }
    t->claimed = module_claim_slot(t->module, t->found.slot);
    t->guest = t->signs && !t->claimed;
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

bool token_load_signing(struct token *t, const struct token_options *options, const char *uri,
                        const struct token *first, struct err *err)
{
    *t = (struct token){
        .session = CK_INVALID_HANDLE, .max_sessions = 1, .instance = first->instance, .signs = true};
    t->uri = uri_parse_object(uri, err);
    if (t->uri == NULL) {
        return false;
    }
    const char *path = uri_module_path(t->uri);
    path = path != NULL ? path : options->module_path;
    if (path == NULL && first->uri != NULL) {
        path = uri_module_path(first->uri);
    }
    /* Never --pin-file: it is another token's, and each try with it would count. */
    t->pin = (struct pin_source){.file = uri_pin_file(t->uri), .state_dir = options->state_dir};
    t->module = module_load(path != NULL ? path : DEFAULT_MODULE, err);
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
    if (t->guest) {
        return true;
    }
    log_info("token \"%s\", serial %s, slot %lu: logged in", t->found.label, t->found.serial, t->found.slot);
    return true;
}

void token_close(struct token *t)
{
    if (t->guest && t->session != CK_INVALID_HANDLE) {
        module_close_session(t->module, t->session);
    } else if (t->module != NULL && t->session != CK_INVALID_HANDLE) {
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

bool token_visit(struct token *t, struct err *err)
{
    struct module_token tokens[MODULE_TOKENS_MAX];
    size_t count;
    CK_RV rv = module_list_tokens(t->module, tokens, &count);
    const struct module_token *same = rv == CKR_OK ? same_device(t, tokens, count) : NULL;
    if (same == NULL) {
        return rv != CKR_OK ? ckr_fail(err, rv, "C_GetSlotList")
                            : err_set(err, ERR_TOKEN, "the token \"%s\" is not there", t->found.label);
    }
    t->found = *same;
    return open_session(t, err);
}

CK_RV token_new_session(struct token *t, CK_SESSION_HANDLE *session)
{
    return module_open_session(t->module, t->found.slot, session);
}
