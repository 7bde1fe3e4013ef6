/* Forgets the login once after some derives, as after power save. */
#include "mock.h"

static CK_RV derive(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE base,
                    CK_ATTRIBUTE *tmpl, CK_ULONG count, CK_OBJECT_HANDLE *derived)
{
    static int lost;
    if (!lost && mock_after(3)) {
        lost = 1;
        mock_base.C_Logout(session);
    }
    return mock_base.C_DeriveKey(session, mechanism, base, tmpl, count, derived);
}

void mock_override(CK_FUNCTION_LIST *list)
{
    list->C_DeriveKey = derive;
}
