/* Its link breaks after some derives, and only C_Finalize and C_Initialize bring it back. */
#include <stdatomic.h>

#include "mock.h"

static atomic_int state; /* 0 fine, 1 broken, 2 mended */

static CK_RV derive(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE base,
                    CK_ATTRIBUTE *tmpl, CK_ULONG count, CK_OBJECT_HANDLE *derived)
{
    if (state == 0 && mock_after(3)) {
        state = 1;
    }
    return state == 1 ? CKR_GENERAL_ERROR
                      : mock_base.C_DeriveKey(session, mechanism, base, tmpl, count, derived);
}

static CK_RV login(CK_SESSION_HANDLE session, CK_USER_TYPE type, unsigned char *pin, CK_ULONG len)
{
    return state == 1 ? CKR_DEVICE_ERROR : mock_base.C_Login(session, type, pin, len);
}

static CK_RV initialize(void *args)
{
    state = state == 1 ? 2 : state;
    return mock_base.C_Initialize(args);
}

void mock_override(CK_FUNCTION_LIST *list)
{
    list->C_DeriveKey = derive;
    list->C_Login = login;
    list->C_Initialize = initialize;
}
