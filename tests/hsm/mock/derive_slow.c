/* Each C_DeriveKey takes 5 ms (or MOCK_DERIVE_MS), on 4 sessions (or MOCK_SESSIONS) at a time. */
#include <stdlib.h>

#include "mock.h"

static CK_RV initialize(void *args)
{
    setenv("MOCK_DERIVE_MS", "5", 0);
    setenv("MOCK_SESSIONS", "4", 0);
    return mock_base.C_Initialize(args);
}

void mock_override(CK_FUNCTION_LIST *list)
{
    list->C_Initialize = initialize;
}
