/* Waits for a finger at each use of a key, for MOCK_TOUCH_MS (200), and then gives up. */
#include <time.h>

#include "mock.h"

static CK_RV derive(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE base,
                    CK_ATTRIBUTE *tmpl, CK_ULONG count, CK_OBJECT_HANDLE *derived)
{
    unsigned long ms = mock_env("MOCK_TOUCH_MS", 200);
    struct timespec patience = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};
    nanosleep(&patience, NULL);
    return CKR_FUNCTION_REJECTED;
}

void mock_override(CK_FUNCTION_LIST *list)
{
    list->C_DeriveKey = derive;
}
