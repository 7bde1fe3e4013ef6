#include "pki/gpu.h"

#include <openssl/ec.h>
#include <openssl/rand.h>
#include <string.h>

#include "pki/internal.h"

#define CHAIN 5
#define DIGEST 48
#define BLOCKS 64

/* One maker: device identity root, model identity, provisioner. Each GPU has a BROM and an FMC certificate of its own. */
struct maker {
    EVP_PKEY *key[3];
    X509 *cert[3]; /* root first */
    EVP_PKEY *brom_key[PKI_GPUS_MAX], *leaf_key[PKI_GPUS_MAX];
    X509 *brom[PKI_GPUS_MAX], *leaf[PKI_GPUS_MAX];
};

struct pki_gpus {
    struct maker maker[2]; /* the trusted one, and a stranger */
    uint8_t firmware[DIGEST];
};

/* DiceTcbInfo of Hopper: SEQUENCE { version, SEQUENCE deviceID, SEQUENCE { sha384, digest } }. */
static X509_EXTENSION *firmware_extension(const uint8_t firmware[static DIGEST])
{
    static const uint8_t head[] = {0x30, 0x46, 0x02, 0x01, 0x01, 0x30, 0x02, 0x05, 0x00, 0x30, 0x3d, 0x06,
                                   0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02, 0x04, 0x30};
    uint8_t der[sizeof head + DIGEST];
    memcpy(der, head, sizeof head);
    memcpy(der + sizeof head, firmware, DIGEST);
    ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
    ASN1_OBJECT *oid = OBJ_txt2obj("2.23.133.5.4.1", 1);
    MUST(value != NULL && oid != NULL && ASN1_OCTET_STRING_set(value, der, sizeof der) == 1);
    X509_EXTENSION *ext = X509_EXTENSION_create_by_OBJ(NULL, oid, 0, value);
    MUST(ext != NULL);
    ASN1_OCTET_STRING_free(value);
    ASN1_OBJECT_free(oid);
    return ext;
}

static void make_maker(struct maker *m, const uint8_t firmware[static DIGEST], int64_t now,
                       const char *leaf_cn)
{
    static const char *const cn[3] = {"NVIDIA Device Identity CA", "NVIDIA GH100 Identity",
                                      "NVIDIA GH100 Provisioner ICA 1"};
    const int64_t from = now - 1000 * 86400, until = now + 1000 * 86400;
    X509_EXTENSION *dice = firmware_extension(firmware);
    for (int i = 0; i < 3; i++) {
        m->key[i] = EVP_EC_gen("P-384");
        MUST(m->key[i] != NULL);
        m->cert[i] = pki_cert(m->key[i], cn[i], i > 0 ? m->cert[i - 1] : NULL, m->key[i > 0 ? i - 1 : 0],
                              true, i + 1, from, until, NULL);
    }
    for (int i = 0; i < PKI_GPUS_MAX; i++) {
        m->brom_key[i] = EVP_EC_gen("P-384");
        m->leaf_key[i] = EVP_EC_gen("P-384");
        MUST(m->brom_key[i] != NULL && m->leaf_key[i] != NULL);
        m->brom[i] = pki_cert(m->brom_key[i], "GH100 A01 GSP BROM", m->cert[2], m->key[2], true, 10 + i, from,
                              until, NULL);
        m->leaf[i] = pki_cert(m->leaf_key[i], leaf_cn != NULL ? leaf_cn : "GH100 A01 GSP FMC LF", m->brom[i],
                              m->brom_key[i], false, 20 + i, from, until, dice);
    }
    X509_EXTENSION_free(dice);
}

struct pki_gpus *pki_gpus_new(int64_t now, const char *leaf_cn)
{
    struct pki_gpus *g = calloc(1, sizeof *g);
    MUST(g != NULL);
    memset(g->firmware, 0xf3, sizeof g->firmware);
    make_maker(&g->maker[0], g->firmware, now, leaf_cn);
    make_maker(&g->maker[1], g->firmware, now, leaf_cn);
    return g;
}

void pki_gpus_free(struct pki_gpus *g)
{
    for (int m = 0; g != NULL && m < 2; m++) {
        for (int i = 0; i < 3; i++) {
            EVP_PKEY_free(g->maker[m].key[i]);
            X509_free(g->maker[m].cert[i]);
        }
        for (int i = 0; i < PKI_GPUS_MAX; i++) {
            EVP_PKEY_free(g->maker[m].brom_key[i]);
            EVP_PKEY_free(g->maker[m].leaf_key[i]);
            X509_free(g->maker[m].brom[i]);
            X509_free(g->maker[m].leaf[i]);
        }
    }
    free(g);
}

struct pki_bytes pki_gpus_root(const struct pki_gpus *g)
{
    return pki_pem(&g->maker[0].cert[0], 1);
}

struct pki_bytes pki_gpu_chain(const struct pki_gpus *g, size_t gpu, bool stranger)
{
    const struct maker *m = &g->maker[stranger];
    return pki_pem((X509 *const[CHAIN]){m->leaf[gpu], m->brom[gpu], m->cert[2], m->cert[1], m->cert[0]},
                   CHAIN);
}

static void append_field(struct pki_bytes *b, unsigned type, const void *value, size_t len)
{
    pki_append(b, (uint8_t[]){(uint8_t)type, (uint8_t)(type >> 8), (uint8_t)len, (uint8_t)(len >> 8)}, 4);
    pki_append(b, value, len);
}

