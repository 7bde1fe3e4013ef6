/* A loaded PKCS#11 module. The only functions that call it: each wrapper empties its outputs, survives a function
 * that the module lacks (CKR_FUNCTION_NOT_SUPPORTED), checks lengths that come back, and is watched (watchdog.h).
 *
 * libp11 finds slots and tokens, at start only (it is not safe in threads); everything after goes through the
 * module's own function list, which is loaded beside it (architecture.md, "Libraries"). */
#ifndef E2EE_HSM_MODULE_H
#define E2EE_HSM_MODULE_H

#include <p11-kit/pkcs11.h>
#include <stdint.h>

#include "base/err.h"
#include "base/secret.h"

struct module;

/* Loads path and initialises it with OS locking, in a process that will never fork again. Several tokens may use one
 * module, which is one state for the process (C_Finalize ends it for all): who loads it again gets the same. Start-up, one
 * thread. */
struct module *module_load(const char *path, struct err *err) MUST_CHECK;
/* C_Finalize, when the last of its tokens closes. The code stays mapped: SoftHSM 2.6.1 crashes when it is unloaded after
 * OpenSSL, so the caller ends by _exit. NULL is fine. One thread. */
void module_close(struct module *m);
/* C_Finalize and C_Initialize, for a token that is only seen again then. No other thread may be in the module. */
bool module_restart(struct module *m, struct err *err) MUST_CHECK;

/* Tokens of one module are brought back one at a time: held around every recovery. */
void module_recovery_begin(struct module *m);
void module_recovery_end(struct module *m);
/* Whether a token of the module works: counted by each, left only when none of its threads is in the module any more. */
void module_token_works(struct module *m, bool works);
/* True when none does, so that module_restart harms nobody. During a recovery only. */
bool module_idle(const struct module *m);
/* Two --token must not get one slot. True: the slot is ours now. Start-up, or during a recovery. */
bool module_claim_slot(struct module *m, CK_SLOT_ID slot);
void module_release_slot(struct module *m, CK_SLOT_ID slot);
bool module_slot_claimed(const struct module *m, CK_SLOT_ID slot);
/* Counts module_restart and, with of_slots, module_close_all_sessions: who shares a module or a slot sees by it that its session is
 * no more. During a recovery, or with one thread. */
unsigned module_sessions_ended(const struct module *m, bool of_slots);
/* The module cannot lock (CKR_CANT_LOCK): one thread only may call it. */
bool module_single_threaded(const struct module *m);
/* Derives by CKM_ECDH1_COFACTOR_DERIVE from now on: the same on a curve of cofactor 1. */
void module_use_cofactor(struct module *m);

/* One token in a slot. */
struct module_token {
    CK_SLOT_ID slot;
    CK_SLOT_INFO slot_info;
    CK_TOKEN_INFO info;
    char label[33]; /* trimmed, what is not printable ASCII replaced by '?' */
    char serial[17];
};
#define MODULE_TOKENS_MAX 64

/* Tokens that are there now: *count of them into tokens[MODULE_TOKENS_MAX]. By libp11 for the module's first token, whose
 * sessions it would close later: start-up, one thread. */
bool module_find_tokens(struct module *m, struct module_token *tokens, size_t *count,
                        struct err *err) MUST_CHECK;
/* The same by C_GetSlotList, for looking again later. */
CK_RV module_list_tokens(struct module *m, struct module_token *tokens, size_t *count);
CK_RV module_token_info(struct module *m, CK_SLOT_ID slot, struct module_token *out);
/* Manufacturer and version of the library, zeros when it does not say. */
void module_library_info(struct module *m, CK_INFO *out);
CK_RV module_mechanism_info(struct module *m, CK_SLOT_ID slot, CK_MECHANISM_TYPE type,
                            CK_MECHANISM_INFO *out);

/* Read-write sessions only: read-only ones hide keys or refuse them on some tokens (tokens.md, rule 2). */
CK_RV module_open_session(struct module *m, CK_SLOT_ID slot, CK_SESSION_HANDLE *session);
CK_RV module_close_session(struct module *m, CK_SESSION_HANDLE session);
CK_RV module_close_all_sessions(struct module *m, CK_SLOT_ID slot);
/* pin may be empty: a token with a PIN pad asks for it itself, and the call may last LIMIT_TOKEN_PAD_S. */
CK_RV module_login(struct module *m, CK_SESSION_HANDLE session, const struct secret *pin);
CK_RV module_logout(struct module *m, CK_SESSION_HANDLE session);
/* Eight random bytes from the device: the cheapest call that reaches it. */
CK_RV module_touch(struct module *m, CK_SESSION_HANDLE session, CK_SLOT_ID slot);

CK_RV module_generate_pair(struct module *m, CK_SESSION_HANDLE session, CK_ATTRIBUTE *public_template,
                           CK_ULONG public_count, CK_ATTRIBUTE *private_template, CK_ULONG private_count,
                           CK_OBJECT_HANDLE *public_key, CK_OBJECT_HANDLE *private_key);
CK_RV module_derive_ecdh(struct module *m, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE private_key,
                         const uint8_t *point, size_t point_len, CK_ATTRIBUTE *tmpl, CK_ULONG count,
                         CK_OBJECT_HANDLE *derived);
/* One signature over data into signature[*len]; *len is set to its length. */
CK_RV module_sign(struct module *m, CK_SESSION_HANDLE session, CK_MECHANISM_TYPE type, CK_OBJECT_HANDLE key,
                  const uint8_t *data, size_t data_len, uint8_t *signature, size_t *len);
CK_RV module_destroy(struct module *m, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object);
/* One attribute into value[*len]; *len is set to its length. CKR_BUFFER_TOO_SMALL when it does not fit. */
CK_RV module_get_attribute(struct module *m, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object,
                           CK_ATTRIBUTE_TYPE type, void *value, size_t *len);
/* Up to max objects that match; *count of them. */
CK_RV module_find(struct module *m, CK_SESSION_HANDLE session, CK_ATTRIBUTE *tmpl, CK_ULONG attributes,
                  CK_OBJECT_HANDLE *objects, size_t max, size_t *count);

#endif
