/* Reads its configuration from the working folder, as a YubiHSM's module does: whoever can write there commands it. */
#include <unistd.h>

#include "mock.h"

static CK_RV initialize(void *args)
{
    if (access("mock.conf", F_OK) == 0) {
        mock_log("configuration from the working folder");
    }
    return mock_base.C_Initialize(args);
}

void mock_override(CK_FUNCTION_LIST *list)
{
    list->C_Initialize = initialize;
}
