/* The YubiHSM 2 as tokens.md has it, in every row. Here the module, its slot and the login; yubihsm/ has the rest. */
#include <string.h>

#include "mock_calls.h"
#include "yubihsm/yubihsm.h"

static CK_RV initialize(void *args)
{
    const CK_C_INITIALIZE_ARGS *a = args;
    bool locks = a != NULL && (a->flags & CKF_OS_LOCKING_OK) != 0;
    if (mock_env("MOCK_NO_CONF", 0) != 0) {
        return CKR_ARGUMENTS_BAD;
    }
    CK_RV rv = mock_base.C_Initialize(args);
    if (rv != CKR_OK) {
        return rv; /* a forked child too: it shares the channel */
    }
    if (!locks) {
        mock_log("two threads at once"); /* DEVICE_REMOVED on most calls */
    }
    yubi_device_found(locks);
    return rv;
}

static CK_RV finalize(void *args)
{
    CK_RV rv = mock_base.C_Finalize(args);
    if (rv == CKR_OK) {
        yubi_device_forget();
        yubi_forget_derived(0);
    }
    return rv;
}

/* A device that was not there at C_Initialize is not looked for again; one that was stays in its slot, pulled out or not. */
static CK_RV list_slots(unsigned char present, CK_SLOT_ID *slots, CK_ULONG *count)
{
    if (present && yubi_device_absent()) {
        *count = 0;
        return CKR_OK;
    }
    return mock_base.C_GetSlotList(present, slots, count);
}

static CK_RV slot_info(CK_SLOT_ID slot, CK_SLOT_INFO *out)
{
    CK_RV rv = mock_base.C_GetSlotInfo(slot, out);
    if (yubi_device_absent()) {
        out->flags &= ~(CK_FLAGS)CKF_TOKEN_PRESENT;
    }
    return rv;
}

static CK_RV token_info(CK_SLOT_ID slot, CK_TOKEN_INFO *out)
{
    if (yubi_device_absent()) {
        return CKR_TOKEN_NOT_PRESENT;
    }
    CK_RV rv = mock_base.C_GetTokenInfo(slot, out);
    memcpy(out->label, "YubiHSM", 7);
    memcpy(out->manufacturerID, "Yubico (www.yubico.com)", 23);
    return rv;
}

static CK_RV open_session(CK_SLOT_ID slot, CK_FLAGS flags, void *data, CK_NOTIFY notify,
                          CK_SESSION_HANDLE *session)
{
    return yubi_device_absent() ? CKR_TOKEN_NOT_PRESENT
                                : mock_base.C_OpenSession(slot, flags, data, notify, session);
}

static CK_RV close_session(CK_SESSION_HANDLE session)
{
    CK_RV rv = mock_base.C_CloseSession(session);
    yubi_forget_derived(session);
    pthread_mutex_lock(&mock_lock);
    bool last = mock_session_count() == 0;
    pthread_mutex_unlock(&mock_lock);
    if (last) {
        yubi_device_logout();
    }
    return rv;
}

static CK_RV close_all_sessions(CK_SLOT_ID slot)
{
    CK_RV rv = mock_base.C_CloseAllSessions(slot);
    yubi_forget_derived(0);
    yubi_device_logout();
    return rv;
}

/* Four hex digits of the key's id, then 8 to 64 characters; before them @ or #, with which a login cannot be repeated. */
static CK_RV login(CK_SESSION_HANDLE session, CK_USER_TYPE type, unsigned char *pin, CK_ULONG len)
{
    bool special = len > 0 && (pin[0] == '@' || pin[0] == '#');
    const char *given = (const char *)pin + special;
    len -= special;
    if (len < 4 + 8 || len > 4 + 64) {
        mock_log("login short");
        return CKR_ARGUMENTS_BAD;
    }
    CK_RV rv = yubi_device_begin();
    if (rv != CKR_OK) {
        return rv;
    }
    if (memcmp(given, YUBI_KEY_ID, 4) != 0) {
        mock_log("login wrong");
        return yubi_device_end(CKR_OBJECT_HANDLE_INVALID);
    }
    if (len - 4 != strlen(YUBI_PASSWORD) || memcmp(given + 4, YUBI_PASSWORD, len - 4) != 0) {
        mock_log("login wrong");
        return yubi_device_end(CKR_PIN_INCORRECT);
    }
    static unsigned char right[] = MOCK_PIN;
    rv = mock_base.C_Login(session, type, right, sizeof right - 1);
    if (rv == CKR_OK && (rv = yubi_device_login(!special)) != CKR_OK) {
        mock_log("all sessions of the device are taken");
        mock_base.C_Logout(session);
    }
    return yubi_device_end(rv);
}

static CK_RV logout(CK_SESSION_HANDLE session)
{
    yubi_device_logout();
    return mock_base.C_Logout(session);
}

static CK_RV generate_random(CK_SESSION_HANDLE session, unsigned char *data, CK_ULONG len)
{
    CK_RV rv = yubi_device_begin();
    return rv != CKR_OK ? rv : yubi_device_end(mock_base.C_GenerateRandom(session, data, len));
}

static CK_RV find_objects_init(CK_SESSION_HANDLE session, CK_ATTRIBUTE *tmpl, CK_ULONG count)
{
    CK_RV rv = yubi_device_begin();
    return rv != CKR_OK ? rv : yubi_device_end(mock_base.C_FindObjectsInit(session, tmpl, count));
}

void mock_override(CK_FUNCTION_LIST *list)
{
    mock_keeps_handles = true;
    list->C_Initialize = initialize;
    list->C_Finalize = finalize;
    list->C_GetSlotList = list_slots;
    list->C_GetSlotInfo = slot_info;
    list->C_GetTokenInfo = token_info;
    list->C_OpenSession = open_session;
    list->C_CloseSession = close_session;
    list->C_CloseAllSessions = close_all_sessions;
    list->C_Login = login;
    list->C_Logout = logout;
    list->C_GenerateKeyPair = yubi_generate;
    list->C_DeriveKey = yubi_derive;
    list->C_GetAttributeValue = yubi_get;
    list->C_DestroyObject = yubi_destroy;
    list->C_FindObjectsInit = find_objects_init;
    list->C_GenerateRandom = generate_random;
}
