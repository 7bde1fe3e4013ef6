/* After MOCK_AFTER secrets were read, the next MOCK_WRONG (all) are others: the one that was read before, as a device gives that
 * mixes handles up (tokens.md, "Derive"). Each is a good X of the curve. */
#include <pthread.h>
#include <string.h>

#include "mock.h"

static CK_RV get(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *tmpl, CK_ULONG count)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static unsigned char before[32];
    static unsigned long read, wrong;
    unsigned char now[32];
    CK_RV rv = mock_base.C_GetAttributeValue(session, object, tmpl, count);
    if (rv != CKR_OK || tmpl->type != CKA_VALUE || tmpl->pValue == NULL || tmpl->ulValueLen != sizeof now) {
        return rv;
    }
    pthread_mutex_lock(&lock);
    memcpy(now, tmpl->pValue, sizeof now);
    if (read++ >= mock_env("MOCK_AFTER", 1) && wrong < mock_env("MOCK_WRONG", 1000000)) {
        wrong++;
        memcpy(tmpl->pValue, before, sizeof before);
        mock_log("a wrong secret");
    }
    memcpy(before, now, sizeof before);
    pthread_mutex_unlock(&lock);
    return rv;
}

void mock_override(CK_FUNCTION_LIST *list)
{
    list->C_GetAttributeValue = get;
}
