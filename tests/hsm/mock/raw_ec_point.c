/* CKA_EC_POINT without its OCTET STRING: 65 bytes. */
#include <string.h>

#include "mock.h"

static CK_RV get(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *tmpl, CK_ULONG count)
{
    CK_RV rv = mock_base.C_GetAttributeValue(session, object, tmpl, count);
    if (rv == CKR_OK && tmpl->type == CKA_EC_POINT && tmpl->pValue != NULL) {
        memmove(tmpl->pValue, (unsigned char *)tmpl->pValue + 2, 65);
        tmpl->ulValueLen = 65;
    }
    return rv;
}

void mock_override(CK_FUNCTION_LIST *list)
{
    list->C_GetAttributeValue = get;
}
