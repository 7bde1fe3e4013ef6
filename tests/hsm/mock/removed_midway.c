/* Pulled out after some derives, and not put back: every call says so. */
#include <stdatomic.h>

#include "mock.h"

static atomic_bool removed;

static CK_RV derive(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE base,
                    CK_ATTRIBUTE *tmpl, CK_ULONG count, CK_OBJECT_HANDLE *derived)
{
    removed = removed || mock_after(3);
    return removed ? CKR_DEVICE_REMOVED
                   : mock_base.C_DeriveKey(session, mechanism, base, tmpl, count, derived);
}

static CK_RV open(CK_SLOT_ID slot, CK_FLAGS flags, void *data, CK_NOTIFY notify, CK_SESSION_HANDLE *session)
{
    return removed ? CKR_TOKEN_NOT_PRESENT : mock_base.C_OpenSession(slot, flags, data, notify, session);
}

static CK_RV info(CK_SLOT_ID slot, CK_TOKEN_INFO *out)
{
    return removed ? CKR_TOKEN_NOT_PRESENT : mock_base.C_GetTokenInfo(slot, out);
}

static CK_RV destroy(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object)
{
    return removed ? CKR_DEVICE_REMOVED : mock_base.C_DestroyObject(session, object);
}

void mock_override(CK_FUNCTION_LIST *list)
{
    list->C_DeriveKey = derive;
    list->C_OpenSession = open;
    list->C_GetTokenInfo = info;
    list->C_DestroyObject = destroy;
}
