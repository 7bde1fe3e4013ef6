/* Pairs in the device, and derived keys in the module, whose handles are given out twice. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "../mock_calls.h"
#include "yubihsm.h"

#define DERIVED (2 * YUBI_DERIVED_MAX)
#define ODD_IDS 64

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct derived {
    CK_SESSION_HANDLE session; /* 0: free */
    CK_OBJECT_HANDLE given, real;
    unsigned long number; /* counts up */
    CK_ULONG len;
} derived_keys[DERIVED];
static CK_OBJECT_HANDLE odd_ids[ODD_IDS]; /* private keys whose ID has not 2 bytes */
static bool logged_out;                   /* once, by MOCK_AFTER, at a generation */

static CK_ATTRIBUTE *find(CK_ATTRIBUTE *tmpl, CK_ULONG count, CK_ATTRIBUTE_TYPE type)
{
    for (CK_ULONG i = 0; i < count; i++) {
        if (tmpl[i].type == type) {
            return &tmpl[i];
        }
    }
    return NULL;
}

static bool asks(CK_ATTRIBUTE *tmpl, CK_ULONG count, CK_ATTRIBUTE_TYPE type, unsigned char value)
{
    CK_ATTRIBUTE *a = find(tmpl, count, type);
    return a != NULL && a->ulValueLen == 1 && *(unsigned char *)a->pValue == value;
}

static bool has_odd_id(CK_OBJECT_HANDLE private_key)
{
    for (size_t i = 0; i < ODD_IDS; i++) {
        if (odd_ids[i] == private_key) {
            return true;
        }
    }
    return false;
}

/* Under mock_lock. Objects of the device: one for a pair, and one more when its names do not fit into that. */
static unsigned long objects_in_use(void)
{
    unsigned long n = 0;
    for (size_t i = 0; i < MOCK_OBJECTS; i++) {
        const struct mock_object *o = &mock_objects[i], *half = mock_object(o->handle + 1);
        if (o->handle == 0 || o->class != CKO_PRIVATE_KEY) {
            continue;
        }
        bool named_apart = half != NULL && strcmp(o->label, half->label) != 0;
        n += 1 + (strlen(o->label) > 40 || named_apart || has_odd_id(o->handle));
    }
    return n;
}

static CK_RV refuse_pair(CK_ATTRIBUTE *private_template, CK_ULONG private_count)
{
    if (asks(private_template, private_count, CKA_TOKEN, CK_FALSE) ||
        asks(private_template, private_count, CKA_PRIVATE, CK_FALSE) ||
        asks(private_template, private_count, CKA_SENSITIVE, CK_FALSE)) {
        return CKR_ATTRIBUTE_VALUE_INVALID;
    }
    pthread_mutex_lock(&mock_lock);
    bool full = objects_in_use() >= mock_env("MOCK_ROOM", 256);
    pthread_mutex_unlock(&mock_lock);
    return full ? CKR_DEVICE_MEMORY : CKR_OK;
}

static void note_names(CK_ATTRIBUTE *private_template, CK_ULONG private_count, CK_OBJECT_HANDLE private_key)
{
    CK_ATTRIBUTE *id = find(private_template, private_count, CKA_ID);
    bool odd = id != NULL && id->ulValueLen != 2;
    for (size_t i = 0; odd && i < ODD_IDS; i++) {
        if (odd_ids[i] == 0) {
            odd_ids[i] = private_key;
            break;
        }
    }
    pthread_mutex_lock(&mock_lock);
    const struct mock_object *o = mock_object(private_key), *half = mock_object(private_key + 1);
    bool more = odd || strlen(o->label) > 40 || strcmp(o->label, half->label) != 0;
    pthread_mutex_unlock(&mock_lock);
    if (more) {
        mock_log("a second object for a name");
    }
}

