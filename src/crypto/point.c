#include "crypto/point.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include <secp256k1.h>
#include <secp256k1_ecdh.h>
#include <secp256k1_recovery.h>

#include "base/hex.h"
#include "crypto/hash.h"

static pthread_once_t context_once = PTHREAD_ONCE_INIT;
static secp256k1_context *context;

/* Blinded against side channels once; read-only afterwards, so that threads share it. */
static void make_context(void)
{
    uint8_t seed[32];
    context = secp256k1_context_create(SECP256K1_CONTEXT_SIGN | SECP256K1_CONTEXT_VERIFY);
    if (context != NULL &&
        (!hash_random(seed, sizeof seed, NULL) || !secp256k1_context_randomize(context, seed))) {
        secp256k1_context_destroy(context);
        context = NULL;
    }
    secret_wipe(seed, sizeof seed);
}

static const secp256k1_context *get_context(struct err *err)
{
    pthread_once(&context_once, make_context);
    if (context == NULL) {
        err_set(err, ERR_CRYPTO, "libsecp256k1 could not be set up");
    }
    return context;
}

static bool parse_point(secp256k1_pubkey *key, const uint8_t *point)
{
    /* libsecp256k1 also takes the hybrid prefixes 06 and 07: the protocol knows only 04. */
    return point[0] == 0x04 && get_context(NULL) != NULL &&
           secp256k1_ec_pubkey_parse(context, key, point, POINT_BYTES) == 1;
}

bool point_valid(const uint8_t point[static POINT_BYTES])
{
    secp256k1_pubkey key;
    return parse_point(&key, point);
}

bool point_from_hex(uint8_t point[static POINT_BYTES], const char *hex, size_t digits, struct err *err)
{
    bool read = false;
    if (digits == POINT_HEX_CHARS) {
        read = hex_decode(point, hex, digits);
    } else if (digits == POINT_HEX_CHARS - 2) {
        point[0] = 0x04;
        read = hex_decode(point + 1, hex, digits);
    }
    if (!read || !point_valid(point)) {
        memset(point, 0, POINT_BYTES);
        return err_set(err, ERR_INVALID, "not a point of secp256k1 in 128 or 130 hex digits");
    }
    return true;
}

bool point_from_scalar(uint8_t point[static POINT_BYTES], const struct secret *scalar, struct err *err)
{
    secp256k1_pubkey key;
    size_t len = POINT_BYTES;
    memset(point, 0, POINT_BYTES);
    if (get_context(err) == NULL) {
        return false;
    }
    if (scalar->len != SCALAR_BYTES || secp256k1_ec_pubkey_create(context, &key, scalar->data) != 1) {
        return err_set(err, ERR_INVALID, "not a scalar of secp256k1");
    }
    secp256k1_ec_pubkey_serialize(context, point, &len, &key, SECP256K1_EC_UNCOMPRESSED);
    return true;
}

static int copy_x(unsigned char *out, const unsigned char *x32, const unsigned char *y32, void *data)
{
    memcpy(out, x32, ECDH_BYTES);
    return 1;
}

bool point_ecdh(struct secret *z, const struct secret *scalar, const uint8_t point[static POINT_BYTES],
                struct err *err)
{
    secp256k1_pubkey key;
    *z = SECRET_EMPTY;
    if (get_context(err) == NULL) {
        return false;
    }
    if (!parse_point(&key, point)) {
        return err_set(err, ERR_INVALID, "not a point of secp256k1");
    }
    if (!secret_new(z, ECDH_BYTES, err)) {
        return false;
    }
    if (scalar->len != SCALAR_BYTES ||
        secp256k1_ecdh(context, z->data, &key, scalar->data, copy_x, NULL) != 1) {
        secret_free(z);
        return err_set(err, ERR_INVALID, "not a scalar of secp256k1");
    }
    return true;
}

bool point_random_scalar(struct secret *scalar, struct err *err)
{
    *scalar = SECRET_EMPTY;
    if (get_context(err) == NULL || !secret_new(scalar, SCALAR_BYTES, err)) {
        return false;
    }
    /* A random string is out of range once in 2^128: three in a row mean a broken generator. */
    for (int tries = 0; tries < 3; tries++) {
        if (!hash_random(scalar->data, SCALAR_BYTES, err)) {
            secret_free(scalar);
            return false;
        }
        if (secp256k1_ec_seckey_verify(context, scalar->data) == 1) {
            return true;
        }
    }
    secret_free(scalar);
    return err_set(err, ERR_CRYPTO, "the random generator gives no scalar in range");
}

bool point_same_x(const uint8_t a[static POINT_BYTES], const uint8_t b[static POINT_BYTES])
{
    return memcmp(a + 1, b + 1, ECDH_BYTES) == 0; /* points are public */
}

bool point_blind(uint8_t blinded[static POINT_BYTES], const uint8_t point[static POINT_BYTES],
                 const struct secret *scalar, struct err *err)
{
    secp256k1_pubkey key, shift, sum;
    const secp256k1_pubkey *const parts[] = {&key, &shift};
    size_t len = POINT_BYTES;
    memset(blinded, 0, POINT_BYTES);
    if (get_context(err) == NULL) {
        return false;
    }
    if (!parse_point(&key, point)) {
        return err_set(err, ERR_INVALID, "not a point of secp256k1");
    }
    /* Not ..._tweak_add, whose time depends on the scalar, and which walks through a megabyte of table. */
    if (scalar->len != SCALAR_BYTES || secp256k1_ec_pubkey_create(context, &shift, scalar->data) != 1 ||
        secp256k1_ec_pubkey_combine(context, &sum, parts, 2) != 1) {
        return err_set(err, ERR_INVALID, "not a scalar of secp256k1, or the point's negative");
    }
    secp256k1_ec_pubkey_serialize(context, blinded, &len, &sum, SECP256K1_EC_UNCOMPRESSED);
    return true;
}

