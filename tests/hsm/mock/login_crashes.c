/* Dies within C_Login, after the device may have counted the try. */
#include <signal.h>

#include "mock.h"

static CK_RV login(CK_SESSION_HANDLE session, CK_USER_TYPE type, unsigned char *pin, CK_ULONG len)
{
    mock_log("login broken off");
    raise(SIGKILL); /* not a signal that a sanitizer catches */
    return CKR_GENERAL_ERROR;
}

void mock_override(CK_FUNCTION_LIST *list)
{
    list->C_Login = login;
}
