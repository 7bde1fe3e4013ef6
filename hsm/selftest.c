#include "hsm/selftest.h"

#include <string.h>

#include "crypto/aead.h"
#include "crypto/hash.h"
#include "hsm/audit.h"
#include "hsm/derive.h"

/* protocol.md section 8, vector A: Z, nonce and sealed "PROBE_OK". */
static const uint8_t vector_z[] = {0x77, 0xe0, 0x51, 0x0d, 0x50, 0x42, 0xe2, 0xf5, 0xe9, 0xe5, 0x9c,
                                   0x97, 0x7b, 0x81, 0xee, 0xed, 0x59, 0x0c, 0xf7, 0xd2, 0x0c, 0x1c,
                                   0x51, 0xda, 0x45, 0x1a, 0x8e, 0xaa, 0x9f, 0xdc, 0x45, 0xff};
static const uint8_t vector_sealed[] = {0x61, 0xfc, 0xb8, 0xd3, 0x78, 0x20, 0x19, 0xda,
                                        0x4a, 0x51, 0xdf, 0x38, 0x19, 0x5e, 0xa6, 0x47,
                                        0xdf, 0x38, 0xe4, 0xb1, 0xb4, 0xcf, 0x7a, 0xf6};
static const char vector_text[] = "PROBE_OK";
#define VECTOR_NONCE_BYTE 0x0c

bool selftest_vector(struct err *err)
{
    struct secret z = SECRET_EMPTY, key = SECRET_EMPTY;
    uint8_t nonce[AEAD_NONCE_BYTES], text[sizeof vector_sealed];
    struct aead *aead = NULL;
    memset(nonce, VECTOR_NONCE_BYTE, sizeof nonce);
    bool ok = secret_copy(&z, vector_z, sizeof vector_z, err) && hash_protocol_key(&key, &z, err) &&
              (aead = aead_new(err)) != NULL && aead_set_key(aead, &key, err) &&
              aead_open(aead, text, nonce, vector_sealed, sizeof vector_sealed, err);
    if (ok && memcmp(text, vector_text, sizeof vector_text - 1) != 0) {
        ok = err_set(err, ERR_CRYPTO, "the protocol's known answer does not come out");
    }
    aead_free(aead);
    secret_free(&key);
    secret_free(&z);
    return ok || err_context(err, "self test");
}

bool selftest_ecdh(struct token *t, const struct key_pair *pair, struct err *err)
{
    struct secret scalar = SECRET_EMPTY, ours = SECRET_EMPTY, theirs = SECRET_EMPTY;
    uint8_t point[POINT_BYTES];
    bool dirty = false;
    CK_RV rv;
    bool ok =
        point_random_scalar(&scalar, err) && point_from_scalar(point, &scalar, err) &&
        point_ecdh(&ours, &scalar, pair->point, err) &&
        derive_shared_secret(t->module, t->session, pair->private_key, point, &theirs, &dirty, &rv, err);
    ok = ok &&
         (secret_equal(&ours, &theirs) ||
          err_set(err, ERR_TOKEN, "the token's ECDH differs from libsecp256k1's: its answers are wrong"));
    secret_free(&theirs);
    secret_free(&ours);
    secret_free(&scalar);
    return ok;
}

bool selftest_token(struct token *t, struct key_set *set, struct key_attributes *attributes, struct err *err)
{
    struct key_pair pair;
    struct audit_text label, why;
    CK_RV rv;
    bool made = key_generate(t, set, &pair, attributes, &rv, err), ok = made && selftest_ecdh(t, &pair, err);
    if (made && !key_destroy(t, set, pair.private_key) && ok) {
        ok = err_set(err, ERR_TOKEN, "the token does not destroy keys");
    }
    audit_event("self_test", ",\"token\":%s,\"passed\":%s,\"why\":%s", audit_quote(&label, t->found.label),
                audit_flag(ok), ok ? "null" : audit_quote(&why, err->message));
    return ok || err_context(err, "self test");
}
