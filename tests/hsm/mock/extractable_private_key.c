/* Makes private keys extractable whatever the template says. */
#include "mock.h"

static CK_RV get(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *tmpl, CK_ULONG count)
{
    CK_RV rv = mock_base.C_GetAttributeValue(session, object, tmpl, count);
    if (rv == CKR_OK && tmpl->type == CKA_EXTRACTABLE) {
        *(unsigned char *)tmpl->pValue = CK_TRUE;
    }
    return rv;
}

void mock_override(CK_FUNCTION_LIST *list)
{
    list->C_GetAttributeValue = get;
}
