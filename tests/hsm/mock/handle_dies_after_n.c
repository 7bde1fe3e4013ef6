/* After some derives the private key's handle is not known any more; the token itself goes on. */
#include "mock.h"

static CK_RV derive(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE base,
                    CK_ATTRIBUTE *tmpl, CK_ULONG count, CK_OBJECT_HANDLE *derived)
{
    static CK_OBJECT_HANDLE dead;
    if (dead == 0 && mock_after(3)) {
        dead = base;
    }
    return base == dead ? CKR_KEY_HANDLE_INVALID
                        : mock_base.C_DeriveKey(session, mechanism, base, tmpl, count, derived);
}

void mock_override(CK_FUNCTION_LIST *list)
{
    list->C_DeriveKey = derive;
}
