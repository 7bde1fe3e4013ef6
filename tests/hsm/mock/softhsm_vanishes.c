/* The real SoftHSM2, whose tokens can be pulled out while it works: one is gone as long as there is a file MOCK_GONE.LABEL or
 * MOCK_GONE.SERIAL. With MOCK_GONE.signing its keys do not sign, with MOCK_GONE.signing-hangs C_Sign does not return, with
 * MOCK_GONE.signing-wrong it lies, with MOCK_GONE.may-sign CKA_SIGN is false, with MOCK_GONE.secrecy
 * the values of keys that sign can be read. MOCK_DERIVE_MS is how long each derivation takes at least. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "mock.h"

#define SOFTHSM "/usr/lib/softhsm/libsofthsm2.so"
#define OPEN_MAX 256
#define SLOTS_MAX 16

static CK_FUNCTION_LIST *real;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    CK_SESSION_HANDLE session;
    CK_SLOT_ID slot;
} opened[OPEN_MAX];

static bool there(const char *name, size_t len)
{
    char path[512];
    const char *prefix = getenv("MOCK_GONE");
    while (len > 0 && name[len - 1] == ' ') {
        len--;
    }
    snprintf(path, sizeof path, "%s.%.*s", prefix != NULL ? prefix : "", (int)len, name);
    return prefix == NULL || access(path, F_OK) != 0;
}

/* Asked of SoftHSM once: its C_GetTokenInfo is not meant for several threads (gmtime). */
static bool gone(CK_SLOT_ID slot)
{
    static struct {
        CK_SLOT_ID slot;
        CK_TOKEN_INFO info;
    } known[SLOTS_MAX];
    static size_t count;
    const CK_TOKEN_INFO *info = NULL;
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < count; i++) {
        info = known[i].slot == slot ? &known[i].info : info;
    }
    if (info == NULL && count < SLOTS_MAX && real->C_GetTokenInfo(slot, &known[count].info) == CKR_OK) {
        known[count].slot = slot;
        info = &known[count++].info;
    }
    pthread_mutex_unlock(&lock);
    return info != NULL && !(there((const char *)info->label, sizeof info->label) &&
                             there((const char *)info->serialNumber, sizeof info->serialNumber));
}

static bool session_gone(CK_SESSION_HANDLE session)
{
    bool found = false;
    CK_SLOT_ID slot = 0;
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < OPEN_MAX; i++) {
        if (opened[i].session == session && session != 0) {
            found = true;
            slot = opened[i].slot;
        }
    }
    pthread_mutex_unlock(&lock);
    return found && gone(slot);
}

static CK_RV open(CK_SLOT_ID slot, CK_FLAGS flags, void *data, CK_NOTIFY notify, CK_SESSION_HANDLE *session)
{
    CK_RV rv = gone(slot) ? CKR_TOKEN_NOT_PRESENT : real->C_OpenSession(slot, flags, data, notify, session);
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < OPEN_MAX && rv == CKR_OK; i++) {
        if (opened[i].session == 0 || opened[i].session == *session) {
            opened[i].session = *session;
            opened[i].slot = slot;
            break;
        }
    }
    pthread_mutex_unlock(&lock);
    return rv;
}

static CK_RV list_slots(unsigned char present, CK_SLOT_ID *slots, CK_ULONG *count)
{
    CK_RV rv = real->C_GetSlotList(present, slots, count);
    if (rv == CKR_OK && slots != NULL && present) {
        CK_ULONG kept = 0;
        for (CK_ULONG i = 0; i < *count; i++) {
            if (!gone(slots[i])) {
                slots[kept++] = slots[i];
            }
        }
        *count = kept;
    }
    return rv;
}

static CK_RV token_info(CK_SLOT_ID slot, CK_TOKEN_INFO *info)
{
    return gone(slot) ? CKR_TOKEN_NOT_PRESENT : real->C_GetTokenInfo(slot, info);
}

