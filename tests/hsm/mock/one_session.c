/* Has one session, and does not say so. */
#include "mock.h"

static CK_RV open(CK_SLOT_ID slot, CK_FLAGS flags, void *data, CK_NOTIFY notify, CK_SESSION_HANDLE *session)
{
    CK_TOKEN_INFO info;
    CK_RV rv = mock_base.C_GetTokenInfo(slot, &info);
    return rv == CKR_OK && info.ulSessionCount >= 1
               ? CKR_SESSION_COUNT
               : mock_base.C_OpenSession(slot, flags, data, notify, session);
}

static CK_RV get_info(CK_SLOT_ID slot, CK_TOKEN_INFO *info)
{
    CK_RV rv = mock_base.C_GetTokenInfo(slot, info);
    info->ulMaxSessionCount = info->ulMaxRwSessionCount = CK_UNAVAILABLE_INFORMATION;
    return rv;
}

void mock_override(CK_FUNCTION_LIST *list)
{
    list->C_OpenSession = open;
    list->C_GetTokenInfo = get_info;
}
