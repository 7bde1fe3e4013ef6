/* What PKCS#11 return values mean for us: one table of name and class. Callers act on the class. */
#ifndef E2EE_HSM_CKR_H
#define E2EE_HSM_CKR_H

#include <p11-kit/pkcs11.h>

#include "base/err.h"

enum ckr_class {
    CKR_CLASS_OK,      /* done, "already" included */
    CKR_CLASS_SESSION, /* the session is dead, and with it the objects it made: open another */
    CKR_CLASS_LOGIN,   /* the login is lost */
    CKR_CLASS_KEY,     /* the key or object does not exist any more */
    CKR_CLASS_TOKEN,   /* the token is gone */
    CKR_CLASS_BUSY,    /* the token's sessions are taken: wait (a YubiHSM frees a crashed one's after 30 s) */
    CKR_CLASS_FULL,    /* no room on the token */
    CKR_CLASS_PIN,     /* stop, never retry */
    CKR_CLASS_OURS,    /* our call was wrong, or the token cannot do this */
    CKR_CLASS_DEVICE,  /* anything else: the device or its module failed */
};

/* "CKR_DEVICE_REMOVED"; "CKR_0x…" for what the table lacks (a static buffer of the thread). */
const char *ckr_name(CK_RV rv);
enum ckr_class ckr_class(CK_RV rv);
/* err = "what: CKR_NAME" with the kind that the class asks for; returns false. */
bool ckr_fail(struct err *err, CK_RV rv, const char *what);
/* True for classes after which no handle may be trusted: session, login, token, its sessions taken,
 * device. */
bool ckr_is_loss(CK_RV rv);

#endif
