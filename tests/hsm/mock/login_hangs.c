/* C_Login never returns. */
#include <unistd.h>

#include "mock.h"

static volatile bool for_ever = true;

static CK_RV login(CK_SESSION_HANDLE session, CK_USER_TYPE type, unsigned char *pin, CK_ULONG len)
{
    mock_log("login broken off");
    while (for_ever) {
        pause();
    }
    return CKR_OK;
}

void mock_override(CK_FUNCTION_LIST *list)
{
    list->C_Login = login;
}
