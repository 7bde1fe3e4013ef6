#include "crypto.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <secp256k1.h>
#include <secp256k1_ecdh.h>
#include <secp256k1_recovery.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static secp256k1_context *curve(void)
{
    static secp256k1_context *ctx;
    if (!ctx)
        ctx = secp256k1_context_create(SECP256K1_CONTEXT_SIGN | SECP256K1_CONTEXT_VERIFY);
    return ctx;
}

static void must(bool ok)
{
    if (!ok) {
        fprintf(stderr, "e2ee-sim: a cryptographic operation failed\n");
        abort();
    }
}

/* ---- Keccak-256: the original padding 01, which SHA-3 changed to 06 ---- */

static uint64_t rotl(uint64_t v, unsigned n)
{
    return n ? v << n | v >> (64 - n) : v;
}

/* The round constants are the output of the degree-8 LFSR of the Keccak reference, x^8+x^6+x^5+x^4+1. */
static uint64_t next_round_constant(uint8_t *lfsr)
{
    uint64_t rc = 0;
    for (unsigned j = 0; j < 7; j++) {
        if (*lfsr & 1)
            rc ^= 1ull << ((1u << j) - 1);
        *lfsr = (uint8_t)(*lfsr << 1 ^ (*lfsr & 0x80 ? 0x71 : 0));
    }
    return rc;
}

static void keccak_f(uint64_t a[25])
{
    uint8_t lfsr = 1;
    for (int round = 0; round < 24; round++) {
        uint64_t c[5], b[25];
        for (int x = 0; x < 5; x++)
            c[x] = a[x] ^ a[x + 5] ^ a[x + 10] ^ a[x + 15] ^ a[x + 20];
        for (int i = 0; i < 25; i++)
            a[i] ^= c[(i + 4) % 5] ^ rotl(c[(i + 1) % 5], 1);
        b[0] = a[0];
        for (int t = 0, x = 1, y = 0; t < 24; t++) {
            int to = (2 * x + 3 * y) % 5;
            b[y + 5 * to] = rotl(a[x + 5 * y], (unsigned)((t + 1) * (t + 2) / 2 % 64));
            x = y;
            y = to;
        }
        for (int y = 0; y < 25; y += 5)
            for (int x = 0; x < 5; x++)
                a[y + x] = b[y + x] ^ (~b[y + (x + 1) % 5] & b[y + (x + 2) % 5]);
        a[0] ^= next_round_constant(&lfsr);
    }
}

void keccak256(const void *data, size_t len, uint8_t out[static 32])
{
    enum { RATE = 136 };
    uint64_t a[25] = {0};
    const uint8_t *p = data;
    uint8_t block[RATE];
    for (bool last = false; !last;) {
        size_t take = len < RATE ? len : RATE;
        last = take < RATE;
        memset(block, 0, sizeof block);
        if (take)
            memcpy(block, p, take);
        if (last) {
            block[take] ^= 0x01;
            block[RATE - 1] ^= 0x80;
        }
        for (int i = 0; i < RATE; i++)
            a[i / 8] ^= (uint64_t)block[i] << (8 * (i % 8));
        keccak_f(a);
        p += take;
        len -= take;
    }
    for (int i = 0; i < 32; i++)
        out[i] = (uint8_t)(a[i / 8] >> (8 * (i % 8)));
}

void sha256_of(const void *data, size_t len, uint8_t out[static 32])
{
    must(EVP_Digest(data, len, out, NULL, EVP_sha256(), NULL) == 1);
}

void sha384_of(const void *data, size_t len, uint8_t out[static 48])
{
    must(EVP_Digest(data, len, out, NULL, EVP_sha384(), NULL) == 1);
}

/* ---- keys and points ---- */

bool sim_key_from(struct sim_key *key, const uint8_t priv[static 32])
{
    secp256k1_pubkey pub;
    size_t len = sizeof key->pub;
    if (secp256k1_ec_pubkey_create(curve(), &pub, priv) != 1)
        return false;
    memmove(key->priv, priv, 32);
    secp256k1_ec_pubkey_serialize(curve(), key->pub, &len, &pub, SECP256K1_EC_UNCOMPRESSED);
    sim_address(key->pub, key->address);
    return true;
}

