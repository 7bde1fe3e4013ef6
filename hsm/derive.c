#include "hsm/derive.h"

#include "hsm/ckr.h"

#include "crypto/hash.h"

#define ROOM_BYTES 64 /* more than the secret, to see one that is too long */

static CK_RV derive_object(struct module *m, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE private_key,
                           const uint8_t point[static POINT_BYTES], CK_OBJECT_HANDLE *derived)
{
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_KEY_TYPE type = CKK_GENERIC_SECRET;
    CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    CK_ULONG len = ECDH_BYTES;
    CK_ATTRIBUTE wanted[] = {
        {CKA_CLASS, &class, sizeof class},   {CKA_KEY_TYPE, &type, sizeof type},
        {CKA_TOKEN, &no, sizeof no},         {CKA_SENSITIVE, &no, sizeof no},
        {CKA_EXTRACTABLE, &yes, sizeof yes}, {CKA_VALUE_LEN, &len, sizeof len},
    };
    return module_derive_ecdh(m, session, private_key, point, POINT_BYTES, wanted,
                              sizeof wanted / sizeof *wanted, derived);
}

bool derive_shared_secret(struct module *m, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE private_key,
                          const uint8_t point[static POINT_BYTES], struct secret *z, bool *dirty, CK_RV *rv,
                          struct err *err)
{
    CK_OBJECT_HANDLE derived = CK_INVALID_HANDLE;
    struct secret value = SECRET_EMPTY;
    bool ok = false;
    *z = SECRET_EMPTY;
    *dirty = false;
    *rv = CKR_OK;
    if (!secret_new(&value, ROOM_BYTES, err)) {
        return false;
    }
    *rv = derive_object(m, session, private_key, point, &derived);
    if (*rv != CKR_OK) {
        ckr_fail(err, *rv,
                 *rv == CKR_FUNCTION_REJECTED
                     ? "C_DeriveKey, perhaps for want of a touch: keys must work without"
                     : "C_DeriveKey");
        goto out;
    }
    size_t len = ROOM_BYTES;
    *rv = module_get_attribute(m, session, derived, CKA_VALUE, value.data, &len);
    CK_RV destroyed = module_destroy(m, session, derived);
    *dirty = destroyed != CKR_OK; /* it may live on in the session: no second one may be made there */
    if (*rv != CKR_OK) {
        ckr_fail(err, *rv, "reading the derived secret");
        goto out;
    }
    if (destroyed != CKR_OK) {
        *rv = destroyed;
        ckr_fail(err, destroyed, "destroying the derived secret in the token");
        goto out;
    }
    if (len != ECDH_BYTES) {
        err_set(err, ERR_TOKEN, "the token derived %zu bytes instead of %d", len, ECDH_BYTES);
        goto out;
    }
    secret_truncate(&value, ECDH_BYTES);
    secret_move(z, &value);
    ok = true;
out:
    secret_free(&value);
    return ok;
}

bool derive_prove(struct module *m, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE private_key,
                  const uint8_t own[static POINT_BYTES], const uint8_t point[static POINT_BYTES],
                  const struct secret *z, bool *dirty, CK_RV *rv, struct err *err)
{
    struct secret scalar = SECRET_EMPTY, blinded_z = SECRET_EMPTY;
    uint8_t blinded[POINT_BYTES];
    bool proven = false;
    *dirty = false;
    *rv = CKR_OK;
    bool ok =
        point_random_scalar(&scalar, err) && point_blind(blinded, point, &scalar, err) &&
        derive_shared_secret(m, session, private_key, blinded, &blinded_z, dirty, rv, err) &&
        point_ecdh_proven(z, &blinded_z, &scalar, own, &proven, err) &&
        (proven || err_set(err, ERR_TOKEN,
                           "the token derived a wrong secret: libsecp256k1 shows that it does not belong to "
                           "the new key and the model's; nothing is sealed with it"));
    secret_free(&blinded_z);
    secret_free(&scalar);
    return ok;
}

bool derive_key(struct module *m, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE private_key,
                const uint8_t point[static POINT_BYTES], struct secret *key, bool *dirty, CK_RV *rv,
                struct err *err)
{
    struct secret z = SECRET_EMPTY;
    *key = SECRET_EMPTY;
    bool ok = derive_shared_secret(m, session, private_key, point, &z, dirty, rv, err) &&
              hash_protocol_key(key, &z, err);
    secret_free(&z);
    return ok;
}
