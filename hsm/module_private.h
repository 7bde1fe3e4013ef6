/* What module.c and module_calls.c share. */
#ifndef E2EE_HSM_MODULE_PRIVATE_H
#define E2EE_HSM_MODULE_PRIVATE_H

#include <libp11.h>
#include <pthread.h>
#include <stdatomic.h>

#include "hsm/module.h"
#include "hsm/watchdog.h"
#include "keyipc/keyipc.h"

#define MODULE_CLAIMS_MAX (KEYIPC_TOKENS_MAX + 1) /* and the audit key's token */

struct module {
    CK_FUNCTION_LIST *functions;
    PKCS11_CTX *finder; /* libp11's own load; NULL after module_restart, and where there are no locks */
    bool single_threaded;
    CK_MECHANISM_TYPE ecdh;
    struct module *next; /* of all that are loaded */
    unsigned users;      /* tokens */
    pthread_mutex_t recovery;
    atomic_uint working;         /* tokens */
    unsigned restarts, closings; /* under recovery; of slots' sessions as a whole */
    CK_SLOT_ID claimed[MODULE_CLAIMS_MAX];
    size_t claimed_count;
};

#endif
