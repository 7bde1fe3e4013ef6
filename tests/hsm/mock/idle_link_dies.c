/* A link that is silent for MOCK_IDLE_S (18) is dead until C_Initialize. */
#include <stdatomic.h>
#include <time.h>

#include "mock.h"

static atomic_long last;

static CK_RV used(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (last != 0 && now.tv_sec - last > (long)mock_env("MOCK_IDLE_S", 18)) {
        mock_log("the link is dead");
        return CKR_DEVICE_ERROR;
    }
    last = now.tv_sec;
    return CKR_OK;
}

static CK_RV initialize(void *args)
{
    last = 0;
    return mock_base.C_Initialize(args);
}

static CK_RV derive(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE base,
                    CK_ATTRIBUTE *tmpl, CK_ULONG count, CK_OBJECT_HANDLE *derived)
{
    CK_RV rv = used();
    return rv == CKR_OK ? mock_base.C_DeriveKey(session, mechanism, base, tmpl, count, derived) : rv;
}

static CK_RV generate_random(CK_SESSION_HANDLE session, unsigned char *data, CK_ULONG len)
{
    CK_RV rv = used();
    return rv == CKR_OK ? mock_base.C_GenerateRandom(session, data, len) : rv;
}

void mock_override(CK_FUNCTION_LIST *list)
{
    list->C_Initialize = initialize;
    list->C_DeriveKey = derive;
    list->C_GenerateRandom = generate_random;
}