void sim_key_new(struct sim_key *key)
{
    uint8_t priv[32];
    do
        random_bytes(priv, sizeof priv);
    while (!sim_key_from(key, priv));
}

bool sim_point_valid(const uint8_t point[static SIM_POINT])
{
    secp256k1_pubkey pub;
    return point[0] == 4 && secp256k1_ec_pubkey_parse(curve(), &pub, point, SIM_POINT) == 1;
}

void sim_point_negate(const uint8_t point[static SIM_POINT], uint8_t out[static SIM_POINT])
{
    secp256k1_pubkey pub;
    size_t len = SIM_POINT;
    memset(out, 0, SIM_POINT);
    if (secp256k1_ec_pubkey_parse(curve(), &pub, point, SIM_POINT) == 1 &&
        secp256k1_ec_pubkey_negate(curve(), &pub) == 1)
        secp256k1_ec_pubkey_serialize(curve(), out, &len, &pub, SECP256K1_EC_UNCOMPRESSED);
}

void sim_address(const uint8_t point[static SIM_POINT], uint8_t out[static 20])
{
    uint8_t digest[32];
    keccak256(point + 1, 64, digest);
    memcpy(out, digest + 12, 20);
}

void sim_address_text(const uint8_t address[static 20], bool mixed_case, char out[static 43])
{
    uint8_t digest[32];
    memcpy(out, "0x", 2);
    hex_encode(address, 20, out + 2);
    if (!mixed_case)
        return;
    keccak256(out + 2, 40, digest);
    for (int i = 0; i < 40; i++) {
        int nibble = i % 2 ? digest[i / 2] & 15 : digest[i / 2] >> 4;
        if (nibble >= 8 && out[2 + i] >= 'a')
            out[2 + i] = (char)(out[2 + i] - 32);
    }
}

static int copy_x(unsigned char *out, const unsigned char *x, const unsigned char *y, void *data)
{
    memcpy(out, x, 32);
    return 1;
}

bool sim_agree(const uint8_t priv[static 32], const uint8_t point[static SIM_POINT], const char *info,
               uint8_t *z, uint8_t *k)
{
    secp256k1_pubkey pub;
    uint8_t x[32];
    if (!sim_point_valid(point) || secp256k1_ec_pubkey_parse(curve(), &pub, point, SIM_POINT) != 1 ||
        secp256k1_ecdh(curve(), x, &pub, priv, copy_x, NULL) != 1)
        return false;
    if (z)
        memcpy(z, x, 32);
    if (!k)
        return true;
    static EVP_KDF *kdf;
    if (!kdf)
        kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    EVP_KDF_CTX *ctx = EVP_KDF_CTX_new(kdf);
    char digest[] = "SHA256";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, x, sizeof x),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, (void *)(uintptr_t)info, strlen(info)),
        OSSL_PARAM_construct_end(),
    };
    must(ctx && EVP_KDF_derive(ctx, k, 32, params) == 1);
    EVP_KDF_CTX_free(ctx);
    return true;
}

/* ---- sealed fields ---- */

static EVP_CIPHER_CTX *gcm(bool seal, const uint8_t *k, const uint8_t *nonce, const char *aad)
{
    static EVP_CIPHER_CTX *ctx;
    static EVP_CIPHER *aes;
    int len;
    if (!ctx) {
        ctx = EVP_CIPHER_CTX_new();
        aes = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    }
    must(EVP_CipherInit_ex2(ctx, aes, k, nonce, seal, NULL) == 1);
    if (aad && *aad)
        must(EVP_CipherUpdate(ctx, NULL, &len, (const uint8_t *)aad, (int)strlen(aad)) == 1);
    return ctx;
}

void sim_gcm_seal(const uint8_t k[static 32], const uint8_t nonce[static 12], const char *aad, const void *pt,
                  size_t len, uint8_t *out)
{
    EVP_CIPHER_CTX *ctx = gcm(true, k, nonce, aad);
    int n = 0, rest = 0;
    if (len)
        must(EVP_CipherUpdate(ctx, out, &n, pt, (int)len) == 1);
    must(EVP_CipherFinal_ex(ctx, out + n, &rest) == 1 && (size_t)n == len);
    must(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, 16, out + len) == 1);
}

