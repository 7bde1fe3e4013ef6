#include "crypto/signature.h"

#include <limits.h>
#include <string.h>

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "base/mem.h"

#define RSA_BITS_MIN 2048
#define RSA_BITS_MAX 4096

struct signature_key {
    EVP_PKEY *pkey;
    const char *algorithm;
    bool sha384, rsa;
    size_t field_bytes; /* of a curve */
    uint8_t fingerprint[SHA256_BYTES];
};

static const struct {
    int nid;
    const char *algorithm;
    bool sha384;
    size_t field_bytes;
} curves[] = {
    {NID_X9_62_prime256v1, "ecdsa-sha256", false, 32},
    {NID_secp256k1, "ecdsa-sha256", false, 32},
    {NID_secp384r1, "ecdsa-sha384", true, 48},
};

static bool unsupported(struct err *err)
{
    return err_set(err, ERR_UNSUPPORTED,
                   "the key is none that signs checkpoints: EC on P-256, P-384 or secp256k1, or RSA of %d to "
                   "%d bits is needed",
                   RSA_BITS_MIN, RSA_BITS_MAX);
}

/* Its place in curves; their number when it is not among them. */
#define CURVES (sizeof curves / sizeof *curves)
static size_t find_curve(int nid)
{
    size_t i = 0;
    while (i < CURVES && curves[i].nid != nid) {
        i++;
    }
    return i;
}

/* What kind of key it is. */
static bool judge(struct signature_key *key, struct err *err)
{
    char group[64];
    if (EVP_PKEY_get_base_id(key->pkey) == EVP_PKEY_RSA) {
        int bits = EVP_PKEY_get_bits(key->pkey);
        key->rsa = true;
        key->algorithm = "rsa-sha256";
        return (bits >= RSA_BITS_MIN && bits <= RSA_BITS_MAX) || unsupported(err);
    }
    if (EVP_PKEY_get_base_id(key->pkey) != EVP_PKEY_EC ||
        EVP_PKEY_get_group_name(key->pkey, group, sizeof group, NULL) != 1) {
        return unsupported(err);
    }
    size_t curve = find_curve(OBJ_txt2nid(group));
    if (curve == CURVES) {
        return unsupported(err);
    }
    key->algorithm = curves[curve].algorithm;
    key->sha384 = curves[curve].sha384;
    key->field_bytes = curves[curve].field_bytes;
    /* A compressed point is the same key, and must have the same fingerprint. */
    return EVP_PKEY_set_utf8_string_param(key->pkey, OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT,
                                          "uncompressed") == 1 ||
           unsupported(err);
}

static bool take_fingerprint(struct signature_key *key, struct err *err)
{
    unsigned char *der = NULL;
    int len = i2d_PUBKEY(key->pkey, &der);
    bool ok = len > 0 && hash_sha256(key->fingerprint, der, (size_t)len);
    OPENSSL_free(der);
    return ok || err_set(err, ERR_CRYPTO, "the public key cannot be encoded");
}

/* Takes pkey over, NULL included, in any case. */
static struct signature_key *make(EVP_PKEY *pkey, struct err *err)
{
    if (pkey == NULL) {
        err_set(err, ERR_INVALID, "that is no public key");
        return NULL;
    }
    struct signature_key *key = mem_calloc(1, sizeof *key);
    if (key == NULL) {
        EVP_PKEY_free(pkey);
        err_set(err, ERR_MEMORY, "no memory for a public key");
        return NULL;
    }
    key->pkey = pkey;
    if (!judge(key, err) || !take_fingerprint(key, err)) {
        signature_key_free(key);
        return NULL;
    }
    return key;
}

/* A PEM file is never asked for a pass phrase on the terminal. */
static int no_phrase(char *out, int cap, int writing, void *user)
{
    return -1;
}

struct signature_key *signature_key_pem(const void *pem, size_t len, struct err *err)
{
    BIO *in = len <= INT_MAX ? BIO_new_mem_buf(pem, (int)len) : NULL;
    EVP_PKEY *pkey = in != NULL ? PEM_read_bio_PUBKEY(in, NULL, no_phrase, NULL) : NULL;
    if (in != NULL && pkey == NULL && BIO_reset(in) >= 0) {
        X509 *certificate = PEM_read_bio_X509(in, NULL, no_phrase, NULL);
        pkey = certificate != NULL ? X509_get_pubkey(certificate) : NULL;
        X509_free(certificate);
    }
    BIO_free(in);
    return make(pkey, err);
}

/* Takes builder's content; NULL when OpenSSL refuses it. */
static EVP_PKEY *from_data(const char *type, OSSL_PARAM_BLD *builder, bool filled)
{
    EVP_PKEY *pkey = NULL;
    OSSL_PARAM *params = filled ? OSSL_PARAM_BLD_to_param(builder) : NULL;
    EVP_PKEY_CTX *ctx = params != NULL ? EVP_PKEY_CTX_new_from_name(NULL, type, NULL) : NULL;
    if (ctx == NULL || EVP_PKEY_fromdata_init(ctx) != 1 ||
        EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, params) != 1) {
        pkey = NULL;
    }
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(params);
    return pkey;
}

