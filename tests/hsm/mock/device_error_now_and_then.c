/* Every fifth derive of a thread fails with CKR_DEVICE_ERROR; the same call again works. Counted over all threads, a
 * repetition would now and then be another's fifth. */
#include "mock.h"

static CK_RV derive(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE base,
                    CK_ATTRIBUTE *tmpl, CK_ULONG count, CK_OBJECT_HANDLE *derived)
{
    static _Thread_local unsigned calls;
    return ++calls % 5 == 0 ? CKR_DEVICE_ERROR
                            : mock_base.C_DeriveKey(session, mechanism, base, tmpl, count, derived);
}

void mock_override(CK_FUNCTION_LIST *list)
{
    list->C_DeriveKey = derive;
}
