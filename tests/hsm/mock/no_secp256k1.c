/* A token for other curves, which says so by MOCK_REFUSAL. */
#include "mock.h"

static CK_RV generate(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_ATTRIBUTE *public_template,
                      CK_ULONG public_count, CK_ATTRIBUTE *private_template, CK_ULONG private_count,
                      CK_OBJECT_HANDLE *public_key, CK_OBJECT_HANDLE *private_key)
{
    return mock_env("MOCK_REFUSAL", CKR_CURVE_NOT_SUPPORTED);
}

void mock_override(CK_FUNCTION_LIST *list)
{
    list->C_GenerateKeyPair = generate;
}
