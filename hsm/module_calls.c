/* Every call on sessions and objects. */
#include <string.h>

#include "hsm/module_private.h"

#include "base/limits.h"
#include "hsm/ckr.h"
#include "hsm/ecdh1.h"

/* Calls the module's function and leaves its value in rv; "already" counts as success, here alone. */
#define CALL(function, ...)                                                                                  \
    CK_RV rv = CKR_FUNCTION_NOT_SUPPORTED;                                                                   \
    if (m->functions->function != NULL) {                                                                    \
        watchdog_enter(#function);                                                                           \
        rv = m->functions->function(__VA_ARGS__);                                                            \
        watchdog_leave();                                                                                    \
        rv = ckr_class(rv) == CKR_CLASS_OK ? CKR_OK : rv;                                                    \
    }

CK_RV module_mechanism_info(struct module *m, CK_SLOT_ID slot, CK_MECHANISM_TYPE type, CK_MECHANISM_INFO *out)
{
    memset(out, 0, sizeof *out);
    CALL(C_GetMechanismInfo, slot, type, out)
    return rv;
}

CK_RV module_open_session(struct module *m, CK_SLOT_ID slot, CK_SESSION_HANDLE *session)
{
    *session = CK_INVALID_HANDLE;
    CALL(C_OpenSession, slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, session)
    return rv;
}

CK_RV module_close_session(struct module *m, CK_SESSION_HANDLE session)
{
    CALL(C_CloseSession, session)
    return rv;
}

CK_RV module_close_all_sessions(struct module *m, CK_SLOT_ID slot)
{
    m->closings++;
    CALL(C_CloseAllSessions, slot)
    return rv;
}

CK_RV module_login(struct module *m, CK_SESSION_HANDLE session, const struct secret *pin)
{
    CK_RV rv = CKR_FUNCTION_NOT_SUPPORTED;
    if (m->functions->C_Login != NULL) {
        if (pin->len == 0) { /* somebody types it at the token's keypad */
            watchdog_enter_slow("C_Login", LIMIT_TOKEN_PAD_S);
        } else {
            watchdog_enter("C_Login");
        }
        rv = m->functions->C_Login(session, CKU_USER, pin->data, pin->len);
        watchdog_leave();
    }
    return ckr_class(rv) == CKR_CLASS_OK ? CKR_OK : rv;
}

CK_RV module_logout(struct module *m, CK_SESSION_HANDLE session)
{
    CALL(C_Logout, session)
    return rv;
}

CK_RV module_touch(struct module *m, CK_SESSION_HANDLE session, CK_SLOT_ID slot)
{
    uint8_t bytes[8];
    CALL(C_GenerateRandom, session, bytes, sizeof bytes)
    if (ckr_class(rv) == CKR_CLASS_OURS) {
        struct module_token token;
        rv = module_token_info(m, slot, &token);
    }
    return rv;
}

CK_RV module_generate_pair(struct module *m, CK_SESSION_HANDLE session, CK_ATTRIBUTE *public_template,
                           CK_ULONG public_count, CK_ATTRIBUTE *private_template, CK_ULONG private_count,
                           CK_OBJECT_HANDLE *public_key, CK_OBJECT_HANDLE *private_key)
{
    CK_MECHANISM mechanism = {CKM_EC_KEY_PAIR_GEN, NULL, 0};
    *public_key = *private_key = CK_INVALID_HANDLE;
    CALL(C_GenerateKeyPair, session, &mechanism, public_template, public_count, private_template,
         private_count, public_key, private_key)
    if (rv == CKR_OK && (*public_key == CK_INVALID_HANDLE || *private_key == CK_INVALID_HANDLE)) {
        rv = CKR_GENERAL_ERROR;
    }
    return rv;
}

CK_RV module_derive_ecdh(struct module *m, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE private_key,
                         const uint8_t *point, size_t point_len, CK_ATTRIBUTE *tmpl, CK_ULONG count,
                         CK_OBJECT_HANDLE *derived)
{
    struct ecdh1_params params = {.kdf = CKD_NULL,
                                  .public_point =
                                      (CK_BYTE *)(uintptr_t)point, /* the interface predates const */
                                  .public_len = point_len};
    CK_MECHANISM mechanism = {m->ecdh, &params, sizeof params};
    *derived = CK_INVALID_HANDLE;
    CALL(C_DeriveKey, session, &mechanism, private_key, tmpl, count, derived)
    if (rv == CKR_OK && *derived == CK_INVALID_HANDLE) {
        rv = CKR_GENERAL_ERROR;
    }
    return rv;
}

static CK_RV sign_begin(struct module *m, CK_SESSION_HANDLE session, CK_MECHANISM_TYPE type,
                        CK_OBJECT_HANDLE key)
{
    CK_MECHANISM mechanism = {type, NULL, 0};
    CALL(C_SignInit, session, &mechanism, key)
    return rv;
}

CK_RV module_sign(struct module *m, CK_SESSION_HANDLE session, CK_MECHANISM_TYPE type, CK_OBJECT_HANDLE key,
                  const uint8_t *data, size_t data_len, uint8_t *signature, size_t *len)
{
    CK_ULONG room = *len, got = room;
    *len = 0;
    CK_RV begun = sign_begin(m, session, type, key);
    if (begun != CKR_OK) {
        return begun;
    }
    CALL(C_Sign, session, (unsigned char *)(uintptr_t)data, data_len, signature, &got)
    if (rv == CKR_OK && got > room) {
        rv = CKR_GENERAL_ERROR;
    }
    *len = rv == CKR_OK ? got : 0;
    return rv;
}

CK_RV module_destroy(struct module *m, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object)
{
    CALL(C_DestroyObject, session, object)
    return rv;
}

CK_RV module_get_attribute(struct module *m, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object,
                           CK_ATTRIBUTE_TYPE type, void *value, size_t *len)
{
    CK_ATTRIBUTE attribute = {type, value, *len};
    size_t room = *len;
    *len = 0;
    CALL(C_GetAttributeValue, session, object, &attribute, 1)
    if (rv == CKR_OK && attribute.ulValueLen == CK_UNAVAILABLE_INFORMATION) {
        rv = CKR_ATTRIBUTE_TYPE_INVALID;
    } else if (rv == CKR_OK && attribute.ulValueLen > room) {
        rv = CKR_BUFFER_TOO_SMALL;
    } else if (rv == CKR_OK) {
        *len = attribute.ulValueLen;
    }
    return rv;
}

static CK_RV find_next(struct module *m, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE *objects, size_t max,
                       size_t *count)
{
    while (*count < max) {
        CK_ULONG got = 0;
        CALL(C_FindObjects, session, objects + *count, max - *count, &got)
        if (rv != CKR_OK) {
            return rv;
        }
        if (got == 0 || got > max - *count) {
            break;
        }
        *count += got;
    }
    return CKR_OK;
}

static CK_RV find_end(struct module *m, CK_SESSION_HANDLE session)
{
    CALL(C_FindObjectsFinal, session)
    return rv;
}

CK_RV module_find(struct module *m, CK_SESSION_HANDLE session, CK_ATTRIBUTE *tmpl, CK_ULONG attributes,
                  CK_OBJECT_HANDLE *objects, size_t max, size_t *count)
{
    *count = 0;
    CALL(C_FindObjectsInit, session, tmpl, attributes)
    if (rv != CKR_OK) {
        return rv;
    }
    rv = find_next(m, session, objects, max, count);
    CK_RV end = find_end(m, session);
    return rv != CKR_OK ? rv : end;
}
