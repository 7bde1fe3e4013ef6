/* Signs only. */
#include "mock.h"

static CK_RV mechanism(CK_SLOT_ID slot, CK_MECHANISM_TYPE type, CK_MECHANISM_INFO *info)
{
    return type == CKM_ECDH1_DERIVE ? CKR_MECHANISM_INVALID : mock_base.C_GetMechanismInfo(slot, type, info);
}

void mock_override(CK_FUNCTION_LIST *list)
{
    list->C_GetMechanismInfo = mechanism;
}
