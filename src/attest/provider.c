#include "attest/provider.h"

#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/core_object.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/provider.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "attest/ecdsa.h"
#include "attest/proven.h"

#define NAME "e2ee-attest"
#define KEY_NAMES "EC:id-ecPublicKey:1.2.840.10045.2.1"

/* SubjectPublicKeyInfo up to the point: id-ecPublicKey, the curve by its name, a bit string that begins "uncompressed". */
static const uint8_t p256_prefix[] = {0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48,
                                      0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
                                      0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04};
static const uint8_t p384_prefix[] = {0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02,
                                      0x01, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22, 0x03, 0x62, 0x00, 0x04};

static const struct {
    enum ecdsa_curve curve;
    const uint8_t *prefix;
    size_t prefix_len, point_len;
} forms[] = {
    {ECDSA_P256, p256_prefix, sizeof p256_prefix, P256_KEY_BYTES},
    {ECDSA_P384, p384_prefix, sizeof p384_prefix, P384_KEY_BYTES},
};

#define SPKI_MAX (sizeof p384_prefix + P384_KEY_BYTES)

struct key {
    EVP_PKEY *pkey; /* of the default context */
    uint8_t point[P384_KEY_BYTES];
    size_t point_len;
};

static OSSL_FUNC_BIO_read_ex_fn *core_read;

/* ---- keys ---- */

static void key_free(void *data)
{
    struct key *key = data;
    if (key != NULL) {
        EVP_PKEY_free(key->pkey);
        OPENSSL_free(key);
    }
}

/* NULL: another kind of key, another form of writing it, or no point of the curve. */
static struct key *key_of_spki(const uint8_t *spki, size_t len)
{
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        const uint8_t *point = spki + forms[i].prefix_len;
        if (len == forms[i].prefix_len + forms[i].point_len &&
            memcmp(spki, forms[i].prefix, forms[i].prefix_len) == 0) {
            struct key *key = OPENSSL_zalloc(sizeof *key);
            if (key != NULL && (key->pkey = ecdsa_pkey(forms[i].curve, point)) != NULL) {
                memcpy(key->point, point, forms[i].point_len);
                key->point_len = forms[i].point_len;
                return key;
            }
            key_free(key);
        }
    }
    return NULL;
}

/* Takes over the key that the decoder made. */
static void *key_load(const void *reference, size_t len)
{
    struct key *key;
    if (len != sizeof(struct key **)) {
        return NULL;
    }
    struct key **at = *(struct key * *const *)reference;
    key = *at;
    *at = NULL;
    return key;
}

static int key_has(const void *data, int selection)
{
    return data != NULL && (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) == 0;
}

static int key_match(const void *a, const void *b, int selection)
{
    (void)selection;
    return EVP_PKEY_eq(((const struct key *)a)->pkey, ((const struct key *)b)->pkey) == 1;
}

static int key_get_params(void *data, OSSL_PARAM params[])
{
    return EVP_PKEY_get_params(((const struct key *)data)->pkey, params);
}

static const OSSL_PARAM *key_gettable_params(void *context)
{
    static const OSSL_PARAM gettable[] = {
        OSSL_PARAM_int(OSSL_PKEY_PARAM_BITS, NULL),
        OSSL_PARAM_int(OSSL_PKEY_PARAM_SECURITY_BITS, NULL),
        OSSL_PARAM_int(OSSL_PKEY_PARAM_MAX_SIZE, NULL),
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0),
        OSSL_PARAM_int(OSSL_PKEY_PARAM_EC_DECODED_FROM_EXPLICIT_PARAMS, NULL),
        OSSL_PARAM_END,
    };
    (void)context;
    return gettable;
}

static const char *key_operation(int operation)
{
    return operation == OSSL_OP_SIGNATURE ? "ECDSA" : NULL;
}

static const OSSL_DISPATCH key_functions[] = {
    {OSSL_FUNC_KEYMGMT_LOAD, (void (*)(void))key_load},
    {OSSL_FUNC_KEYMGMT_FREE, (void (*)(void))key_free},
    {OSSL_FUNC_KEYMGMT_HAS, (void (*)(void))key_has},
    {OSSL_FUNC_KEYMGMT_MATCH, (void (*)(void))key_match},
    {OSSL_FUNC_KEYMGMT_GET_PARAMS, (void (*)(void))key_get_params},
    {OSSL_FUNC_KEYMGMT_GETTABLE_PARAMS, (void (*)(void))key_gettable_params},
    {OSSL_FUNC_KEYMGMT_QUERY_OPERATION_NAME, (void (*)(void))key_operation},
    {0, NULL},
};

/* ---- from DER ---- */

static void *decoder_new(void *context)
{
    return context;
}

static void decoder_free(void *context)
{
    (void)context;
}

