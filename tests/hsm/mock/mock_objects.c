/* Keys: secp256k1 by libsecp256k1. Strict where real tokens are. */
#include <secp256k1.h>
#include <secp256k1_ecdh.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "mock_calls.h"

static const unsigned char curve[] = {0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x0a};

static secp256k1_context *context(void)
{
    static secp256k1_context *made; /* under the lock */
    if (made == NULL) {
        made = secp256k1_context_create(SECP256K1_CONTEXT_SIGN | SECP256K1_CONTEXT_VERIFY);
    }
    return made;
}

static void spend(const char *variable)
{
    unsigned long ms = mock_env(variable, 0);
    if (ms > 0) {
        struct timespec time = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};
        nanosleep(&time, NULL);
    }
}

static CK_ATTRIBUTE *find(CK_ATTRIBUTE *tmpl, CK_ULONG count, CK_ATTRIBUTE_TYPE type)
{
    for (CK_ULONG i = 0; i < count; i++) {
        if (tmpl[i].type == type) {
            return &tmpl[i];
        }
    }
    return NULL;
}

static bool flag(CK_ATTRIBUTE *tmpl, CK_ULONG count, CK_ATTRIBUTE_TYPE type, bool otherwise)
{
    CK_ATTRIBUTE *a = find(tmpl, count, type);
    return a != NULL && a->ulValueLen == 1 ? *(unsigned char *)a->pValue != 0 : otherwise;
}

static void copy_label(struct mock_object *object, CK_ATTRIBUTE *tmpl, CK_ULONG count)
{
    CK_ATTRIBUTE *a = find(tmpl, count, CKA_LABEL);
    if (a != NULL && a->ulValueLen <= MOCK_LABEL) {
        memcpy(object->label, a->pValue, a->ulValueLen);
    }
}

static bool random_pair(struct mock_object *private_key, struct mock_object *public_key)
{
    secp256k1_pubkey point;
    size_t len = sizeof public_key->point;
    do {
        if (getrandom(private_key->value, sizeof private_key->value, 0) !=
            (ssize_t)sizeof private_key->value) {
            return false;
        }
    } while (!secp256k1_ec_pubkey_create(context(), &point, private_key->value));
    secp256k1_ec_pubkey_serialize(context(), public_key->point, &len, &point, SECP256K1_EC_UNCOMPRESSED);
    mock_publish("scalar", private_key->value);
    return true;
}

CK_RV mock_generate_key_pair(CK_SESSION_HANDLE handle, CK_MECHANISM *mechanism, CK_ATTRIBUTE *public_template,
                             CK_ULONG public_count, CK_ATTRIBUTE *private_template, CK_ULONG private_count,
                             CK_OBJECT_HANDLE *public_key, CK_OBJECT_HANDLE *private_key)
{
    CK_ATTRIBUTE *params = find(public_template, public_count, CKA_EC_PARAMS);
    spend("MOCK_GENERATE_MS");
    CK_RV rv = mock_enter();
    if (rv != CKR_OK) {
        return rv;
    }
    if (mock_session(handle) == NULL) {
        return mock_leave(CKR_SESSION_HANDLE_INVALID);
    }
    if (!mock_logged_in()) {
        return mock_leave(CKR_USER_NOT_LOGGED_IN);
    }
    if (mechanism->mechanism != CKM_EC_KEY_PAIR_GEN) {
        return mock_leave(CKR_MECHANISM_INVALID);
    }
    if (params == NULL || params->ulValueLen != sizeof curve ||
        memcmp(params->pValue, curve, sizeof curve) != 0) {
        return mock_leave(CKR_CURVE_NOT_SUPPORTED);
    }
    struct mock_object *private_ = mock_object_new(handle), *public_ = mock_object_new(handle);
    if (private_ == NULL || public_ == NULL || !random_pair(private_, public_)) {
        return mock_leave(CKR_DEVICE_MEMORY);
    }
    private_->class = CKO_PRIVATE_KEY;
    private_->token = flag(private_template, private_count, CKA_TOKEN, false);
    private_->sensitive = flag(private_template, private_count, CKA_SENSITIVE, false);
    private_->private_ = flag(private_template, private_count, CKA_PRIVATE, false);
    private_->extractable = flag(private_template, private_count, CKA_EXTRACTABLE, true);
    private_->derive = flag(private_template, private_count, CKA_DERIVE, false);
    copy_label(private_, private_template, private_count);
    public_->class = CKO_PUBLIC_KEY;
    public_->token = flag(public_template, public_count, CKA_TOKEN, false);
    copy_label(public_, public_template, public_count);
    *private_key = private_->handle;
    *public_key = public_->handle;
    if (private_->token || public_->token) {
        mock_store_save();
    }
    return mock_leave(CKR_OK);
}

static int copy_x(unsigned char *out, const unsigned char *x, const unsigned char *y, void *data)
{
    memcpy(out, x, 32);
    return 1;
}

