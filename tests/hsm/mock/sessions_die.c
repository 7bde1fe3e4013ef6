/* Sessions other than the first die after four derives. */
#include <string.h>

#include "mock.h"

static CK_RV derive(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE base,
                    CK_ATTRIBUTE *tmpl, CK_ULONG count, CK_OBJECT_HANDLE *derived)
{
    static unsigned char used[4096]; /* a session belongs to one thread: no lock */
    if (session > 1 && session < sizeof used && ++used[session] > 4) {
        mock_base.C_CloseSession(session);
    }
    return mock_base.C_DeriveKey(session, mechanism, base, tmpl, count, derived);
}

void mock_override(CK_FUNCTION_LIST *list)
{
    list->C_DeriveKey = derive;
}
