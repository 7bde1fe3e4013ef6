/* From the second on, C_GenerateKeyPair says that it failed, but the pair stays (a card without room, tokens.md). */
#include "mock.h"

static CK_RV generate(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_ATTRIBUTE *public_template,
                      CK_ULONG public_count, CK_ATTRIBUTE *private_template, CK_ULONG private_count,
                      CK_OBJECT_HANDLE *public_key, CK_OBJECT_HANDLE *private_key)
{
    CK_RV rv = mock_base.C_GenerateKeyPair(session, mechanism, public_template, public_count,
                                           private_template, private_count, public_key, private_key);
    if (rv == CKR_OK && mock_after(1)) {
        *public_key = *private_key = CK_INVALID_HANDLE;
        rv = CKR_DEVICE_MEMORY;
    }
    return rv;
}

void mock_override(CK_FUNCTION_LIST *list)
{
    list->C_GenerateKeyPair = generate;
}
