/* A card whose module forks a helper when the third pair is made; it lives for a while and keeps every descriptor that
 * nobody closes in it. */
#include <stdatomic.h>
#include <unistd.h>

#include "mock_store.h"

#define HELPER_S 8

static CK_RV generate(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_ATTRIBUTE *public_template,
                      CK_ULONG public_count, CK_ATTRIBUTE *private_template, CK_ULONG private_count,
                      CK_OBJECT_HANDLE *public_key, CK_OBJECT_HANDLE *private_key)
{
    static atomic_int pairs;
    if (++pairs == 3 && fork() == 0) {
        sleep(HELPER_S);
        _exit(0);
    }
    CK_RV rv = mock_base.C_GenerateKeyPair(session, mechanism, public_template, public_count,
                                           private_template, private_count, public_key, private_key);
    if (rv == CKR_OK) {
        mock_object(*public_key)->token = mock_object(*private_key)->token = true;
        mock_store_save();
    }
    return rv;
}

void mock_override(CK_FUNCTION_LIST *list)
{
    list->C_GenerateKeyPair = generate;
}
