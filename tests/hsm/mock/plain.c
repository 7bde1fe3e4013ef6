/* The base token, unchanged. */
#include "mock.h"

void mock_override(CK_FUNCTION_LIST *list)
{
}
