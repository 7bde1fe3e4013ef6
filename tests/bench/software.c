/* What session custody costs at least for a chunk: one ECDH by libsecp256k1 with a fresh point, HKDF-SHA256 and the
 * opening of one AES-256-GCM field by OpenSSL, and nothing else. Usage: bench-software SECONDS FIELD_BYTES. Prints
 * {"chunks","cpu_seconds"}. */
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <secp256k1.h>
#include <secp256k1_ecdh.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#define POINTS 4096
#define FIELD_MAX 4096

static secp256k1_context *curve;
static unsigned char points[POINTS][65], scalar[32];
static EVP_KDF_CTX *kdf;
static EVP_CIPHER_CTX *cipher;

static double cpu_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void must(int ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "bench-software: %s\n", what);
        exit(1);
    }
}

static int only_x(unsigned char *out, const unsigned char *x, const unsigned char *y, void *data)
{
    memcpy(out, x, 32);
    return 1;
}

static void prepare(void)
{
    curve = secp256k1_context_create(SECP256K1_CONTEXT_NONE);
    for (int i = 0; i <= POINTS; i++) {
        unsigned char secret[32];
        secp256k1_pubkey key;
        size_t len = 65;
        must(getrandom(secret, sizeof secret, 0) == (ssize_t)sizeof secret &&
                 secp256k1_ec_pubkey_create(curve, &key, secret),
             "a key");
        if (i == POINTS) {
            memcpy(scalar, secret, sizeof scalar);
        } else {
            secp256k1_ec_pubkey_serialize(curve, points[i], &len, &key, SECP256K1_EC_UNCOMPRESSED);
        }
    }
    EVP_KDF *hkdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    kdf = EVP_KDF_CTX_new(hkdf);
    cipher = EVP_CIPHER_CTX_new();
    must(kdf != NULL && cipher != NULL && EVP_DecryptInit_ex2(cipher, EVP_aes_256_gcm(), NULL, NULL, NULL),
         "OpenSSL");
}

/* The tag is not checked: a random field has none, and comparing 16 bytes costs nothing. */
static void chunk(const unsigned char *point, const unsigned char *field, int field_len)
{
    static unsigned char z[32], key[32], text[FIELD_MAX];
    static const unsigned char nonce[12];
    char digest[] = "SHA256", info[] = "ecdsa_encryption";
    secp256k1_pubkey peer;
    int len = 0;
    OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
                           OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, z, sizeof z),
                           OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, info, strlen(info)),
                           OSSL_PARAM_construct_end()};
    must(secp256k1_ec_pubkey_parse(curve, &peer, point, 65) &&
             secp256k1_ecdh(curve, z, &peer, scalar, only_x, NULL),
         "ECDH");
    EVP_KDF_CTX_reset(kdf);
    must(EVP_KDF_derive(kdf, key, sizeof key, params) == 1, "HKDF");
    must(EVP_DecryptInit_ex2(cipher, NULL, key, nonce, NULL) &&
             EVP_DecryptUpdate(cipher, text, &len, field, field_len),
         "AES-GCM");
}

int main(int argc, char **argv)
{
    static unsigned char field[FIELD_MAX];
    if (argc != 3) {
        fprintf(stderr, "usage: bench-software SECONDS FIELD_BYTES\n");
        return 2;
    }
    double seconds = strtod(argv[1], NULL);
    long bytes = strtol(argv[2], NULL, 10), chunks = 0;
    must(bytes > 0 && bytes <= FIELD_MAX, "the size of a field");
    prepare();
    double begin = cpu_now();
    while (cpu_now() - begin < seconds) {
        for (int i = 0; i < 64; i++) {
            chunk(points[chunks++ % POINTS], field, (int)bytes);
        }
    }
    printf("{\"chunks\":%ld,\"cpu_seconds\":%.6f}\n", chunks, cpu_now() - begin);
    return 0;
}
