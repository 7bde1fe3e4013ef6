/* Every fifth derive fails with CKR_DEVICE_ERROR; the same call again works. */
#include <stdatomic.h>

#include "mock.h"

static CK_RV derive(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE base,
                    CK_ATTRIBUTE *tmpl, CK_ULONG count, CK_OBJECT_HANDLE *derived)
{
    static atomic_uint calls;
    return ++calls % 5 == 0 ? CKR_DEVICE_ERROR
                            : mock_base.C_DeriveKey(session, mechanism, base, tmpl, count, derived);
}

void mock_override(CK_FUNCTION_LIST *list)
{
    list->C_DeriveKey = derive;
}
