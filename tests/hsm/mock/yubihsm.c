/* The YubiHSM 2 in tokens.md: no session keys; the handle of a derived key is 0xff0000 + (alive in this session + 1), so
 * that one that is alive is given out again; a pair is gone with its private half; wrong logins have other names. */
#include <pthread.h>
#include <string.h>

#include "mock_store.h"

#define FIRST 0xff0000
#define DERIVED_MAX 255

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    CK_SESSION_HANDLE session;
    CK_OBJECT_HANDLE given, real;
} derived_keys[DERIVED_MAX];

static CK_RV info(CK_SLOT_ID slot, CK_TOKEN_INFO *out)
{
    CK_RV rv = mock_base.C_GetTokenInfo(slot, out);
    memcpy(out->label, "YubiHSM", 7);
    memcpy(out->manufacturerID, "Yubico (www.yubico.com)", 23);
    return rv;
}

static CK_RV login(CK_SESSION_HANDLE session, CK_USER_TYPE type, unsigned char *pin, CK_ULONG len)
{
    CK_RV rv = mock_base.C_Login(session, type, pin, len);
    return rv == CKR_PIN_INCORRECT ? CKR_OBJECT_HANDLE_INVALID : rv;
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

static CK_RV generate(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_ATTRIBUTE *public_template,
                      CK_ULONG public_count, CK_ATTRIBUTE *private_template, CK_ULONG private_count,
                      CK_OBJECT_HANDLE *public_key, CK_OBJECT_HANDLE *private_key)
{
    if (asks(private_template, private_count, CKA_TOKEN, CK_FALSE) ||
        asks(private_template, private_count, CKA_PRIVATE, CK_FALSE) ||
        asks(private_template, private_count, CKA_SENSITIVE, CK_FALSE)) {
        return CKR_ATTRIBUTE_VALUE_INVALID;
    }
    return mock_base.C_GenerateKeyPair(session, mechanism, public_template, public_count, private_template,
                                       private_count, public_key, private_key);
}

static CK_RV derive(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE base,
                    CK_ATTRIBUTE *tmpl, CK_ULONG count, CK_OBJECT_HANDLE *derived)
{
    CK_OBJECT_HANDLE real;
    CK_RV rv = mock_base.C_DeriveKey(session, mechanism, base, tmpl, count, &real);
    unsigned alive = 0, place = DERIVED_MAX;
    if (rv != CKR_OK) {
        return rv;
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
    list->C_GetTokenInfo = info;
    list->C_Login = login;
    list->C_GenerateKeyPair = generate;
    list->C_DeriveKey = derive;
    list->C_GetAttributeValue = get;
    list->C_DestroyObject = destroy;
}