static CK_RV generate(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_ATTRIBUTE *public_template,
                      CK_ULONG public_count, CK_ATTRIBUTE *private_template, CK_ULONG private_count,
                      CK_OBJECT_HANDLE *public_key, CK_OBJECT_HANDLE *private_key)
{
    return session_gone(session)
               ? CKR_DEVICE_REMOVED
               : real->C_GenerateKeyPair(session, mechanism, public_template, public_count, private_template,
                                         private_count, public_key, private_key);
}

static CK_RV derive(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE base,
                    CK_ATTRIBUTE *tmpl, CK_ULONG count, CK_OBJECT_HANDLE *derived)
{
    unsigned long ms = mock_env("MOCK_DERIVE_MS", 0);
    struct timespec pause = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};
    nanosleep(&pause, NULL);
    return session_gone(session) ? CKR_DEVICE_REMOVED
                                 : real->C_DeriveKey(session, mechanism, base, tmpl, count, derived);
}

static bool is(const char *name)
{
    return !there(name, strlen(name));
}

static CK_RV sign(CK_SESSION_HANDLE session, unsigned char *data, CK_ULONG len, unsigned char *signature,
                  CK_ULONG *signature_len)
{
    while (is("signing-hangs")) {
        pause();
    }
    CK_RV rv = real->C_Sign(session, data, len, signature, signature_len);
    if (rv == CKR_OK && is("signing-wrong")) {
        signature[5] ^= 1;
    }
    return session_gone(session) ? CKR_DEVICE_REMOVED : is("signing") ? CKR_DEVICE_ERROR : rv;
}

static CK_RV attributes(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *tmpl,
                        CK_ULONG count)
{
    CK_BBOOL signs = CK_FALSE;
    CK_ATTRIBUTE may_sign = {CKA_SIGN, &signs, sizeof signs};
    CK_RV rv = real->C_GetAttributeValue(session, object, tmpl, count);
    if (rv == CKR_OK && tmpl->type == CKA_SIGN && is("may-sign")) {
        *(CK_BBOOL *)tmpl->pValue = CK_FALSE;
    }
    if (tmpl->type == CKA_VALUE && is("secrecy") &&
        real->C_GetAttributeValue(session, object, &may_sign, 1) == CKR_OK && signs) {
        tmpl->ulValueLen = 32;
        rv = CKR_OK;
    }
    return rv;
}

static CK_RV random_bytes(CK_SESSION_HANDLE session, unsigned char *data, CK_ULONG len)
{
    return session_gone(session) ? CKR_DEVICE_REMOVED : real->C_GenerateRandom(session, data, len);
}

static CK_RV destroy(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object)
{
    return session_gone(session) ? CKR_DEVICE_REMOVED : real->C_DestroyObject(session, object);
}

static CK_RV login(CK_SESSION_HANDLE session, CK_USER_TYPE user, unsigned char *pin, CK_ULONG len)
{
    return session_gone(session) ? CKR_DEVICE_REMOVED : real->C_Login(session, user, pin, len);
}

void mock_override(CK_FUNCTION_LIST *list)
{
    CK_C_GetFunctionList get;
    void *handle = dlopen(SOFTHSM, RTLD_NOW | RTLD_LOCAL), *symbol;
    if (handle == NULL || (symbol = dlsym(handle, "C_GetFunctionList")) == NULL) {
        fprintf(stderr, "no SoftHSM2: %s\n", dlerror());
        abort();
    }
    memcpy(&get, &symbol, sizeof get);
    get(&real);
    *list = *real;
    list->C_OpenSession = open;
    list->C_GetSlotList = list_slots;
    list->C_GetTokenInfo = token_info;
    list->C_GenerateKeyPair = generate;
    list->C_DeriveKey = derive;
    list->C_GenerateRandom = random_bytes;
    list->C_DestroyObject = destroy;
    list->C_Login = login;
    list->C_Sign = sign;
    list->C_GetAttributeValue = attributes;
}
