/* Failure of the Nth call: a layer over everything, overrides included. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mock_calls.h"

static CK_FUNCTION_LIST inner;
static atomic_ulong calls;

unsigned long mock_calls(void)
{
    return calls;
}

/* Counts the call. True when it is one of those that fail. */
static bool due(const char *name)
{
    const char *only = getenv("MOCK_FAIL_NAME");
    unsigned long at = mock_env("MOCK_FAIL_AT", 0), now;
    char line[64];
    if (only != NULL && *only != '\0' && strcmp(only, name) != 0) {
        return false;
    }
    now = atomic_fetch_add(&calls, 1) + 1;
    if (at == 0 || now < at || now - at >= mock_env("MOCK_FAIL_COUNT", 1)) {
        return false;
    }
    snprintf(line, sizeof line, "failed %lu %s", now, name);
    mock_log(line);
    return true;
}

/* What a failing call says, if it says anything. */
static CK_RV value(void)
{
    while (mock_env("MOCK_FAIL_HANG", 0) != 0) {
        pause();
    }
    return mock_env("MOCK_FAIL_RV", CKR_DEVICE_ERROR);
}

/* A call that fails late has done its work, but says otherwise. */
#define LAYER(name, parameters, ...)                                                                         \
    static CK_RV nth_##name parameters                                                                       \
    {                                                                                                        \
        bool fails = due(#name);                                                                             \
        if (fails && mock_env("MOCK_FAIL_LATE", 0) == 0) {                                                   \
            return value();                                                                                  \
        }                                                                                                    \
        CK_RV rv = inner.name(__VA_ARGS__);                                                                  \
        return fails && rv == CKR_OK ? value() : rv;                                                         \
    }

LAYER(C_SignInit, (CK_SESSION_HANDLE s, CK_MECHANISM *m, CK_OBJECT_HANDLE key), s, m, key)
LAYER(C_Sign,
      (CK_SESSION_HANDLE s, unsigned char *data, CK_ULONG len, unsigned char *signature,
       CK_ULONG *signature_len),
      s, data, len, signature, signature_len)

#define PUT(name) list->name = nth_##name

/* The mocks of our own do not sign. */
static void put_signing(CK_FUNCTION_LIST *list)
{
    if (inner.C_Sign != NULL) {
        PUT(C_SignInit);
        PUT(C_Sign);
    }
}

LAYER(C_Initialize, (void *args), args)
LAYER(C_Finalize, (void *args), args)
LAYER(C_GetInfo, (CK_INFO * info), info)
LAYER(C_GetSlotList, (unsigned char present, CK_SLOT_ID *slots, CK_ULONG *count), present, slots, count)
LAYER(C_GetSlotInfo, (CK_SLOT_ID slot, CK_SLOT_INFO *info), slot, info)
LAYER(C_GetTokenInfo, (CK_SLOT_ID slot, CK_TOKEN_INFO *info), slot, info)
LAYER(C_GetMechanismInfo, (CK_SLOT_ID slot, CK_MECHANISM_TYPE type, CK_MECHANISM_INFO *info), slot, type,
      info)
LAYER(C_OpenSession, (CK_SLOT_ID slot, CK_FLAGS flags, void *data, CK_NOTIFY notify, CK_SESSION_HANDLE *s),
      slot, flags, data, notify, s)
LAYER(C_CloseSession, (CK_SESSION_HANDLE s), s)
LAYER(C_CloseAllSessions, (CK_SLOT_ID slot), slot)
LAYER(C_Login, (CK_SESSION_HANDLE s, CK_USER_TYPE type, unsigned char *pin, CK_ULONG len), s, type, pin, len)
LAYER(C_Logout, (CK_SESSION_HANDLE s), s)
LAYER(C_GenerateKeyPair,
      (CK_SESSION_HANDLE s, CK_MECHANISM *m, CK_ATTRIBUTE *a, CK_ULONG na, CK_ATTRIBUTE *b, CK_ULONG nb,
       CK_OBJECT_HANDLE *x, CK_OBJECT_HANDLE *y),
      s, m, a, na, b, nb, x, y)
LAYER(C_DeriveKey,
      (CK_SESSION_HANDLE s, CK_MECHANISM *m, CK_OBJECT_HANDLE base, CK_ATTRIBUTE *a, CK_ULONG n,
       CK_OBJECT_HANDLE *derived),
      s, m, base, a, n, derived)
LAYER(C_GetAttributeValue, (CK_SESSION_HANDLE s, CK_OBJECT_HANDLE o, CK_ATTRIBUTE *a, CK_ULONG n), s, o, a, n)
LAYER(C_DestroyObject, (CK_SESSION_HANDLE s, CK_OBJECT_HANDLE o), s, o)
LAYER(C_FindObjectsInit, (CK_SESSION_HANDLE s, CK_ATTRIBUTE *a, CK_ULONG n), s, a, n)
LAYER(C_FindObjects, (CK_SESSION_HANDLE s, CK_OBJECT_HANDLE *o, CK_ULONG max, CK_ULONG *n), s, o, max, n)
LAYER(C_FindObjectsFinal, (CK_SESSION_HANDLE s), s)
LAYER(C_GenerateRandom, (CK_SESSION_HANDLE s, unsigned char *data, CK_ULONG len), s, data, len)

void mock_nth_layer(CK_FUNCTION_LIST *list)
{
    inner = *list;
    PUT(C_Initialize);
    PUT(C_Finalize);
    PUT(C_GetInfo);
    PUT(C_GetSlotList);
    PUT(C_GetSlotInfo);
    PUT(C_GetTokenInfo);
    PUT(C_GetMechanismInfo);
    PUT(C_OpenSession);
    PUT(C_CloseSession);
    PUT(C_CloseAllSessions);
    PUT(C_Login);
    PUT(C_Logout);
    PUT(C_GenerateKeyPair);
    PUT(C_DeriveKey);
    PUT(C_GetAttributeValue);
    PUT(C_DestroyObject);
    PUT(C_FindObjectsInit);
    PUT(C_FindObjects);
    PUT(C_FindObjectsFinal);
    PUT(C_GenerateRandom);
    put_signing(list);
}
