/* A wrong PIN was tried before. */
#include "mock.h"

static CK_RV info(CK_SLOT_ID slot, CK_TOKEN_INFO *out)
{
    CK_RV rv = mock_base.C_GetTokenInfo(slot, out);
    out->flags |= CKF_USER_PIN_COUNT_LOW;
    return rv;
}

void mock_override(CK_FUNCTION_LIST *list)
{
    list->C_GetTokenInfo = info;
}