CK_RV yubi_generate(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_ATTRIBUTE *public_template,
                    CK_ULONG public_count, CK_ATTRIBUTE *private_template, CK_ULONG private_count,
                    CK_OBJECT_HANDLE *public_key, CK_OBJECT_HANDLE *private_key)
{
    CK_RV rv = yubi_device_begin();
    if (rv != CKR_OK) {
        return rv;
    }
    rv = refuse_pair(private_template, private_count);
    if (rv != CKR_OK) {
        return yubi_device_end(rv);
    }
    if (getenv("MOCK_AFTER") != NULL && !logged_out && mock_after(0)) {
        logged_out = true;
        mock_base.C_Logout(session);
    }
    rv = mock_base.C_GenerateKeyPair(session, mechanism, public_template, public_count, private_template,
                                     private_count, public_key, private_key);
    if (rv == CKR_OK) {
        note_names(private_template, private_count, *private_key);
    }
    return yubi_device_end(rv == CKR_USER_NOT_LOGGED_IN ? CKR_SESSION_READ_ONLY : rv);
}

/* VALUE_LEN's low-order bytes are given. */
static CK_RV refuse_derive(CK_MECHANISM *mechanism, CK_ATTRIBUTE *tmpl, CK_ULONG count, CK_ULONG *len)
{
    const struct ecdh1_params *params = mechanism->pParameter;
    CK_ATTRIBUTE *type = find(tmpl, count, CKA_KEY_TYPE), *wanted = find(tmpl, count, CKA_VALUE_LEN);
    *len = wanted != NULL ? *(CK_ULONG *)wanted->pValue : 32;
    if (asks(tmpl, count, CKA_TOKEN, CK_TRUE) || asks(tmpl, count, CKA_EXTRACTABLE, CK_FALSE) ||
        (type != NULL && *(CK_KEY_TYPE *)type->pValue != CKK_GENERIC_SECRET)) {
        return CKR_ATTRIBUTE_VALUE_INVALID;
    }
    if (*len == 0 || *len > 32 || (mechanism->ulParameterLen == sizeof *params && params->public_len != 65)) {
        return CKR_DATA_LEN_RANGE;
    }
    return CKR_OK;
}

static unsigned long alive_in(CK_SESSION_HANDLE session)
{
    unsigned long alive = 0;
    for (size_t i = 0; i < DERIVED; i++) {
        alive += derived_keys[i].session == session;
    }
    return alive;
}

/* Under the lock. */
static CK_RV remember(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE real, CK_ULONG len, CK_OBJECT_HANDLE *given)
{
    static unsigned long last;
    unsigned long alive = alive_in(session);
    if (alive > 0) {
        mock_log("two derived keys in one session");
    }
    for (size_t i = 0; alive < YUBI_DERIVED_MAX && i < DERIVED; i++) {
        if (derived_keys[i].session == 0) {
            *given = YUBI_FIRST_DERIVED + alive + 1;
            derived_keys[i] = (struct derived){session, *given, real, ++last, len};
            return CKR_OK;
        }
    }
    return CKR_FUNCTION_REJECTED;
}

static CK_RV translate(CK_RV rv)
{
    switch (rv) {
    case CKR_GENERAL_ERROR:
        mock_log("a bad point came through");
        return CKR_DEVICE_ERROR;
    case CKR_KEY_FUNCTION_NOT_PERMITTED:
        return CKR_FUNCTION_REJECTED;
    case CKR_KEY_HANDLE_INVALID:
        return CKR_OBJECT_HANDLE_INVALID;
    default:
        return rv;
    }
}

