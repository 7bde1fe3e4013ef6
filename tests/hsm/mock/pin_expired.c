/* The right PIN, but too old. */
#include "mock.h"

static CK_RV login(CK_SESSION_HANDLE session, CK_USER_TYPE type, unsigned char *pin, CK_ULONG len)
{
    mock_log("login expired");
    return CKR_PIN_EXPIRED;
}

void mock_override(CK_FUNCTION_LIST *list)
{
    list->C_Login = login;
}