static int decoder_selects(void *context, int selection)
{
    (void)context;
    return selection == 0 || (selection & OSSL_KEYMGMT_SELECT_PUBLIC_KEY) != 0;
}

/* 1 without a call of found: not ours, which leaves the certificate without a key. */
static int decoder_decode(void *context, OSSL_CORE_BIO *in, int selection, OSSL_CALLBACK *found,
                          void *found_arg, OSSL_PASSPHRASE_CALLBACK *ask, void *ask_arg)
{
    uint8_t spki[SPKI_MAX + 1]; /* one more, so that what is longer is seen to be */
    size_t len = 0, got;
    (void)context;
    (void)selection;
    (void)ask;
    (void)ask_arg;
    while (len < sizeof spki && core_read(in, (char *)spki + len, sizeof spki - len, &got) == 1 && got > 0) {
        len += got;
    }
    struct key *key = key_of_spki(spki, len);
    if (key == NULL) {
        return 1;
    }
    struct key **reference = &key;
    int type = OSSL_OBJECT_PKEY;
    char name[] = "EC";
    const OSSL_PARAM object[] = {
        OSSL_PARAM_construct_int(OSSL_OBJECT_PARAM_TYPE, &type),
        OSSL_PARAM_construct_utf8_string(OSSL_OBJECT_PARAM_DATA_TYPE, name, 0),
        OSSL_PARAM_construct_octet_string(OSSL_OBJECT_PARAM_REFERENCE, &reference, sizeof reference),
        OSSL_PARAM_construct_end(),
    };
    int ok = found(object, found_arg);
    key_free(key); /* NULL when key_load has it */
    return ok;
}

static const OSSL_DISPATCH decoder_functions[] = {
    {OSSL_FUNC_DECODER_NEWCTX, (void (*)(void))decoder_new},
    {OSSL_FUNC_DECODER_FREECTX, (void (*)(void))decoder_free},
    {OSSL_FUNC_DECODER_DOES_SELECTION, (void (*)(void))decoder_selects},
    {OSSL_FUNC_DECODER_DECODE, (void (*)(void))decoder_decode},
    {0, NULL},
};

/* ---- signatures ---- */

struct check {
    const struct key *key; /* the caller's */
    EVP_MD *hash;
};

static void *check_new(void *context, const char *properties)
{
    (void)context;
    (void)properties;
    return OPENSSL_zalloc(sizeof(struct check));
}

static void check_free(void *data)
{
    struct check *check = data;
    if (check != NULL) {
        EVP_MD_free(check->hash);
        OPENSSL_free(check);
    }
}

static int check_init(void *data, const char *hash, void *key, const OSSL_PARAM params[])
{
    struct check *check = data;
    (void)params;
    EVP_MD_free(check->hash);
    check->key = key;
    check->hash = hash != NULL ? EVP_MD_fetch(NULL, hash, NULL) : NULL;
    return check->key != NULL && check->hash != NULL;
}

/* Whether the signature fits. Only that it does is remembered. */
static int check_verify(void *data, const unsigned char *signature, size_t signature_len,
                        const unsigned char *bytes, size_t len)
{
    const struct check *check = data;
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned digest_len;
    char kind[64];
    if (check->key == NULL || check->hash == NULL ||
        EVP_Digest(bytes, len, digest, &digest_len, check->hash, NULL) != 1) {
        return 0;
    }
    snprintf(kind, sizeof kind, "X.509 signature, %s", EVP_MD_get0_name(check->hash));
    const struct hash_part parts[] = {{kind, strlen(kind)},
                                      {check->key->point, check->key->point_len},
                                      {signature, signature_len},
                                      {digest, digest_len}};
    struct proven name;
    bool named = proven_name(&name, parts, sizeof parts / sizeof parts[0]);
    if (named && proven_has(&name)) {
        return 1;
    }
    bool fits, ok = ecdsa_fits(&fits, check->key->pkey, signature, signature_len, digest, digest_len);
    if (ok && fits && named) {
        proven_add(&name);
    }
    return ok && fits;
}

static const OSSL_DISPATCH check_functions[] = {
    {OSSL_FUNC_SIGNATURE_NEWCTX, (void (*)(void))check_new},
    {OSSL_FUNC_SIGNATURE_FREECTX, (void (*)(void))check_free},
    {OSSL_FUNC_SIGNATURE_DIGEST_VERIFY_INIT, (void (*)(void))check_init},
    {OSSL_FUNC_SIGNATURE_DIGEST_VERIFY, (void (*)(void))check_verify},
    {0, NULL},
};

/* ---- the provider ---- */