static CK_RV judge_derive(CK_MECHANISM *mechanism, struct mock_object *base, CK_ATTRIBUTE *tmpl,
                          CK_ULONG count)
{
    const struct ecdh1_params *params = mechanism->pParameter;
    CK_ATTRIBUTE *len = find(tmpl, count, CKA_VALUE_LEN);
    if (mechanism->mechanism != CKM_ECDH1_DERIVE) {
        return CKR_MECHANISM_INVALID;
    }
    if (mechanism->ulParameterLen != sizeof *params || params->kdf != CKD_NULL || params->shared_len != 0 ||
        params->public_len != 65) {
        return CKR_MECHANISM_PARAM_INVALID;
    }
    if (base == NULL || base->class != CKO_PRIVATE_KEY) {
        return CKR_KEY_HANDLE_INVALID;
    }
    if (!base->derive) {
        return CKR_KEY_FUNCTION_NOT_PERMITTED;
    }
    if (find(tmpl, count, CKA_TOKEN) == NULL || find(tmpl, count, CKA_CLASS) == NULL ||
        find(tmpl, count, CKA_KEY_TYPE) == NULL || len == NULL || *(CK_ULONG *)len->pValue != 32) {
        return CKR_TEMPLATE_INCOMPLETE;
    }
    return CKR_OK;
}

CK_RV mock_derive_key(CK_SESSION_HANDLE handle, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE base,
                      CK_ATTRIBUTE *tmpl, CK_ULONG count, CK_OBJECT_HANDLE *derived)
{
    const struct ecdh1_params *params = mechanism->pParameter;
    secp256k1_pubkey point;
    spend("MOCK_DERIVE_MS");
    CK_RV rv = mock_enter();
    if (rv != CKR_OK) {
        return rv;
    }
    mock_store_save(); /* another process may have destroyed it */
    struct mock_object *private_key = mock_object(base);
    rv = mock_session(handle) == NULL ? CKR_SESSION_HANDLE_INVALID
         : !mock_logged_in()          ? CKR_USER_NOT_LOGGED_IN
                                      : judge_derive(mechanism, private_key, tmpl, count);
    if (rv == CKR_OK && secp256k1_ec_pubkey_parse(context(), &point, params->public_point, 65) != 1) {
        rv = CKR_GENERAL_ERROR;
    }
    struct mock_object *secret = rv == CKR_OK ? mock_object_new(handle) : NULL;
    if (rv == CKR_OK && secret == NULL) {
        rv = CKR_DEVICE_MEMORY;
    }
    if (rv == CKR_OK) {
        secret->class = CKO_SECRET_KEY;
        secret->extractable = flag(tmpl, count, CKA_EXTRACTABLE, false);
        secret->sensitive = flag(tmpl, count, CKA_SENSITIVE, true);
        secret->token = flag(tmpl, count, CKA_TOKEN, false);
        if (secp256k1_ecdh(context(), secret->value, &point, private_key->value, copy_x, NULL) != 1) {
            rv = CKR_GENERAL_ERROR;
        }
        mock_publish("shared", secret->value);
        *derived = secret->handle;
    }
    return mock_leave(rv);
}

static CK_RV give(CK_ATTRIBUTE *a, const void *value, size_t len)
{
    if (a->pValue != NULL && a->ulValueLen < len) {
        a->ulValueLen = CK_UNAVAILABLE_INFORMATION;
        return CKR_BUFFER_TOO_SMALL;
    }
    if (a->pValue != NULL) {
        memcpy(a->pValue, value, len);
    }
    a->ulValueLen = len;
    return CKR_OK;
}

static CK_RV give_flag(CK_ATTRIBUTE *a, bool value)
{
    unsigned char byte = value;
    return give(a, &byte, 1);
}

static CK_RV give_attribute(const struct mock_object *o, CK_ATTRIBUTE *a)
{
    unsigned char point[67] = {0x04, 65};
    bool key = o->class == CKO_PRIVATE_KEY;
    switch (a->type) {
    case CKA_CLASS:
        return give(a, &o->class, sizeof o->class);
    case CKA_TOKEN:
        return give_flag(a, o->token);
    case CKA_LABEL:
        return give(a, o->label, strlen(o->label));
    case CKA_EC_POINT:
        memcpy(point + 2, o->point, 65);
        return o->class == CKO_PUBLIC_KEY ? give(a, point, sizeof point) : CKR_ATTRIBUTE_TYPE_INVALID;
    case CKA_VALUE:
        a->ulValueLen = o->sensitive || !o->extractable ? CK_UNAVAILABLE_INFORMATION : a->ulValueLen;
        return o->sensitive || !o->extractable ? CKR_ATTRIBUTE_SENSITIVE : give(a, o->value, sizeof o->value);
    case CKA_SENSITIVE:
    case CKA_ALWAYS_SENSITIVE:
        return give_flag(a, o->sensitive);
    case CKA_EXTRACTABLE:
        return give_flag(a, o->extractable);
    case CKA_NEVER_EXTRACTABLE:
        return key ? give_flag(a, !o->extractable) : CKR_ATTRIBUTE_TYPE_INVALID;
    case CKA_LOCAL:
        return give_flag(a, key);
    default:
        return CKR_ATTRIBUTE_TYPE_INVALID;
    }
}

