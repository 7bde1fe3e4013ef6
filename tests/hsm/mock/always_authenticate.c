/* Wants the PIN again for each use of a private key. */
#include "mock_store.h"

static CK_RV get(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *tmpl, CK_ULONG count)
{
    if (tmpl->type == CKA_ALWAYS_AUTHENTICATE && mock_object(object) != NULL &&
        mock_object(object)->class == CKO_PRIVATE_KEY) {
        *(unsigned char *)tmpl->pValue = CK_TRUE;
        tmpl->ulValueLen = 1;
        return CKR_OK;
    }
    return mock_base.C_GetAttributeValue(session, object, tmpl, count);
}

static CK_RV derive(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE base,
                    CK_ATTRIBUTE *tmpl, CK_ULONG count, CK_OBJECT_HANDLE *derived)
{
    return CKR_USER_NOT_LOGGED_IN;
}

void mock_override(CK_FUNCTION_LIST *list)
{
    list->C_GetAttributeValue = get;
    list->C_DeriveKey = derive;
}
