/* Has no locks: refuses CKF_OS_LOCKING_OK, and notes it when a second thread calls it. */
#include <pthread.h>
#include <stdatomic.h>

#include "mock.h"

static CK_RV initialize(void *args)
{
    return args != NULL ? CKR_CANT_LOCK : mock_base.C_Initialize(args);
}

static CK_RV derive(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE base,
                    CK_ATTRIBUTE *tmpl, CK_ULONG count, CK_OBJECT_HANDLE *derived)
{
    static atomic_int inside;
    if (atomic_fetch_add(&inside, 1) != 0) {
        mock_log("two threads at once");
    }
    CK_RV rv = mock_base.C_DeriveKey(session, mechanism, base, tmpl, count, derived);
    atomic_fetch_sub(&inside, 1);
    return rv;
}

void mock_override(CK_FUNCTION_LIST *list)
{
    list->C_Initialize = initialize;
    list->C_DeriveKey = derive;
}
