/* The token's own calls: slots, sessions, login. Objects are in mock_objects.c. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mock_calls.h"

pthread_mutex_t mock_lock = PTHREAD_MUTEX_INITIALIZER;
static bool initialised, logged_in;
static CK_SESSION_HANDLE last_session;

CK_RV mock_enter(void)
{
    pthread_mutex_lock(&mock_lock);
    if (!initialised) {
        pthread_mutex_unlock(&mock_lock);
        return CKR_CRYPTOKI_NOT_INITIALIZED;
    }
    return CKR_OK;
}

CK_RV mock_leave(CK_RV rv)
{
    pthread_mutex_unlock(&mock_lock);
    return rv;
}

bool mock_logged_in(void)
{
    return logged_in;
}

static CK_RV initialize(void *args)
{
    pthread_mutex_lock(&mock_lock);
    CK_RV rv = initialised ? CKR_CRYPTOKI_ALREADY_INITIALIZED : CKR_OK;
    if (!initialised) {
        initialised = true;
        logged_in = false;
        memset(mock_sessions, 0, sizeof mock_sessions);
        mock_store_load();
    }
    pthread_mutex_unlock(&mock_lock);
    return rv;
}

static CK_RV finalize(void *args)
{
    char line[128];
    pthread_mutex_lock(&mock_lock);
    bool was = initialised;
    if (was) {
        snprintf(line, sizeof line, "finalized objects=%zu sessions=%zu logged_in=%d calls=%lu",
                 mock_object_count(), mock_session_count(), logged_in, mock_calls());
        mock_log(line);
    }
    initialised = false;
    pthread_mutex_unlock(&mock_lock);
    return was ? CKR_OK : CKR_CRYPTOKI_NOT_INITIALIZED;
}

static CK_RV get_info(CK_INFO *info)
{
    memset(info, 0, sizeof *info);
    info->cryptokiVersion.major = 2;
    info->cryptokiVersion.minor = 40;
    memset(info->manufacturerID, ' ', sizeof info->manufacturerID);
    memcpy(info->manufacturerID, "mock", 4);
    memset(info->libraryDescription, ' ', sizeof info->libraryDescription);
    return CKR_OK;
}

static CK_RV get_slot_list(unsigned char present, CK_SLOT_ID *slots, CK_ULONG *count)
{
    CK_RV rv = mock_enter();
    if (rv != CKR_OK) {
        return rv;
    }
    if (slots != NULL && *count >= 1) {
        slots[0] = MOCK_SLOT;
    } else if (slots != NULL) {
        rv = CKR_BUFFER_TOO_SMALL;
    }
    *count = 1;
    return mock_leave(rv);
}

static CK_RV get_slot_info(CK_SLOT_ID slot, CK_SLOT_INFO *info)
{
    memset(info, 0, sizeof *info);
    memset(info->slotDescription, ' ', sizeof info->slotDescription);
    memset(info->manufacturerID, ' ', sizeof info->manufacturerID);
    info->flags = CKF_TOKEN_PRESENT;
    return CKR_OK;
}

static CK_RV get_token_info(CK_SLOT_ID slot, CK_TOKEN_INFO *info)
{
    CK_RV rv = mock_enter();
    if (rv != CKR_OK) {
        return rv;
    }
    memset(info, 0, sizeof *info);
    memset(info->label, ' ', sizeof info->label);
    memcpy(info->label, "mock", 4);
    memset(info->manufacturerID, ' ', sizeof info->manufacturerID);
    memset(info->model, ' ', sizeof info->model);
    memset(info->serialNumber, ' ', sizeof info->serialNumber);
    snprintf((char *)info->serialNumber, sizeof info->serialNumber, "000%lu", slot);
    info->serialNumber[4] = ' ';
    info->flags = CKF_TOKEN_INITIALIZED | CKF_LOGIN_REQUIRED | CKF_USER_PIN_INITIALIZED | CKF_RNG |
                  mock_env("MOCK_FLAGS", 0);
    info->ulMaxSessionCount = info->ulMaxRwSessionCount = mock_env("MOCK_SESSIONS", CK_EFFECTIVELY_INFINITE);
    info->ulSessionCount = info->ulRwSessionCount = mock_session_count();
    info->ulMinPinLen = 4;
    info->ulMaxPinLen = 64;
    return mock_leave(CKR_OK);
}

static CK_RV get_mechanism_info(CK_SLOT_ID slot, CK_MECHANISM_TYPE type, CK_MECHANISM_INFO *info)
{
    memset(info, 0, sizeof *info);
    return type == CKM_EC_KEY_PAIR_GEN || type == CKM_ECDH1_DERIVE ? CKR_OK : CKR_MECHANISM_INVALID;
}

static CK_RV open_session(CK_SLOT_ID slot, CK_FLAGS flags, void *data, CK_NOTIFY notify,
                          CK_SESSION_HANDLE *session)
{
    CK_RV rv = mock_enter();
    if (rv != CKR_OK) {
        return rv;
    }
    unsigned long limit = mock_env("MOCK_SESSIONS", 0);
    if (limit != 0 && mock_session_count() >= limit) {
        return mock_leave(CKR_SESSION_COUNT);
    }
    for (size_t i = 0; i < MOCK_SESSIONS_MAX; i++) {
        if (mock_sessions[i].handle == 0) {
            memset(&mock_sessions[i], 0, sizeof mock_sessions[i]);
            *session = mock_sessions[i].handle = ++last_session;
            return mock_leave(CKR_OK);
        }
    }
    return mock_leave(CKR_SESSION_COUNT);
}

static void end_session(struct mock_session *session)
{
    for (size_t i = 0; i < MOCK_OBJECTS; i++) {
        if (mock_objects[i].handle != 0 && mock_objects[i].session == session->handle &&
            !mock_objects[i].token) {
            mock_object_free(&mock_objects[i]);
        }
    }
    session->handle = 0;
    if (mock_session_count() == 0) {
        logged_in = false;
    }
}

static CK_RV close_session(CK_SESSION_HANDLE handle)
{
    CK_RV rv = mock_enter();
    if (rv != CKR_OK) {
        return rv;
    }
    struct mock_session *session = mock_session(handle);
    if (session == NULL) {
        return mock_leave(CKR_SESSION_HANDLE_INVALID);
    }
    end_session(session);
    return mock_leave(CKR_OK);
}

static CK_RV close_all_sessions(CK_SLOT_ID slot)
{
    CK_RV rv = mock_enter();
    if (rv != CKR_OK) {
        return rv;
    }
    for (size_t i = 0; i < MOCK_SESSIONS_MAX; i++) {
        if (mock_sessions[i].handle != 0) {
            end_session(&mock_sessions[i]);
        }
    }
    return mock_leave(CKR_OK);
}

static CK_RV login(CK_SESSION_HANDLE handle, CK_USER_TYPE type, unsigned char *pin, CK_ULONG len)
{
    CK_RV rv = mock_enter();
    if (rv != CKR_OK) {
        return rv;
    }
    if (mock_session(handle) == NULL) {
        return mock_leave(CKR_SESSION_HANDLE_INVALID);
    }
    if (logged_in) {
        return mock_leave(CKR_USER_ALREADY_LOGGED_IN);
    }
    logged_in = len == strlen(MOCK_PIN) && memcmp(pin, MOCK_PIN, len) == 0;
    mock_log(logged_in ? "login right" : "login wrong");
    return mock_leave(logged_in ? CKR_OK : CKR_PIN_INCORRECT);
}

static CK_RV logout(CK_SESSION_HANDLE handle)
{
    CK_RV rv = mock_enter();
    if (rv != CKR_OK) {
        return rv;
    }
    logged_in = false;
    return mock_leave(CKR_OK);
}

CK_FUNCTION_LIST mock_base = {
    .version = {2, 40},
    .C_Initialize = initialize,
    .C_Finalize = finalize,
    .C_GetInfo = get_info,
    .C_GetSlotList = get_slot_list,
    .C_GetSlotInfo = get_slot_info,
    .C_GetTokenInfo = get_token_info,
    .C_GetMechanismInfo = get_mechanism_info,
    .C_OpenSession = open_session,
    .C_CloseSession = close_session,
    .C_CloseAllSessions = close_all_sessions,
    .C_Login = login,
    .C_Logout = logout,
    .C_GenerateKeyPair = mock_generate_key_pair,
    .C_DeriveKey = mock_derive_key,
    .C_GetAttributeValue = mock_get_attribute_value,
    .C_DestroyObject = mock_destroy_object,
    .C_FindObjectsInit = mock_find_objects_init,
    .C_FindObjects = mock_find_objects,
    .C_FindObjectsFinal = mock_find_objects_final,
    .C_GenerateRandom = mock_generate_random,
};

/* The entry that every PKCS#11 module exports. */
CK_RV C_GetFunctionList(CK_FUNCTION_LIST **out)
{
    static CK_FUNCTION_LIST list;
    static bool made;
    if (!made) {
        mock_base.C_GetFunctionList = C_GetFunctionList;
        list = mock_base;
        mock_override(&list);
        mock_nth_layer(&list);
        made = true;
    }
    *out = &list;
    return CKR_OK;
}
