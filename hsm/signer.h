/* The key of --audit-key: made in a token by the operator, found here, used to sign checkpoints of the custody log, and never made,
 * destroyed or derived with by us. Its own session, for one thread at a time: start-up, then the thread that signs. */
#ifndef E2EE_HSM_SIGNER_H
#define E2EE_HSM_SIGNER_H

#include "hsm/token.h"
#include "keyipc/checkpoint.h"

struct signer {
    struct token token;
    CK_OBJECT_HANDLE key;
    struct signature_key *public_key;
    unsigned ended;    /* module_sessions_ended, when the session was opened */
    unsigned failures; /* in a row, to bring the token back */
    bool refused;      /* its PIN: never tried again */
};

/* Finds token and key, after all --token were opened. ERR_CONFIG for a key that is not there, not the only one, or not to be used;
 * what token_login says otherwise. signer_close in any case. */
bool signer_open(struct signer *s, const struct token_options *options, const char *uri,
                 const struct token *first, struct err *err) MUST_CHECK;
/* Fills algorithm, key and signature, which was verified. Brings a lost token back first. For audit_sign.h, as the next. */
bool signer_sign(void *signer, struct checkpoint *c, struct err *err) MUST_CHECK;
void signer_keep_awake(void *signer);
void signer_close(struct signer *s);

/* CKA_ID that a URI names, which sweeps spare whatever its label is: *len of them into id[cap], 0 for none. ERR_CONFIG for a URI
 * that names no key, or one with a label of ours. */
bool signer_spares(const char *uri, uint8_t *id, size_t cap, size_t *len, struct err *err) MUST_CHECK;

#endif