CK_RV yubi_derive(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE base,
                  CK_ATTRIBUTE *tmpl, CK_ULONG count, CK_OBJECT_HANDLE *derived)
{
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_KEY_TYPE type = CKK_GENERIC_SECRET;
    CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    CK_ULONG full = 32, len;
    CK_ATTRIBUTE plain[] = {{CKA_CLASS, &class, sizeof class},   {CKA_KEY_TYPE, &type, sizeof type},
                            {CKA_TOKEN, &no, sizeof no},         {CKA_SENSITIVE, &no, sizeof no},
                            {CKA_EXTRACTABLE, &yes, sizeof yes}, {CKA_VALUE_LEN, &full, sizeof full}};
    CK_OBJECT_HANDLE real;
    CK_RV rv = refuse_derive(mechanism, tmpl, count, &len);
    if (rv != CKR_OK || (rv = yubi_device_begin()) != CKR_OK) {
        return rv;
    }
    rv = translate(
        mock_base.C_DeriveKey(session, mechanism, base, plain, sizeof plain / sizeof *plain, &real));
    if (rv == CKR_OK) {
        pthread_mutex_lock(&lock);
        rv = remember(session, real, len, derived);
        pthread_mutex_unlock(&lock);
        if (rv != CKR_OK) {
            mock_base.C_DestroyObject(session, real);
        }
    }
    return yubi_device_end(rv);
}

/* The oldest of that handle in the session: a wrong one when it was given out twice. Under the lock; NULL: none. */
static struct derived *oldest(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE given)
{
    struct derived *found = NULL;
    for (size_t i = 0; i < DERIVED; i++) {
        struct derived *d = &derived_keys[i];
        if (d->session == session && d->given == given && (found == NULL || d->number < found->number)) {
            found = d;
        }
    }
    return found;
}

static CK_RV get_low_order(CK_SESSION_HANDLE session, const struct derived *d, CK_ATTRIBUTE *a)
{
    unsigned char value[32];
    CK_ATTRIBUTE whole = {CKA_VALUE, value, sizeof value};
    CK_RV rv = mock_base.C_GetAttributeValue(session, d->real, &whole, 1);
    if (rv == CKR_OK && a->pValue != NULL && a->ulValueLen < d->len) {
        rv = CKR_BUFFER_TOO_SMALL;
    } else if (rv == CKR_OK && a->pValue != NULL) {
        memcpy(a->pValue, value + sizeof value - d->len, d->len);
    }
    a->ulValueLen = d->len;
    return rv;
}

CK_RV yubi_get(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *tmpl, CK_ULONG count)
{
    if (object > YUBI_FIRST_DERIVED) { /* the module's own: the device is not asked */
        pthread_mutex_lock(&lock);
        const struct derived *d = oldest(session, object);
        CK_RV rv = d == NULL ? CKR_OBJECT_HANDLE_INVALID
                   : count == 1 && tmpl->type == CKA_VALUE
                       ? get_low_order(session, d, tmpl)
                       : mock_base.C_GetAttributeValue(session, d->real, tmpl, count);
        pthread_mutex_unlock(&lock);
        return rv;
    }
    CK_RV rv = yubi_device_begin();
    return rv != CKR_OK ? rv : yubi_device_end(mock_base.C_GetAttributeValue(session, object, tmpl, count));
}

CK_RV yubi_destroy(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object)
{
    if (object > YUBI_FIRST_DERIVED) {
        pthread_mutex_lock(&lock);
        struct derived *d = oldest(session, object);
        CK_RV rv = d == NULL ? CKR_OBJECT_HANDLE_INVALID : mock_base.C_DestroyObject(session, d->real);
        if (d != NULL) {
            *d = (struct derived){0};
        }
        pthread_mutex_unlock(&lock);
        return rv;
    }
    CK_RV rv = yubi_device_begin();
    if (rv != CKR_OK) {
        return rv;
    }
    pthread_mutex_lock(&mock_lock);
    const struct mock_object *o = mock_object(object);
    bool pair = o != NULL && o->class == CKO_PRIVATE_KEY;
    pthread_mutex_unlock(&mock_lock);
    if (pair) {
        mock_base.C_DestroyObject(session, object + 1); /* its public half, made with it */
    }
    return yubi_device_end(mock_base.C_DestroyObject(session, object));
}

void yubi_forget_derived(CK_SESSION_HANDLE session)
{
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < DERIVED; i++) {
        if (session == 0 || derived_keys[i].session == session) {
            derived_keys[i] = (struct derived){0};
        }
    }
    pthread_mutex_unlock(&lock);
}