static const OSSL_ALGORITHM keys[] = {
    {KEY_NAMES, "provider=" NAME, key_functions, NULL},
    {NULL, NULL, NULL, NULL},
};
static const OSSL_ALGORITHM decoders[] = {
    {KEY_NAMES, "provider=" NAME ",input=der,structure=SubjectPublicKeyInfo", decoder_functions, NULL},
    {NULL, NULL, NULL, NULL},
};
static const OSSL_ALGORITHM signatures[] = {
    {"ECDSA", "provider=" NAME, check_functions, NULL},
    {NULL, NULL, NULL, NULL},
};

/* Hashes, which OpenSSL takes of whole certificates and lists, are the default provider's. */
static OSSL_PROVIDER *hashes;

static const OSSL_ALGORITHM *query(void *context, int operation, int *no_cache)
{
    (void)context;
    *no_cache = 0;
    switch (operation) {
    case OSSL_OP_KEYMGMT:
        return keys;
    case OSSL_OP_DECODER:
        return decoders;
    case OSSL_OP_SIGNATURE:
        return signatures;
    case OSSL_OP_DIGEST:
        return OSSL_PROVIDER_query_operation(hashes, operation, no_cache);
    default:
        return NULL;
    }
}

static int begin(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in, const OSSL_DISPATCH **out,
                 void **context)
{
    static const OSSL_DISPATCH functions[] = {
        {OSSL_FUNC_PROVIDER_QUERY_OPERATION, (void (*)(void))query},
        {0, NULL},
    };
    (void)handle;
    for (core_read = NULL; in->function_id != 0; in++) {
        if (in->function_id == OSSL_FUNC_BIO_READ_EX) {
            core_read = OSSL_FUNC_BIO_read_ex(in);
        }
    }
    /* What the default provider's hashes are called with. */
    *context = OSSL_PROVIDER_get0_provider_ctx(hashes);
    *out = functions;
    return core_read != NULL && *context != NULL;
}

/* Has it read a key and all else that certificates need fetched. OpenSSL remembers for good what it found of a provider, and takes
 * a lack of memory while it looks for an algorithm that is not there. */
static bool complete(OSSL_LIB_CTX *own)
{
    static const uint8_t generator[P256_KEY_BYTES] = {
        0x6b, 0x17, 0xd1, 0xf2, 0xe1, 0x2c, 0x42, 0x47, 0xf8, 0xbc, 0xe6, 0xe5, 0x63, 0xa4, 0x40, 0xf2,
        0x77, 0x03, 0x7d, 0x81, 0x2d, 0xeb, 0x33, 0xa0, 0xf4, 0xa1, 0x39, 0x45, 0xd8, 0x98, 0xc2, 0x96,
        0x4f, 0xe3, 0x42, 0xe2, 0xfe, 0x1a, 0x7f, 0x9b, 0x8e, 0xe7, 0xeb, 0x4a, 0x7c, 0x0f, 0x9e, 0x16,
        0x2b, 0xce, 0x33, 0x57, 0x6b, 0x31, 0x5e, 0xce, 0xcb, 0xb6, 0x40, 0x68, 0x37, 0xbf, 0x51, 0xf5};
    uint8_t spki[sizeof p256_prefix + sizeof generator];
    const uint8_t *p = spki;
    memcpy(spki, p256_prefix, sizeof p256_prefix);
    memcpy(spki + sizeof p256_prefix, generator, sizeof generator);
    EVP_PKEY *key = d2i_PUBKEY_ex(NULL, &p, sizeof spki, own, NULL);
    EVP_SIGNATURE *signature = EVP_SIGNATURE_fetch(own, "ECDSA", NULL);
    EVP_MD *sha1 = EVP_MD_fetch(own, "SHA1", NULL); /* of whole certificates and lists */
    bool ok = key != NULL && signature != NULL && sha1 != NULL;
    EVP_PKEY_free(key);
    EVP_SIGNATURE_free(signature);
    EVP_MD_free(sha1);
    return ok;
}

static OSSL_LIB_CTX *make(void)
{
    OSSL_LIB_CTX *base = OSSL_LIB_CTX_new(), *own = OSSL_LIB_CTX_new();
    if (base != NULL && own != NULL && (hashes = OSSL_PROVIDER_load(base, "default")) != NULL &&
        OSSL_PROVIDER_add_builtin(own, NAME, begin) == 1 && OSSL_PROVIDER_load(own, NAME) != NULL &&
        complete(own)) {
        return own;
    }
    OSSL_LIB_CTX_free(own);
    OSSL_LIB_CTX_free(base);
    ERR_clear_error();
    return NULL;
}

OSSL_LIB_CTX *provider_context(void)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static OSSL_LIB_CTX *kept;
    pthread_mutex_lock(&lock);
    if (kept == NULL) {
        kept = make();
    }
    OSSL_LIB_CTX *context = kept;
    pthread_mutex_unlock(&lock);
    return context;
}
