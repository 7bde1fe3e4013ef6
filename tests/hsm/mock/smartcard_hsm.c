/* OpenSC before a SmartCard-HSM, as in tokens.md: every key is on the card and none is called sensitive; the module has 128
 * places, a pair takes two and a refused derive one for good; a pair too many says GENERAL_ERROR and stays on the card,
 * unseen till C_Initialize. With MOCK_AFTER it is pulled out at that derive: back when C_GetSlotList is asked, with other handles. */
#include <stdatomic.h>
#include <string.h>

#include "mock_store.h"

#define PLACES 124 /* for pairs; the card's own objects take the rest */
#define UNSEEN 0x10000

static atomic_ulong leaked;
static atomic_int state; /* 0 there, 1 out, 2 back */

static CK_RV info(CK_SLOT_ID slot, CK_TOKEN_INFO *out)
{
    CK_RV rv = mock_base.C_GetTokenInfo(slot, out);
    memcpy(out->label, "mock (UserPIN)", 14);
    return rv;
}

static CK_RV initialize(void *args)
{
    CK_RV rv = mock_base.C_Initialize(args);
    for (size_t i = 0; i < MOCK_OBJECTS; i++) {
        mock_objects[i].class &= ~(CK_OBJECT_CLASS)UNSEEN;
    }
    return rv;
}

static CK_RV finalize(void *args)
{
    leaked = 0;
    return mock_base.C_Finalize(args);
}

/* What has a place in the module: not what is on the card only. */
static size_t places_taken(void)
{
    size_t count = leaked;
    for (size_t i = 0; i < MOCK_OBJECTS; i++) {
        count += mock_objects[i].handle != 0 && (mock_objects[i].class & UNSEEN) == 0;
    }
    return count;
}

static CK_RV generate(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_ATTRIBUTE *public_template,
                      CK_ULONG public_count, CK_ATTRIBUTE *private_template, CK_ULONG private_count,
                      CK_OBJECT_HANDLE *public_key, CK_OBJECT_HANDLE *private_key)
{
    size_t before = places_taken();
    CK_RV rv = mock_base.C_GenerateKeyPair(session, mechanism, public_template, public_count,
                                           private_template, private_count, public_key, private_key);
    if (rv != CKR_OK) {
        return rv;
    }
    struct mock_object *public_ = mock_object(*public_key), *private_ = mock_object(*private_key);
    public_->token = private_->token = true;
    if (before + 2 > PLACES) {
        public_->class |= UNSEEN;
        private_->class |= UNSEEN;
        *public_key = *private_key = CK_INVALID_HANDLE;
        mock_log("no place for a pair");
        rv = CKR_GENERAL_ERROR;
    }
    mock_store_save();
    return rv;
}

static CK_RV derive(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE base,
                    CK_ATTRIBUTE *tmpl, CK_ULONG count, CK_OBJECT_HANDLE *derived)
{
    if (state == 0 && mock_after(1000000)) {
        state = 1;
        mock_base.C_CloseAllSessions(MOCK_SLOT);
    }
    if (state == 1) {
        return CKR_DEVICE_REMOVED;
    }
    CK_RV rv = mock_base.C_DeriveKey(session, mechanism, base, tmpl, count, derived);
    if (rv == CKR_GENERAL_ERROR || rv == CKR_MECHANISM_PARAM_INVALID) {
        leaked++;
        mock_log("a place is lost to a refused derive");
    }
    return rv;
}

static CK_RV get(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *tmpl, CK_ULONG count)
{
    CK_RV rv = mock_base.C_GetAttributeValue(session, object, tmpl, count);
    if (rv == CKR_OK && (tmpl->type == CKA_SENSITIVE || tmpl->type == CKA_ALWAYS_SENSITIVE ||
                         tmpl->type == CKA_NEVER_EXTRACTABLE || tmpl->type == CKA_LOCAL)) {
        *(unsigned char *)tmpl->pValue = CK_FALSE;
    }
    return rv == CKR_ATTRIBUTE_SENSITIVE ? CKR_ATTRIBUTE_TYPE_INVALID : rv;
}

static CK_RV list_slots(unsigned char present, CK_SLOT_ID *slots, CK_ULONG *count)
{
    if (state == 1) {
        state = 2;
        for (size_t i = 0; i < MOCK_OBJECTS; i++) {
            mock_objects[i].handle += mock_objects[i].handle != 0 ? 100000 : 0;
        }
    }
    return mock_base.C_GetSlotList(present, slots, count);
}

static CK_RV open(CK_SLOT_ID slot, CK_FLAGS flags, void *data, CK_NOTIFY notify, CK_SESSION_HANDLE *session)
{
    return state == 1 ? CKR_DEVICE_REMOVED : mock_base.C_OpenSession(slot, flags, data, notify, session);
}

void mock_override(CK_FUNCTION_LIST *list)
{
    list->C_GetTokenInfo = info;
    list->C_Initialize = initialize;
    list->C_Finalize = finalize;
    list->C_GenerateKeyPair = generate;
    list->C_DeriveKey = derive;
    list->C_GetAttributeValue = get;
    list->C_GetSlotList = list_slots;
    list->C_OpenSession = open;
}
