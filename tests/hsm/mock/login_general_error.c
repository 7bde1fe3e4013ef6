/* C_Login says nothing of the PIN: GENERAL_ERROR, or MOCK_LOGIN_RV. From the (MOCK_AFTER + 1)th login of a process on, the first by
 * default. With MOCK_DERIVES the token is lost once after so many derivations, so that there is another login. */
#include "mock.h"

static CK_RV login(CK_SESSION_HANDLE session, CK_USER_TYPE type, unsigned char *pin, CK_ULONG len)
{
    if (mock_after(0)) {
        mock_log("login broken off");
        return mock_env("MOCK_LOGIN_RV", CKR_GENERAL_ERROR);
    }
    return mock_base.C_Login(session, type, pin, len);
}

static CK_RV derive(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE base,
                    CK_ATTRIBUTE *tmpl, CK_ULONG count, CK_OBJECT_HANDLE *derived)
{
    static unsigned long derives;
    if (++derives == mock_env("MOCK_DERIVES", 0)) {
        return CKR_DEVICE_REMOVED;
    }
    return mock_base.C_DeriveKey(session, mechanism, base, tmpl, count, derived);
}

void mock_override(CK_FUNCTION_LIST *list)
{
    list->C_Login = login;
    list->C_DeriveKey = derive;
}
