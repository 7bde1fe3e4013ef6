/* The token: found, logged in once, and brought back when it was lost. One long-lived read-write session holds login
 * and key pairs (a session object dies with its session, and closing the last session logs out); further sessions are
 * for deriving. Functions that name no session use the long-lived one: one thread at a time. */
#ifndef E2EE_HSM_TOKEN_H
#define E2EE_HSM_TOKEN_H

#include "hsm/instance.h"
#include "hsm/module.h"
#include "hsm/pin.h"
#include "hsm/uri.h"

#define TOKEN_SESSIONS_MAX 64

struct token_options {
    const char *module_path; /* NULL: the URI's module-path, else SoftHSM2's */
    const char *uri;         /* NULL: the only token there is */
    const char *pin_file;    /* NULL: the URI's pin-source, else the terminal */
    const char *state_dir;
};

struct token {
    struct module *module;
    struct uri *uri; /* NULL without one */
    struct pin_source pin;
    struct module_token found;
    CK_SESSION_HANDLE session; /* the long-lived one; CK_INVALID_HANDLE while down */
    unsigned max_sessions;     /* that the token permits, ours included; at least 1 */
    bool token_objects;        /* it makes only keys that live on the token (tokens.md, rule 3) */
    bool warned_not_sensitive;
    struct instance instance;
};

/* Loads, finds, opens, logs in. On failure everything is undone (the module finalised) and err says what to do:
 * ERR_CONFIG, ERR_TOKEN, ERR_PIN, ERR_BUSY. *t is the caller's memory; its options' texts must outlive it. */
bool token_open(struct token *t, const struct token_options *options, struct err *err) MUST_CHECK;
/* Logs out and finalises. Key pairs are destroyed before (key_destroy_all). */
void token_close(struct token *t);

/* After a loss, no other thread in the module: all sessions closed, the token found again by serial number, a new
 * session and login; thorough: with C_Finalize and C_Initialize first. ERR_PIN when the PIN came from a terminal
 * (somebody must type it again) or is refused. */
bool token_recover(struct token *t, bool thorough, struct err *err) MUST_CHECK;

/* One more session for one thread. CKR_SESSION_COUNT when there are no more. */
CK_RV token_new_session(struct token *t, CK_SESSION_HANDLE *session);

#endif
