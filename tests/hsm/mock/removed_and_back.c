/* Pulled out once after some derives. Comes back when C_GetSlotList is asked: all sessions and handles are dead then. */
#include <stdatomic.h>

#include "mock.h"

static atomic_int state; /* 0 there, 1 out, 2 back */

static CK_RV derive(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE base,
                    CK_ATTRIBUTE *tmpl, CK_ULONG count, CK_OBJECT_HANDLE *derived)
{
    if (state == 0 && mock_after(3)) {
        state = 1;
        mock_base.C_CloseAllSessions(MOCK_SLOT);
    }
    return state == 1 ? CKR_DEVICE_REMOVED
                      : mock_base.C_DeriveKey(session, mechanism, base, tmpl, count, derived);
}

static CK_RV list_slots(unsigned char present, CK_SLOT_ID *slots, CK_ULONG *count)
{
    state = state == 1 ? 2 : state;
    return mock_base.C_GetSlotList(present, slots, count);
}

static CK_RV open(CK_SLOT_ID slot, CK_FLAGS flags, void *data, CK_NOTIFY notify, CK_SESSION_HANDLE *session)
{
    return state == 1 ? CKR_DEVICE_REMOVED : mock_base.C_OpenSession(slot, flags, data, notify, session);
}

void mock_override(CK_FUNCTION_LIST *list)
{
    list->C_DeriveKey = derive;
    list->C_GetSlotList = list_slots;
    list->C_OpenSession = open;
}
