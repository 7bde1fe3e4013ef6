#include "hsm/ckr.h"

#include <stdio.h>

#define ROW(name, class)                                                                                     \
    {                                                                                                        \
        name, #name, CKR_CLASS_##class                                                                       \
    }

/* tokens.md, "Gone and back". GENERAL_ERROR, FUNCTION_FAILED and what is missing here count as a failing device. */
static const struct row {
    CK_RV rv;
    const char *name;
    enum ckr_class class;
} rows[] = {
    ROW(CKR_OK, OK),
    ROW(CKR_CRYPTOKI_ALREADY_INITIALIZED, OK),
    ROW(CKR_USER_ALREADY_LOGGED_IN, OK),
    ROW(CKR_SESSION_HANDLE_INVALID, SESSION),
    ROW(CKR_SESSION_CLOSED, SESSION),
    ROW(CKR_USER_NOT_LOGGED_IN, LOGIN),
    ROW(CKR_SESSION_READ_ONLY, LOGIN), /* a YubiHSM's word for "not logged in": our sessions are read-write */
    ROW(CKR_KEY_HANDLE_INVALID, KEY),
    ROW(CKR_OBJECT_HANDLE_INVALID, KEY),
    ROW(CKR_DEVICE_REMOVED, TOKEN),
    ROW(CKR_TOKEN_NOT_PRESENT, TOKEN),
    ROW(CKR_TOKEN_NOT_RECOGNIZED, TOKEN),
    ROW(CKR_SLOT_ID_INVALID, TOKEN),
    ROW(CKR_CRYPTOKI_NOT_INITIALIZED, TOKEN),
    ROW(CKR_SESSION_COUNT, BUSY),
    ROW(CKR_DEVICE_MEMORY, FULL),
    ROW(CKR_PIN_INCORRECT, PIN),
    ROW(CKR_PIN_INVALID, PIN),
    ROW(CKR_PIN_LEN_RANGE, PIN),
    ROW(CKR_PIN_EXPIRED, PIN),
    ROW(CKR_PIN_LOCKED, PIN),
    ROW(CKR_USER_PIN_NOT_INITIALIZED, PIN),
    ROW(CKR_USER_ANOTHER_ALREADY_LOGGED_IN, PIN),
    ROW(CKR_ARGUMENTS_BAD, OURS),
    ROW(CKR_ATTRIBUTE_READ_ONLY, OURS),
    ROW(CKR_ATTRIBUTE_SENSITIVE, OURS),
    ROW(CKR_ATTRIBUTE_TYPE_INVALID, OURS),
    ROW(CKR_ATTRIBUTE_VALUE_INVALID, OURS),
    ROW(CKR_BUFFER_TOO_SMALL, OURS),
    ROW(CKR_CANT_LOCK, OURS),
    ROW(CKR_CURVE_NOT_SUPPORTED, OURS),
    ROW(CKR_DATA_INVALID, OURS),
    ROW(CKR_DATA_LEN_RANGE, OURS),
    ROW(CKR_DOMAIN_PARAMS_INVALID, OURS),
    ROW(CKR_FUNCTION_NOT_SUPPORTED, OURS),
    ROW(CKR_FUNCTION_REJECTED, OURS),
    ROW(CKR_KEY_FUNCTION_NOT_PERMITTED, OURS),
    ROW(CKR_KEY_SIZE_RANGE, OURS),
    ROW(CKR_KEY_TYPE_INCONSISTENT, OURS),
    ROW(CKR_MECHANISM_INVALID, OURS),
    ROW(CKR_MECHANISM_PARAM_INVALID, OURS),
    ROW(CKR_RANDOM_NO_RNG, OURS),
    ROW(CKR_TEMPLATE_INCOMPLETE, OURS),
    ROW(CKR_TEMPLATE_INCONSISTENT, OURS),
    ROW(CKR_TOKEN_WRITE_PROTECTED, OURS),
    ROW(CKR_DEVICE_ERROR, DEVICE),
    ROW(CKR_FUNCTION_FAILED, DEVICE),
    ROW(CKR_GENERAL_ERROR, DEVICE),
    ROW(CKR_HOST_MEMORY, DEVICE),
    ROW(CKR_OPERATION_ACTIVE, DEVICE),
};

static const struct row *find(CK_RV rv)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (rows[i].rv == rv) {
            return &rows[i];
        }
    }
    return NULL;
}

const char *ckr_name(CK_RV rv)
{
    static _Thread_local char number[24];
    const struct row *row = find(rv);
    if (row != NULL) {
        return row->name;
    }
    snprintf(number, sizeof number, "CKR_0x%lx", (unsigned long)rv);
    return number;
}

enum ckr_class ckr_class(CK_RV rv)
{
    const struct row *row = find(rv);
    return row != NULL ? row->class : CKR_CLASS_DEVICE;
}

bool ckr_fail(struct err *err, CK_RV rv, const char *what)
{
    enum err_kind kind = ERR_TOKEN;
    switch (ckr_class(rv)) {
    case CKR_CLASS_PIN:
        kind = ERR_PIN;
        break;
    case CKR_CLASS_KEY:
        kind = ERR_KEY_GONE;
        break;
    default:
        break;
    }
    return err_set(err, kind, "%s: %s", what, ckr_name(rv));
}

bool ckr_is_loss(CK_RV rv)
{
    enum ckr_class class = ckr_class(rv);
    return class == CKR_CLASS_SESSION || class == CKR_CLASS_LOGIN || class == CKR_CLASS_TOKEN ||
           class == CKR_CLASS_BUSY || class == CKR_CLASS_DEVICE;
}
