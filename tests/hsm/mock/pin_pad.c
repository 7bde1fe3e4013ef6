/* Asks for the PIN on its own keypad; who types it takes MOCK_PAD_MS. */
#include <time.h>

#include "mock.h"

static CK_RV info(CK_SLOT_ID slot, CK_TOKEN_INFO *out)
{
    CK_RV rv = mock_base.C_GetTokenInfo(slot, out);
    out->flags |= CKF_PROTECTED_AUTHENTICATION_PATH;
    return rv;
}

static CK_RV login(CK_SESSION_HANDLE session, CK_USER_TYPE type, unsigned char *pin, CK_ULONG len)
{
    static unsigned char typed[] = MOCK_PIN;
    unsigned long ms = mock_env("MOCK_PAD_MS", 0);
    nanosleep(&(struct timespec){(time_t)(ms / 1000), (long)(ms % 1000) * 1000000}, NULL);
    return pin != NULL || len != 0 ? CKR_ARGUMENTS_BAD
                                   : mock_base.C_Login(session, type, typed, sizeof typed - 1);
}

void mock_override(CK_FUNCTION_LIST *list)
{
    list->C_GetTokenInfo = info;
    list->C_Login = login;
}
