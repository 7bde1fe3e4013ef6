/* Two slots whose tokens have the same label and different serial numbers. */
#include "mock.h"

static CK_RV list_slots(unsigned char present, CK_SLOT_ID *slots, CK_ULONG *count)
{
    CK_RV rv = CKR_OK;
    if (slots != NULL && *count >= 2) {
        slots[0] = MOCK_SLOT;
        slots[1] = MOCK_SLOT + 1;
    } else if (slots != NULL) {
        rv = CKR_BUFFER_TOO_SMALL;
    }
    *count = 2;
    return rv;
}

void mock_override(CK_FUNCTION_LIST *list)
{
    list->C_GetSlotList = list_slots;
}
