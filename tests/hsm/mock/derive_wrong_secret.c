/* ECDH with one bit wrong. */
#include "mock.h"

static CK_RV get(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *tmpl, CK_ULONG count)
{
    CK_RV rv = mock_base.C_GetAttributeValue(session, object, tmpl, count);
    if (rv == CKR_OK && tmpl->type == CKA_VALUE) {
        ((unsigned char *)tmpl->pValue)[31] ^= 1;
    }
    return rv;
}

void mock_override(CK_FUNCTION_LIST *list)
{
    list->C_GetAttributeValue = get;
}