CK_RV mock_get_attribute_value(CK_SESSION_HANDLE handle, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *tmpl,
                               CK_ULONG count)
{
    CK_RV rv = mock_enter();
    if (rv != CKR_OK) {
        return rv;
    }
    const struct mock_object *o = mock_object(object);
    if (mock_session(handle) == NULL || o == NULL) {
        return mock_leave(o == NULL ? CKR_OBJECT_HANDLE_INVALID : CKR_SESSION_HANDLE_INVALID);
    }
    for (CK_ULONG i = 0; i < count; i++) {
        CK_RV one = give_attribute(o, &tmpl[i]);
        rv = rv == CKR_OK ? one : rv;
    }
    return mock_leave(rv);
}

CK_RV mock_destroy_object(CK_SESSION_HANDLE handle, CK_OBJECT_HANDLE object)
{
    CK_RV rv = mock_enter();
    if (rv != CKR_OK) {
        return rv;
    }
    struct mock_object *o = mock_object(object);
    if (mock_session(handle) == NULL || o == NULL) {
        return mock_leave(o == NULL ? CKR_OBJECT_HANDLE_INVALID : CKR_SESSION_HANDLE_INVALID);
    }
    if (o->class != CKO_SECRET_KEY) {
        spend("MOCK_DESTROY_MS");
    }
    mock_object_free(o);
    return mock_leave(CKR_OK);
}

static bool matches(const struct mock_object *o, CK_ATTRIBUTE *tmpl, CK_ULONG count)
{
    CK_ATTRIBUTE *class = find(tmpl, count, CKA_CLASS), *label = find(tmpl, count, CKA_LABEL);
    return (class == NULL || *(CK_OBJECT_CLASS *)class->pValue == o->class) &&
           (label == NULL || (label->ulValueLen == strlen(o->label) &&
                              memcmp(label->pValue, o->label, label->ulValueLen) == 0));
}

CK_RV mock_find_objects_init(CK_SESSION_HANDLE handle, CK_ATTRIBUTE *tmpl, CK_ULONG count)
{
    CK_RV rv = mock_enter();
    if (rv != CKR_OK) {
        return rv;
    }
    mock_store_save();
    struct mock_session *s = mock_session(handle);
    if (s == NULL || s->finding) {
        return mock_leave(s == NULL ? CKR_SESSION_HANDLE_INVALID : CKR_OPERATION_ACTIVE);
    }
    s->finding = true;
    s->found_count = s->found_at = 0;
    for (size_t i = 0; i < MOCK_OBJECTS; i++) {
        if (mock_objects[i].handle != 0 && matches(&mock_objects[i], tmpl, count)) {
            s->found[s->found_count++] = mock_objects[i].handle;
        }
    }
    return mock_leave(CKR_OK);
}

CK_RV mock_find_objects(CK_SESSION_HANDLE handle, CK_OBJECT_HANDLE *objects, CK_ULONG max, CK_ULONG *count)
{
    CK_RV rv = mock_enter();
    if (rv != CKR_OK) {
        return rv;
    }
    struct mock_session *s = mock_session(handle);
    if (s == NULL || !s->finding) {
        return mock_leave(s == NULL ? CKR_SESSION_HANDLE_INVALID : CKR_OPERATION_NOT_INITIALIZED);
    }
    for (*count = 0; *count < max && s->found_at < s->found_count; (*count)++) {
        objects[*count] = s->found[s->found_at++];
    }
    return mock_leave(CKR_OK);
}

CK_RV mock_find_objects_final(CK_SESSION_HANDLE handle)
{
    CK_RV rv = mock_enter();
    if (rv != CKR_OK) {
        return rv;
    }
    struct mock_session *s = mock_session(handle);
    if (s == NULL || !s->finding) {
        return mock_leave(s == NULL ? CKR_SESSION_HANDLE_INVALID : CKR_OPERATION_NOT_INITIALIZED);
    }
    s->finding = false;
    return mock_leave(CKR_OK);
}

CK_RV mock_generate_random(CK_SESSION_HANDLE handle, unsigned char *data, CK_ULONG len)
{
    CK_RV rv = mock_enter();
    if (rv != CKR_OK) {
        return rv;
    }
    rv = getrandom(data, len, 0) == (ssize_t)len ? CKR_OK : CKR_DEVICE_ERROR;
    return mock_leave(rv);
}
