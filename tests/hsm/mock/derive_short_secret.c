/* The derived secret has 31 bytes: a leading zero dropped. The first is right, for the self test. */
#include "mock.h"

static CK_RV get(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *tmpl, CK_ULONG count)
{
    CK_RV rv = mock_base.C_GetAttributeValue(session, object, tmpl, count);
    if (rv == CKR_OK && tmpl->type == CKA_VALUE && mock_after(1)) {
        tmpl->ulValueLen = 31;
    }
    return rv;
}

void mock_override(CK_FUNCTION_LIST *list)
{
    list->C_GetAttributeValue = get;
}
