/* A card: whatever CKA_TOKEN says, keys live on it; it calls none of them sensitive (SmartCard-HSM in tokens.md). */
#include "mock_store.h"

static CK_RV generate(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_ATTRIBUTE *public_template,
                      CK_ULONG public_count, CK_ATTRIBUTE *private_template, CK_ULONG private_count,
                      CK_OBJECT_HANDLE *public_key, CK_OBJECT_HANDLE *private_key)
{
    CK_RV rv = mock_base.C_GenerateKeyPair(session, mechanism, public_template, public_count,
                                           private_template, private_count, public_key, private_key);
    if (rv == CKR_OK) {
        mock_object(*public_key)->token = mock_object(*private_key)->token = true;
        mock_store_save();
    }
    return rv;
}

static CK_RV get(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *tmpl, CK_ULONG count)
{
    CK_RV rv = mock_base.C_GetAttributeValue(session, object, tmpl, count);
    if (tmpl->type == CKA_SENSITIVE || tmpl->type == CKA_ALWAYS_SENSITIVE) {
        *(unsigned char *)tmpl->pValue = CK_FALSE;
    }
    return rv;
}

void mock_override(CK_FUNCTION_LIST *list)
{
    list->C_GenerateKeyPair = generate;
    list->C_GetAttributeValue = get;
}