static struct pki_bytes opaque_data(const struct pki_gpus *g, const struct pki_gpu_spec *spec, bool first)
{
    static const uint8_t vbios[8] = {0x00, 0xcf, 0x00, 0x96, 0x02};
    const char *driver = spec->driver != NULL ? spec->driver : "570.172.08";
    struct pki_bytes b = {0};
    uint8_t firmware[DIGEST];
    memcpy(firmware, g->firmware, sizeof firmware);
    firmware[0] ^= first && spec->another_firmware;
    append_field(&b, 3, driver, strlen(driver) + 1);
    append_field(&b, 6, vbios, sizeof vbios);
    append_field(&b, 11, "\xaa", 1);
    if (!first || !spec->no_firmware) {
        append_field(&b, 20, firmware, sizeof firmware);
    }
    return b;
}

void pki_sign384(EVP_PKEY *key, const void *data, size_t len, uint8_t signature[static 96])
{
    uint8_t der[128];
    size_t der_len = sizeof der;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    MUST(ctx != NULL && EVP_DigestSignInit(ctx, NULL, EVP_sha384(), NULL, key) == 1 &&
         EVP_DigestSign(ctx, der, &der_len, data, len) == 1);
    EVP_MD_CTX_free(ctx);
    const uint8_t *p = der;
    ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &p, (long)der_len);
    MUST(sig != NULL && BN_bn2binpad(ECDSA_SIG_get0_r(sig), signature, 48) == 48 &&
         BN_bn2binpad(ECDSA_SIG_get0_s(sig), signature + 48, 48) == 48);
    ECDSA_SIG_free(sig);
}

struct pki_bytes pki_gpu_report(const struct pki_gpus *g, size_t gpu, const struct pki_gpu_spec *spec)
{
    struct pki_bytes b = {0}, opaque = opaque_data(g, spec, gpu == 0);
    uint8_t nonce[32], own[32], signature[96];
    const unsigned record = BLOCKS * (7 + DIGEST);
    memcpy(nonce, spec->nonce, sizeof nonce);
    nonce[0] ^= gpu == 0 && spec->another_nonce;
    MUST(RAND_bytes(own, sizeof own) == 1);
    pki_append(&b, "\x11\xe0\x01\xff", 4);
    pki_append(&b, nonce, sizeof nonce);
    pki_append(&b, "", 1); /* slot 0 */
    pki_append(&b, (uint8_t[]){0x11, 0x60, 0, 0, BLOCKS, (uint8_t)record, (uint8_t)(record >> 8), 0}, 8);
    for (unsigned i = 0; i < BLOCKS; i++) {
        uint8_t digest[DIGEST];
        memset(digest, (int)i, sizeof digest);
        pki_append(&b, (uint8_t[]){(uint8_t)(i + 1), 1, 3 + DIGEST, 0, 0, DIGEST, 0}, 7);
        pki_append(&b, digest, sizeof digest);
    }
    pki_append(&b, own, sizeof own);
    pki_append(&b, (uint8_t[]){(uint8_t)opaque.len, (uint8_t)(opaque.len >> 8)}, 2);
    pki_append(&b, opaque.data, opaque.len);
    pki_sign384(g->maker[spec->stranger].leaf_key[gpu], b.data, b.len, signature);
    pki_append(&b, signature, sizeof signature);
    if (gpu == 0 && spec->flipped) {
        b.data[37 + 8 + 7] ^= 1;
    }
    if (gpu == 0 && spec->trailing) {
        pki_append(&b, "", 1);
    }
    pki_bytes_free(&opaque);
    return b;
}

static void append_base64(struct pki_bytes *out, struct pki_bytes from)
{
    char *text = malloc(from.len / 3 * 4 + 5);
    MUST(text != NULL);
    pki_append(out, text, (size_t)EVP_EncodeBlock((unsigned char *)text, from.data, (int)from.len));
    free(text);
    pki_bytes_free(&from);
}

struct pki_bytes pki_gpu_payload(const struct pki_gpus *g, size_t count, const struct pki_gpu_spec *spec)
{
    struct pki_bytes b = {0};
    const char *arch = spec->arch != NULL ? spec->arch : "HOPPER";
    MUST(count <= PKI_GPUS_MAX);
    pki_appendf(&b, "{\"arch\":\"%s\",\"nonce\":\"", arch);
    for (size_t i = 0; i < sizeof spec->nonce; i++) {
        pki_appendf(&b, "%02x", spec->nonce[i] ^ (i == 0 && spec->another_payload_nonce));
    }
    pki_appendf(&b, "\",\"evidence_list\":[");
    for (size_t i = 0; i < count; i++) {
        size_t gpu = spec->twice && i + 1 == count ? 0 : i;
        pki_appendf(&b, "%s{\"arch\":\"%s\",\"certificate\":\"", i > 0 ? "," : "", arch);
        append_base64(&b, pki_gpu_chain(g, gpu, spec->stranger));
        pki_appendf(&b, "\",\"evidence\":\"");
        append_base64(&b, pki_gpu_report(g, gpu, spec));
        pki_appendf(&b, "\"}");
    }
    pki_appendf(&b, "]}");
    return b;
}
