/* Has CKM_ECDH1_COFACTOR_DERIVE and not the plain one; on a curve of cofactor 1 both are the same. */
#include "mock.h"

static CK_RV mechanism(CK_SLOT_ID slot, CK_MECHANISM_TYPE type, CK_MECHANISM_INFO *info)
{
    return type == CKM_ECDH1_DERIVE            ? CKR_MECHANISM_INVALID
           : type == CKM_ECDH1_COFACTOR_DERIVE ? CKR_OK
                                               : mock_base.C_GetMechanismInfo(slot, type, info);
}

static CK_RV derive(CK_SESSION_HANDLE session, CK_MECHANISM *asked, CK_OBJECT_HANDLE base, CK_ATTRIBUTE *tmpl,
                    CK_ULONG count, CK_OBJECT_HANDLE *derived)
{
    CK_MECHANISM plain = *asked;
    plain.mechanism = CKM_ECDH1_DERIVE;
    return asked->mechanism == CKM_ECDH1_COFACTOR_DERIVE
               ? mock_base.C_DeriveKey(session, &plain, base, tmpl, count, derived)
               : CKR_MECHANISM_INVALID;
}

void mock_override(CK_FUNCTION_LIST *list)
{
    list->C_GetMechanismInfo = mechanism;
    list->C_DeriveKey = derive;
}