bool sim_gcm_open(const uint8_t k[static 32], const uint8_t nonce[static 12], const char *aad,
                  const uint8_t *ct, size_t len, uint8_t *out)
{
    if (len < 16)
        return false;
    EVP_CIPHER_CTX *ctx = gcm(false, k, nonce, aad);
    int n = 0, rest = 0;
    size_t text = len - 16;
    uint8_t tag[16];
    memcpy(tag, ct + text, 16);
    if (text && EVP_CipherUpdate(ctx, out, &n, ct, (int)text) != 1)
        return false;
    return EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, 16, tag) == 1 &&
           EVP_CipherFinal_ex(ctx, out + n, &rest) == 1;
}

void sim_field_seal(struct bytes *out, const uint8_t point[static SIM_POINT], const uint8_t k[static 32],
                    const uint8_t nonce[static 12], const void *pt, size_t len)
{
    static struct bytes ct;
    bytes_clear(&ct);
    bytes_add(&ct, point, SIM_POINT);
    bytes_add(&ct, nonce, 12);
    bytes_add(&ct, pt, len); /* makes the room that the ciphertext overwrites */
    bytes_add(&ct, "0123456789abcdef", 16);
    sim_gcm_seal(k, nonce, NULL, pt, len, ct.p + SIM_POINT + 12);
    bytes_hex(out, ct.p, ct.len);
}

bool sim_field_open(const uint8_t priv[static 32], const char *hex, size_t hex_len, struct bytes *out)
{
    uint8_t k[32];
    size_t len = hex_len / 2;
    bytes_clear(out);
    if (hex_len < SIM_FIELD_MIN_HEX || hex_len % 2)
        return false;
    uint8_t *raw = sim_alloc(len);
    bool ok = hex_decode(hex, hex_len, raw, len) && sim_agree(priv, raw, SIM_INFO, NULL, k);
    if (ok) {
        uint8_t *pt = sim_alloc(len);
        ok = sim_gcm_open(k, raw + SIM_POINT, NULL, raw + SIM_POINT + 12, len - SIM_POINT - 12, pt);
        if (ok)
            bytes_add(out, pt, len - SIM_FIELD_MIN_HEX / 2);
        free(pt);
    }
    free(raw);
    return ok;
}

/* ---- EIP-191 ---- */

void sim_eip191_digest(const char *text, uint8_t out[static 32])
{
    struct bytes b = {0};
    bytes_fmt(&b,
              "\x19"
              "Ethereum Signed Message:\n%zu",
              strlen(text));
    bytes_str(&b, text);
    keccak256(b.p, b.len, out);
    bytes_free(&b);
}

void sim_eip191_sign(const struct sim_key *key, const char *text, uint8_t out[static 65])
{
    uint8_t digest[32];
    int recid = 0;
    secp256k1_ecdsa_recoverable_signature sig;
    sim_eip191_digest(text, digest);
    must(secp256k1_ecdsa_sign_recoverable(curve(), &sig, digest, key->priv, NULL, NULL) == 1);
    secp256k1_ecdsa_recoverable_signature_serialize_compact(curve(), out, &recid, &sig);
    out[64] = (uint8_t)(27 + recid);
}

bool sim_eip191_recover(const char *text, const uint8_t sig[static 65], uint8_t point[static SIM_POINT])
{
    uint8_t digest[32];
    secp256k1_ecdsa_recoverable_signature s;
    secp256k1_pubkey pub;
    size_t len = SIM_POINT;
    int recid = sig[64] >= 27 ? sig[64] - 27 : sig[64];
    sim_eip191_digest(text, digest);
    if (recid > 3 || secp256k1_ecdsa_recoverable_signature_parse_compact(curve(), &s, sig, recid) != 1 ||
        secp256k1_ecdsa_recover(curve(), &pub, &s, digest) != 1)
        return false;
    return secp256k1_ec_pubkey_serialize(curve(), point, &len, &pub, SECP256K1_EC_UNCOMPRESSED) == 1;
}
