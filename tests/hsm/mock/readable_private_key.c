/* Gives the private scalar to whoever asks, whatever its flags say. */
#include "mock.h"

static CK_RV get(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *tmpl, CK_ULONG count)
{
    CK_RV rv = mock_base.C_GetAttributeValue(session, object, tmpl, count);
    if (rv == CKR_ATTRIBUTE_SENSITIVE) {
        tmpl->ulValueLen = 32;
        for (int i = 0; i < 32; i++) {
            ((unsigned char *)tmpl->pValue)[i] = (unsigned char)i;
        }
        rv = CKR_OK;
    }
    return rv;
}

void mock_override(CK_FUNCTION_LIST *list)
{
    list->C_GetAttributeValue = get;
}
