/* The token: found, logged in once, and brought back when it was lost. One long-lived read-write session holds login
 * and key pairs (a session object dies with its session, and closing the last session logs out); further sessions are
 * for deriving. Functions that name no session use the long-lived one: one thread at a time. */
#ifndef E2EE_HSM_TOKEN_H
#define E2EE_HSM_TOKEN_H

#include "hsm/instance.h"
#include "hsm/module.h"
#include "hsm/pin.h"
#include "hsm/uri.h"
#include "keyipc/keyipc.h"

#define TOKEN_SESSIONS_MAX 64

struct token_options {
    const char *module_path;             /* NULL: the URI's module-path, else SoftHSM2's */
    const char *uris[KEYIPC_TOKENS_MAX]; /* none: the only token there is */
    size_t uri_count;
    const char *pin_file; /* for tokens whose URI has no pin-source; NULL: the terminal */
    const char *state_dir;
};

struct token {
    struct module *module;
    struct uri *uri; /* NULL without one */
    bool known;      /* it was there once: found tells which it is */
    bool tested;     /* its self test was passed; false again when another device takes its place */
    bool claimed;    /* found.slot, of the module */
    bool signs;      /* it has the key of --audit-key only: it need not make keys of ours */
    bool guest;      /* another struct token has the slot and its login: this one has a session, no more */
    struct pin_source pin;
    struct module_token found;
    CK_SESSION_HANDLE session; /* the long-lived one; CK_INVALID_HANDLE while down */
    unsigned max_sessions;     /* that the token permits, ours included; at least 1 */
    bool token_objects;        /* it makes only keys that live on the token (tokens.md, rule 3) */
    bool warned_not_sensitive;
    size_t room;     /* how many pairs it has shown to hold (key.h), 0: not known */
    int64_t room_ns; /* when that was, by clock_boot_ns */
    unsigned
        unseen; /* pairs that it kept although it said that it could not make them: a sweep sees them after module_restart only */
    const struct instance *instance; /* the process's */
};

/* The module of the token that uri names (NULL: none is named). */
const char *token_module_path(const struct token_options *options, const struct uri *uri);

/* Loads the module. *t is the caller's memory; instance and the options' texts must outlive it. ERR_CONFIG, ERR_TOKEN
 * (C_Initialize), and then nothing is to be closed. index: of the URIs. */
bool token_load(struct token *t, const struct token_options *options, size_t index,
                const struct instance *instance, struct err *err) MUST_CHECK;
/* The same for the token of --audit-key, after those of --token: where one of them has its slot, its login serves, else the
 * URI's pin-source does. Without module-path it is in the module of first, a --token. token_login then finds it. */
bool token_load_signing(struct token *t, const struct token_options *options, const char *uri,
                        const struct token *first, struct err *err) MUST_CHECK;
/* A guest's session again, after its host's token was lost and is back. ERR_TOKEN. */
bool token_visit(struct token *t, struct err *err) MUST_CHECK;
/* Finds, opens, logs in: start-up, one thread. On failure (ERR_CONFIG, ERR_TOKEN, ERR_PIN, ERR_BUSY) err says what to do, and
 * *t is as after token_load: token_recover may try again. */
bool token_login(struct token *t, struct err *err) MUST_CHECK;
/* Logs out, and finalises the module with its last token. Key pairs are destroyed before (key_destroy_all). */
void token_close(struct token *t);

/* After a loss, none of its threads in the module, and within module_recovery_begin and _end: all sessions closed, the token found again by serial number, a new
 * session and login; thorough: with C_Finalize and C_Initialize first, unless another token of the module works. When
 * that device is not there, and the URI names no serial number, another one that it names takes its place. ERR_PIN when the PIN came from a terminal
 * (somebody must type it again) or is refused. */
bool token_recover(struct token *t, bool thorough, struct err *err) MUST_CHECK;

/* One more session for one thread. CKR_SESSION_COUNT when there are no more. */
CK_RV token_new_session(struct token *t, CK_SESSION_HANDLE *session);

#endif
