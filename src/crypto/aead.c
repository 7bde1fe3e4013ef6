#include "crypto/aead.h"

#include <limits.h>
#include <pthread.h>
#include <string.h>

#include <openssl/evp.h>

#include "base/mem.h"

struct aead {
    EVP_CIPHER_CTX *ctx;
    bool keyed;
    struct secret
        key; /* the one in ctx, to see that a stream goes on with it; empty when that is not known */
};

static pthread_once_t fetch_once = PTHREAD_ONCE_INIT;
static EVP_CIPHER *gcm;

static void fetch_cipher(void)
{
    gcm = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
}

struct aead *aead_new(struct err *err)
{
    pthread_once(&fetch_once, fetch_cipher);
    struct aead *a = mem_calloc(1, sizeof *a);
    if (a == NULL) {
        err_set(err, ERR_MEMORY, "no memory for a cipher context");
        return NULL;
    }
    a->ctx = EVP_CIPHER_CTX_new();
    if (gcm == NULL || a->ctx == NULL) {
        err_set(err, ERR_CRYPTO, "OpenSSL has no AES-256-GCM");
        aead_free(a);
        return NULL;
    }
    return a;
}

void aead_free(struct aead *a)
{
    if (a != NULL) {
        EVP_CIPHER_CTX_free(a->ctx);
        secret_free(&a->key);
        mem_free(a);
    }
}

/* Expanding a key costs as much as opening a short field with it, and most chunks come under the last one's. */
static bool is_set(const struct aead *a, const struct secret *key)
{
    return a->keyed && a->key.len == key->len && secret_bytes_equal(a->key.data, key->data, key->len);
}

static bool remember(struct aead *a, const struct secret *key, struct err *err)
{
    if (a->key.len != key->len && !secret_new(&a->key, key->len, err)) {
        return false;
    }
    memcpy(a->key.data, key->data, key->len);
    return true;
}

bool aead_set_key(struct aead *a, const struct secret *key, struct err *err)
{
    if (key->len != AEAD_KEY_BYTES) {
        a->keyed = false;
        return err_set(err, ERR_INTERNAL, "an AES-256 key has %zu bytes", key->len);
    }
    if (is_set(a, key)) {
        return true;
    }
    a->keyed = false;
    if (!remember(a, key, err)) {
        return false;
    }
    const EVP_CIPHER *cipher = EVP_CIPHER_CTX_get0_cipher(a->ctx) == NULL ? gcm : NULL;
    if (EVP_CipherInit_ex2(a->ctx, cipher, key->data, NULL, 1, NULL) != 1) {
        return err_set(err, ERR_CRYPTO, "setting an AES-256-GCM key failed");
    }
    a->keyed = true;
    return true;
}

void aead_clear(struct aead *a)
{
    EVP_CIPHER_CTX_reset(a->ctx);
    secret_free(&a->key);
    a->keyed = false;
}

static bool begin(struct aead *a, const uint8_t *nonce, size_t len, int encrypt, struct err *err)
{
    if (!a->keyed) {
        return err_set(err, ERR_INTERNAL, "the cipher context has no key");
    }
    if (len > INT_MAX - AEAD_TAG_BYTES) {
        return err_set(err, ERR_TOO_LARGE, "a sealed field of %zu bytes", len);
    }
    if (EVP_CipherInit_ex2(a->ctx, NULL, NULL, nonce, encrypt, NULL) != 1) {
        return err_set(err, ERR_CRYPTO, "setting a nonce failed");
    }
    return true;
}

bool aead_seal(struct aead *a, uint8_t *out, const uint8_t nonce[static AEAD_NONCE_BYTES], const uint8_t *in,
               size_t len, struct err *err)
{
    int n = 0, last = 0;
    if (!begin(a, nonce, len, 1, err)) {
        return false;
    }
    if ((len > 0 && EVP_CipherUpdate(a->ctx, out, &n, in, (int)len) != 1) ||
        EVP_CipherFinal_ex(a->ctx, out + n, &last) != 1 ||
        EVP_CIPHER_CTX_ctrl(a->ctx, EVP_CTRL_AEAD_GET_TAG, AEAD_TAG_BYTES, out + len) != 1) {
        secret_wipe(out, len + AEAD_TAG_BYTES);
        return err_set(err, ERR_CRYPTO, "AES-256-GCM encryption failed");
    }
    return true;
}

bool aead_open(struct aead *a, uint8_t *out, const uint8_t nonce[static AEAD_NONCE_BYTES], const uint8_t *in,
               size_t len, struct err *err)
{
    int n = 0, last = 0;
    uint8_t tag[AEAD_TAG_BYTES];
    if (len < AEAD_TAG_BYTES) {
        return err_set(err, ERR_DECRYPT, "a sealed field is shorter than its tag");
    }
    size_t text = len - AEAD_TAG_BYTES;
    if (!begin(a, nonce, text, 0, err)) {
        return false;
    }
    memcpy(tag, in + text, sizeof tag);
    if (EVP_CIPHER_CTX_ctrl(a->ctx, EVP_CTRL_AEAD_SET_TAG, AEAD_TAG_BYTES, tag) != 1 ||
        (text > 0 && EVP_CipherUpdate(a->ctx, out, &n, in, (int)text) != 1) ||
        EVP_CipherFinal_ex(a->ctx, out + n, &last) != 1) {
        secret_wipe(out, text);
        return err_set(err, ERR_DECRYPT, "the authentication tag of a sealed field is wrong");
    }
    return true;
}
