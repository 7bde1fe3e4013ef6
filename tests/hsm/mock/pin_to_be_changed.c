/* The PIN is a first one that must be changed. */
#include "mock.h"

static CK_RV info(CK_SLOT_ID slot, CK_TOKEN_INFO *out)
{
    CK_RV rv = mock_base.C_GetTokenInfo(slot, out);
    out->flags |= CKF_USER_PIN_TO_BE_CHANGED;
    return rv;
}

void mock_override(CK_FUNCTION_LIST *list)
{
    list->C_GetTokenInfo = info;
}