/* Of the work of one proof, all of it secret. */
struct proof {
    secp256k1_pubkey shared, offset, sum;
    uint8_t compressed[1 + ECDH_BYTES], result[POINT_BYTES];
};

static int copy_point(unsigned char *out, const unsigned char *x32, const unsigned char *y32, void *data)
{
    out[0] = 0x04;
    memcpy(out + 1, x32, ECDH_BYTES);
    memcpy(out + 1 + ECDH_BYTES, y32, ECDH_BYTES);
    return 1;
}

/* offset = scalar * own, in a time that depends on neither (..._tweak_mul's does). */
static bool find_offset(struct proof *p, const struct secret *scalar, const uint8_t own[static POINT_BYTES])
{
    return parse_point(&p->shared, own) &&
           secp256k1_ecdh(context, p->result, &p->shared, scalar->data, copy_point, NULL) == 1 &&
           parse_point(&p->offset, p->result);
}

/* Is blinded_x the X of offset + the point with this Y of the two that x has? */
static bool sum_has_x(struct proof *p, const struct secret *x, bool odd, const struct secret *blinded_x)
{
    const secp256k1_pubkey *const parts[] = {&p->offset, &p->shared};
    struct secret got = {.data = p->result + 1, .len = ECDH_BYTES};
    size_t len = POINT_BYTES;
    p->compressed[0] = odd ? 0x03 : 0x02;
    memcpy(p->compressed + 1, x->data, ECDH_BYTES);
    if (secp256k1_ec_pubkey_parse(context, &p->shared, p->compressed, sizeof p->compressed) != 1 ||
        secp256k1_ec_pubkey_combine(context, &p->sum, parts, 2) != 1) {
        return false;
    }
    secp256k1_ec_pubkey_serialize(context, p->result, &len, &p->sum, SECP256K1_EC_UNCOMPRESSED);
    return secret_equal(&got, blinded_x);
}

bool point_ecdh_proven(const struct secret *x, const struct secret *blinded_x, const struct secret *scalar,
                       const uint8_t own[static POINT_BYTES], bool *proven, struct err *err)
{
    struct secret room = SECRET_EMPTY;
    *proven = false;
    if (get_context(err) == NULL || !secret_new(&room, sizeof(struct proof), err)) {
        return false;
    }
    struct proof *p = (struct proof *)(void *)room.data;
    bool ok = (x->len == ECDH_BYTES && blinded_x->len == ECDH_BYTES && scalar->len == SCALAR_BYTES &&
               find_offset(p, scalar, own)) ||
              err_set(err, ERR_INVALID, "not a point, a scalar and two shared secrets of secp256k1");
    *proven = ok && (sum_has_x(p, x, false, blinded_x) || sum_has_x(p, x, true, blinded_x));
    secret_free(&room);
    return ok;
}

void point_eth_address(uint8_t address[static ETH_ADDRESS_BYTES], const uint8_t point[static POINT_BYTES])
{
    uint8_t hash[KECCAK256_BYTES];
    hash_keccak256(hash, point + 1, POINT_BYTES - 1);
    memcpy(address, hash + KECCAK256_BYTES - ETH_ADDRESS_BYTES, ETH_ADDRESS_BYTES);
}

/* keccak256("\x19Ethereum Signed Message:\n" || decimal length || text): EIP-191 version 0x45. */
static bool eip191_digest(uint8_t digest[static KECCAK256_BYTES], const char *text, size_t text_len,
                          struct err *err)
{
    char message[4096];
    int n = snprintf(message, sizeof message,
                     "\x19"
                     "Ethereum Signed Message:\n%zu",
                     text_len);
    if (n < 0 || text_len > sizeof message - (size_t)n) {
        return err_set(err, ERR_TOO_LARGE, "a signed text of %zu bytes", text_len);
    }
    memcpy(message + n, text, text_len);
    hash_keccak256(digest, message, (size_t)n + text_len);
    return true;
}

bool point_recover_eip191(uint8_t address[static ETH_ADDRESS_BYTES], const char *text, size_t text_len,
                          const uint8_t signature[static 65], struct err *err)
{
    uint8_t digest[KECCAK256_BYTES], point[POINT_BYTES];
    secp256k1_ecdsa_recoverable_signature parsed;
    secp256k1_pubkey key;
    size_t len = sizeof point;
    int v = signature[64] >= 27 ? signature[64] - 27 : signature[64];
    memset(address, 0, ETH_ADDRESS_BYTES);
    if (get_context(err) == NULL || !eip191_digest(digest, text, text_len, err)) {
        return false;
    }
    if (v > 1 || secp256k1_ecdsa_recoverable_signature_parse_compact(context, &parsed, signature, v) != 1 ||
        secp256k1_ecdsa_recover(context, &key, &parsed, digest) != 1) {
        return err_set(err, ERR_INVALID, "not a recoverable signature");
    }
    secp256k1_ec_pubkey_serialize(context, point, &len, &key, SECP256K1_EC_UNCOMPRESSED);
    point_eth_address(address, point);
    return true;
}
