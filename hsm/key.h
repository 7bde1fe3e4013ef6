/* Key pairs in the token: made, checked, destroyed, swept. All on the token's long-lived session, by one thread. */
#ifndef E2EE_HSM_KEY_H
#define E2EE_HSM_KEY_H

#include "base/limits.h"
#include "crypto/point.h"
#include "hsm/token.h"

#define KEY_ROOM_S 600
#define KEY_UNSEEN_MAX 8

struct key_pair {
    CK_OBJECT_HANDLE private_key;
    CK_OBJECT_HANDLE public_key;
    uint8_t point[POINT_BYTES];
};

/* The pairs that we made and have not destroyed: what a sweep must leave alone, and what is destroyed at exit. */
struct key_set {
    struct key_pair pairs[LIMIT_KEYHOLDER_KEYS + 1]; /* one more for the self test */
    size_t count;
};

/* What the token says of a private key, read back. -1: it does not say. */
struct key_attributes {
    int token, sensitive, always_sensitive, extractable, never_extractable, local;
};

/* A new pair on secp256k1: not extractable, may derive, may not sign; in the session if the token allows it, else on the
 * token. What the token made is read back; a readable private value, CKA_EXTRACTABLE true or a point off the curve
 * is an error, and the pair is destroyed. attributes may be NULL. *rv is the token's last word, but for a full SmartCard-HSM's:
 * it says CKR_GENERAL_ERROR like a broken device and keeps the new pair unseen. When a pair of the set still derives, this
 * is CKR_DEVICE_MEMORY here too: the pair is refused and the others go on. The card is not asked again at that number of
 * pairs for KEY_ROOM_S, and after KEY_UNSEEN_MAX such pairs it is CKR_GENERAL_ERROR again, so that it is swept. */
bool key_generate(struct token *t, struct key_set *set, struct key_pair *out,
                  struct key_attributes *attributes, CK_RV *rv, struct err *err) MUST_CHECK;
/* A note in the custody log that the pair will not be used, and why; it is to be destroyed. */
void key_reject(const struct key_pair *pair, const struct err *err);
/* Destroys the private half, then the public one (whose error means nothing: a YubiHSM may have dropped it with the
 * first). False when the private half may still exist. */
bool key_destroy(struct token *t, struct key_set *set, CK_OBJECT_HANDLE private_key);
void key_destroy_all(struct token *t, struct key_set *set);
/* Forgets the set without a call: the session that made them is gone, or they are swept after the next login. */
void key_forget_all(struct key_set *set);
/* Destroys every object on the token that has label and is not in set; returns how many. */
size_t key_sweep(struct token *t, const struct key_set *set, const char *label);

#endif
