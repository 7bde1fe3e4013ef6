/* The YubiHSM 2 in tokens.md: no session keys; the handle of a derived key is 0xff0000 + (alive in this session + 1), so
 * that one that is alive is given out again; a pair is gone with its private half; wrong logins have other names. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "mock_store.h"

#define FIRST 0xff0000
#define DERIVED_MAX 255

static bool logged_out; /* once, by MOCK_AFTER, at a generation */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    CK_SESSION_HANDLE session;
    CK_OBJECT_HANDLE given, real;
} derived_keys[DERIVED_MAX];

/* Without configuration, or without locks, it is of no use. */
static CK_RV initialize(void *args)
{
    CK_C_INITIALIZE_ARGS *a = args;
    if (mock_env("MOCK_NO_CONF", 0) != 0) {
        return CKR_ARGUMENTS_BAD;
    }
    if (a == NULL || (a->flags & CKF_OS_LOCKING_OK) == 0) {
        mock_log("two threads at once"); /* DEVICE_REMOVED on most calls */
    }
    return mock_base.C_Initialize(args);
}

static CK_RV info(CK_SLOT_ID slot, CK_TOKEN_INFO *out)
{
    CK_RV rv = mock_base.C_GetTokenInfo(slot, out);
    memcpy(out->label, "YubiHSM", 7);
    memcpy(out->manufacturerID, "Yubico (www.yubico.com)", 23);
    return rv;
}

static CK_RV login(CK_SESSION_HANDLE session, CK_USER_TYPE type, unsigned char *pin, CK_ULONG len)
{
    if (len < 4) {
        mock_log("login short");
        return CKR_ARGUMENTS_BAD;
    }
    CK_RV rv = mock_base.C_Login(session, type, pin, len); /* the key's id first, then its password */
    return rv == CKR_PIN_INCORRECT && memcmp(pin, MOCK_PIN, 2) != 0 ? CKR_OBJECT_HANDLE_INVALID : rv;
}

static bool asks(CK_ATTRIBUTE *tmpl, CK_ULONG count, CK_ATTRIBUTE_TYPE type, unsigned char value)
{
    for (CK_ULONG i = 0; i < count; i++) {
        if (tmpl[i].type == type && *(unsigned char *)tmpl[i].pValue == value) {
            return true;
        }
    }
    return false;
}

static bool costs_more(CK_ATTRIBUTE *tmpl, CK_ULONG count)
{
    for (CK_ULONG i = 0; i < count; i++) {
        if ((tmpl[i].type == CKA_ID && tmpl[i].ulValueLen != 2) ||
            (tmpl[i].type == CKA_LABEL && tmpl[i].ulValueLen > 40)) {
            return true;
        }
    }
    return false;
}

static CK_RV generate(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_ATTRIBUTE *public_template,
                      CK_ULONG public_count, CK_ATTRIBUTE *private_template, CK_ULONG private_count,
                      CK_OBJECT_HANDLE *public_key, CK_OBJECT_HANDLE *private_key)
{
    if (asks(private_template, private_count, CKA_TOKEN, CK_FALSE) ||
        asks(private_template, private_count, CKA_PRIVATE, CK_FALSE) ||
        asks(private_template, private_count, CKA_SENSITIVE, CK_FALSE)) {
        return CKR_ATTRIBUTE_VALUE_INVALID;
    }
    if (mock_object_count() + 2 > 2 * mock_env("MOCK_ROOM", 256)) {
        return CKR_DEVICE_MEMORY;
    }
    if (costs_more(private_template, private_count)) {
        mock_log("a second object for a name");
    }
    if (getenv("MOCK_AFTER") != NULL && !logged_out && mock_after(0)) {
        logged_out = true;
        mock_base.C_Logout(session);
    }
    CK_RV rv = mock_base.C_GenerateKeyPair(session, mechanism, public_template, public_count,
                                           private_template, private_count, public_key, private_key);
    return rv == CKR_USER_NOT_LOGGED_IN ? CKR_SESSION_READ_ONLY : rv;
}

static CK_RV derive(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE base,
                    CK_ATTRIBUTE *tmpl, CK_ULONG count, CK_OBJECT_HANDLE *derived)
{
    CK_OBJECT_HANDLE real;
    if (!asks(tmpl, count, CKA_TOKEN, CK_FALSE) || !asks(tmpl, count, CKA_EXTRACTABLE, CK_TRUE)) {
        return CKR_ATTRIBUTE_VALUE_INVALID;
    }
    CK_RV rv = mock_base.C_DeriveKey(session, mechanism, base, tmpl, count, &real);
    unsigned alive = 0, place = DERIVED_MAX;
    if (rv == CKR_GENERAL_ERROR) {
        mock_log("a bad point came through");
    }
    if (rv != CKR_OK) {
        return rv == CKR_GENERAL_ERROR                ? CKR_DEVICE_ERROR
               : rv == CKR_KEY_FUNCTION_NOT_PERMITTED ? CKR_FUNCTION_REJECTED
               : rv == CKR_KEY_HANDLE_INVALID         ? CKR_OBJECT_HANDLE_INVALID
                                                      : rv;
    }
    pthread_mutex_lock(&lock);
    for (unsigned i = 0; i < DERIVED_MAX; i++) {
        alive += derived_keys[i].given != 0 && derived_keys[i].session == session;
        place = derived_keys[i].given == 0 && place == DERIVED_MAX ? i : place;
    }
    if (place == DERIVED_MAX) {
        rv = CKR_FUNCTION_REJECTED;
    } else {
        *derived = derived_keys[place].given = FIRST + alive + 1;
        derived_keys[place].session = session;
        derived_keys[place].real = real;
    }
    if (alive > 0) {
        mock_log("two derived keys in one session");
    }
    pthread_mutex_unlock(&lock);
    return rv;
}

/* The oldest of that handle in the session: a wrong one when it was given out twice. */
static CK_OBJECT_HANDLE real_of(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE given, bool forget)
{
    CK_OBJECT_HANDLE real = given;
    pthread_mutex_lock(&lock);
    for (unsigned i = 0; given > FIRST && i < DERIVED_MAX; i++) {
        if (derived_keys[i].given == given && derived_keys[i].session == session) {
            real = derived_keys[i].real;
            derived_keys[i].given = forget ? 0 : derived_keys[i].given;
            break;
        }
    }
    pthread_mutex_unlock(&lock);
    return real;
}

static CK_RV get(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *tmpl, CK_ULONG count)
{
    return mock_base.C_GetAttributeValue(session, real_of(session, object, false), tmpl, count);
}

static CK_RV destroy(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object)
{
    struct mock_object *o = object > FIRST ? NULL : mock_object(object);
    if (o != NULL && o->class == CKO_PRIVATE_KEY) {
        mock_base.C_DestroyObject(session, object + 1); /* its public half, made with it */
    }
    return mock_base.C_DestroyObject(session, real_of(session, object, true));
}

void mock_override(CK_FUNCTION_LIST *list)
{
    list->C_Initialize = initialize;
    list->C_GetTokenInfo = info;
    list->C_Login = login;
    list->C_GenerateKeyPair = generate;
    list->C_DeriveKey = derive;
    list->C_GetAttributeValue = get;
    list->C_DestroyObject = destroy;
}