struct signature_key *signature_key_ec(const uint8_t *params, size_t params_len, const uint8_t *point,
                                       size_t point_len, struct err *err)
{
    const unsigned char *at = params;
    ASN1_OBJECT *oid = d2i_ASN1_OBJECT(NULL, &at, (long)params_len);
    int nid = oid != NULL && at == params + params_len ? OBJ_obj2nid(oid) : NID_undef;
    ASN1_OBJECT_free(oid);
    if (find_curve(nid) == CURVES) {
        unsupported(err);
        return NULL;
    }
    if (point_len > 2 && point[0] == 0x04 && point[1] == point_len - 2) { /* within an OCTET STRING */
        point += 2;
        point_len -= 2;
    }
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    bool ok = builder != NULL &&
              OSSL_PARAM_BLD_push_utf8_string(builder, OSSL_PKEY_PARAM_GROUP_NAME, OBJ_nid2sn(nid), 0) == 1 &&
              OSSL_PARAM_BLD_push_octet_string(builder, OSSL_PKEY_PARAM_PUB_KEY, point, point_len) == 1;
    EVP_PKEY *pkey = from_data("EC", builder, ok);
    OSSL_PARAM_BLD_free(builder);
    return make(pkey, err);
}

struct signature_key *signature_key_rsa(const uint8_t *modulus, size_t modulus_len, const uint8_t *exponent,
                                        size_t exponent_len, struct err *err)
{
    BIGNUM *n = BN_bin2bn(modulus, (int)modulus_len, NULL);
    BIGNUM *e = BN_bin2bn(exponent, (int)exponent_len, NULL);
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    bool ok = n != NULL && e != NULL && builder != NULL &&
              OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_N, n) == 1 &&
              OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_E, e) == 1;
    EVP_PKEY *pkey = from_data("RSA", builder, ok);
    OSSL_PARAM_BLD_free(builder);
    BN_free(n);
    BN_free(e);
    return make(pkey, err);
}

void signature_key_free(struct signature_key *key)
{
    if (key != NULL) {
        EVP_PKEY_free(key->pkey);
        mem_free(key);
    }
}

const char *signature_algorithm(const struct signature_key *key)
{
    return key->algorithm;
}

bool signature_is_rsa(const struct signature_key *key)
{
    return key->rsa;
}

const uint8_t *signature_fingerprint(const struct signature_key *key)
{
    return key->fingerprint;
}

bool signature_input(const struct signature_key *key, const void *text, size_t len,
                     uint8_t out[static SIGNATURE_INPUT_MAX], size_t *out_len, struct err *err)
{
    /* DigestInfo of SHA-256 up to the digest: RFC 8017, 9.2, note 1. */
    static const uint8_t info[] = {0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01,
                                   0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20};
    size_t before = key->rsa ? sizeof info : 0;
    memcpy(out, info, before);
    bool ok = key->sha384 ? hash_sha384(out, text, len) : hash_sha256(out + before, text, len);
    *out_len = ok ? before + (key->sha384 ? SHA384_BYTES : SHA256_BYTES) : 0;
    return ok || err_set(err, ERR_CRYPTO, "the hash failed");
}

bool signature_from_token(const struct signature_key *key, uint8_t *signature, size_t *len, struct err *err)
{
    size_t half = key->field_bytes;
    if (key->rsa) {
        return true;
    }
    if (*len != 2 * half) {
        return err_set(err, ERR_INVALID, "the token's signature has %zu bytes, not %zu", *len, 2 * half);
    }
    ECDSA_SIG *pair = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(signature, (int)half, NULL), *s = BN_bin2bn(signature + half, (int)half, NULL);
    bool ok = pair != NULL && r != NULL && s != NULL && ECDSA_SIG_set0(pair, r, s) == 1;
    if (!ok) {
        BN_free(r);
        BN_free(s);
    }
    unsigned char *der = NULL;
    int der_len = ok ? i2d_ECDSA_SIG(pair, &der) : -1;
    ok = der_len > 0 && der_len <= SIGNATURE_BYTES_MAX;
    if (ok) {
        memcpy(signature, der, (size_t)der_len);
        *len = (size_t)der_len;
    }
    OPENSSL_free(der);
    ECDSA_SIG_free(pair);
    return ok || err_set(err, ERR_CRYPTO, "the signature cannot be encoded");
}

bool signature_valid(const struct signature_key *key, const void *text, size_t len, const uint8_t *signature,
                     size_t signature_len)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok =
        ctx != NULL &&
        EVP_DigestVerifyInit(ctx, NULL, key->sha384 ? EVP_sha384() : EVP_sha256(), NULL, key->pkey) == 1 &&
        EVP_DigestVerify(ctx, signature, signature_len, text, len) == 1;
    EVP_MD_CTX_free(ctx);
    return ok;
}
