/* Keys, certificates and revocation lists. */
#include "pki/pki.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "pki/internal.h"

void pki_bytes_free(struct pki_bytes *b)
{
    free(b->data);
    *b = (struct pki_bytes){NULL, 0};
}

void pki_append(struct pki_bytes *b, const void *data, size_t len)
{
    b->data = realloc(b->data, b->len + len + 1);
    MUST(b->data != NULL);
    if (len > 0) {
        memcpy(b->data + b->len, data, len);
    }
    b->len += len;
    b->data[b->len] = '\0';
}

void pki_appendf(struct pki_bytes *b, const char *fmt, ...)
{
    char text[4096];
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    MUST(len >= 0 && (size_t)len < sizeof text);
    pki_append(b, text, (size_t)len);
}

void pki_sign(EVP_PKEY *key, const void *data, size_t len, uint8_t signature[static 64])
{
    uint8_t der[128];
    size_t der_len = sizeof der;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    MUST(ctx != NULL && EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key) == 1 &&
         EVP_DigestSign(ctx, der, &der_len, data, len) == 1);
    EVP_MD_CTX_free(ctx);
    const uint8_t *p = der;
    ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &p, (long)der_len);
    MUST(sig != NULL && BN_bn2binpad(ECDSA_SIG_get0_r(sig), signature, 32) == 32 &&
         BN_bn2binpad(ECDSA_SIG_get0_s(sig), signature + 32, 32) == 32);
    ECDSA_SIG_free(sig);
}

void pki_public(EVP_PKEY *key, uint8_t xy[static 64])
{
    uint8_t point[65];
    size_t len;
    MUST(EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof point, &len) == 1 &&
         len == 65);
    memcpy(xy, point + 1, 64);
}

void pki_date(int64_t when, char out[static 32])
{
    time_t t = (time_t)when;
    struct tm tm;
    MUST(gmtime_r(&t, &tm) != NULL && strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &tm) > 0);
}

/* SEQUENCE { OID 1.2.840.113741.1.13.1[.a[.b]], value }. */
static void der_member(struct pki_bytes *out, int a, int b, uint8_t tag, const void *value, size_t len)
{
    uint8_t oid[11] = {0x2a, 0x86, 0x48, 0x86, 0xf8, 0x4d, 0x01, 0x0d, 0x01, (uint8_t)a, (uint8_t)b};
    size_t oid_len = b > 0 ? 11 : 10, body = 2 + oid_len + (len < 128 ? 2 : 4) + len;
    uint8_t head[4] = {0x30, 0x82, (uint8_t)(body >> 8), (uint8_t)body};
    if (body < 128) {
        pki_append(out, (uint8_t[]){0x30, (uint8_t)body}, 2);
    } else if (body < 256) {
        pki_append(out, (uint8_t[]){0x30, 0x81, (uint8_t)body}, 3);
    } else {
        pki_append(out, head, 4);
    }
    pki_append(out, (uint8_t[]){0x06, (uint8_t)oid_len}, 2);
    pki_append(out, oid, oid_len);
    if (len < 128) {
        pki_append(out, (uint8_t[]){tag, (uint8_t)len}, 2);
    } else {
        pki_append(out, (uint8_t[]){tag, 0x82, (uint8_t)(len >> 8), (uint8_t)len}, 4);
    }
    pki_append(out, value, len);
}

static void der_integer(struct pki_bytes *out, int b, unsigned value)
{
    uint8_t bytes[3] = {0, (uint8_t)(value >> 8), (uint8_t)value};
    size_t skip = value < 0x80 ? 2 : value < 0x8000 ? 1 : 0;
    der_member(out, 2, b, 0x02, bytes + skip, 3 - skip);
}

static X509_EXTENSION *sgx_extension(const struct pki_spec *spec)
{
    struct pki_bytes tcb = {0}, configuration = {0}, members = {0}, all = {0};
    uint8_t ppid[16] = {0x77};
    for (int i = 0; i < 16; i++) {
        der_integer(&tcb, i + 1, spec->component[i]);
    }
    der_integer(&tcb, 17, spec->pcesvn);
    der_member(&tcb, 2, 18, 0x04, spec->cpusvn, 16);
    der_member(&members, 1, 0, 0x04, ppid, sizeof ppid);
    der_member(&members, 2, 0, 0x30, tcb.data, tcb.len);
    der_member(&members, 3, 0, 0x04, spec->pceid, 2);
    der_member(&members, 4, 0, 0x04, spec->fmspc, 6);
    der_member(&members, 5, 0, 0x0a, (uint8_t[]){1}, 1); /* SGXType: scalable */
    der_member(&members, 6, 0, 0x04, ppid, sizeof ppid); /* platform instance */
    for (int i = 1; i <= 3; i++) {                       /* dynamic platform, cached keys, SMT */
        der_member(&configuration, 7, i, 0x01, (uint8_t[]){0xff}, 1);
    }
    der_member(&members, 7, 0, 0x30, configuration.data, configuration.len);
    pki_append(&all, (uint8_t[]){0x30, 0x82, (uint8_t)(members.len >> 8), (uint8_t)members.len}, 4);
    pki_append(&all, members.data, members.len);
    ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
    ASN1_OBJECT *oid = OBJ_txt2obj("1.2.840.113741.1.13.1", 1);
    MUST(value != NULL && oid != NULL && ASN1_OCTET_STRING_set(value, all.data, (int)all.len) == 1);
    X509_EXTENSION *ext = X509_EXTENSION_create_by_OBJ(NULL, oid, 0, value);
    MUST(ext != NULL);
    ASN1_OCTET_STRING_free(value);
    ASN1_OBJECT_free(oid);
    pki_bytes_free(&tcb);
    pki_bytes_free(&configuration);
    pki_bytes_free(&members);
    pki_bytes_free(&all);
    return ext;
}

static void add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    MUST(ext != NULL && X509_add_ext(cert, ext, -1) == 1);
    X509_EXTENSION_free(ext);
}

X509 *pki_cert(EVP_PKEY *key, const char *cn, X509 *issuer, EVP_PKEY *issuer_key, bool ca, long serial,
               int64_t from, int64_t until, X509_EXTENSION *extra)
{
    X509 *cert = X509_new();
    X509_NAME *name = X509_NAME_new();
    MUST(cert != NULL && name != NULL && X509_set_version(cert, X509_VERSION_3) == 1);
    const char *const subject[][2] = {
        {"CN", cn}, {"O", "Intel Corporation"}, {"L", "Santa Clara"}, {"ST", "CA"}, {"C", "US"}};
    for (size_t i = 0; i < sizeof subject / sizeof *subject; i++) {
        MUST(X509_NAME_add_entry_by_txt(name, subject[i][0], MBSTRING_ASC,
                                        (const unsigned char *)subject[i][1], -1, -1, 0) == 1);
    }
    MUST(X509_set_subject_name(cert, name) == 1 &&
         X509_set_issuer_name(cert, issuer != NULL ? X509_get_subject_name(issuer) : name) == 1);
    X509_NAME_free(name);
    MUST(ASN1_INTEGER_set(X509_get_serialNumber(cert), serial) == 1 && X509_set_pubkey(cert, key) == 1);
    MUST(ASN1_TIME_set(X509_getm_notBefore(cert), (time_t)from) != NULL &&
         ASN1_TIME_set(X509_getm_notAfter(cert), (time_t)until) != NULL);
    add_extension(cert, issuer != NULL ? issuer : cert, NID_subject_key_identifier, "hash");
    add_extension(cert, issuer != NULL ? issuer : cert, NID_authority_key_identifier, "keyid:always");
    add_extension(cert, issuer, NID_basic_constraints, ca ? "critical,CA:TRUE" : "critical,CA:FALSE");
    add_extension(cert, issuer, NID_key_usage,
                  ca ? "critical,keyCertSign,cRLSign" : "critical,digitalSignature");
    add_extension(cert, issuer != NULL ? issuer : cert, NID_crl_distribution_points,
                  "URI:https://certificates.trustedservices.intel.com/IntelSGXRootCA.der");
    if (extra != NULL) {
        MUST(X509_add_ext(cert, extra, -1) == 1);
    }
    MUST(X509_sign(cert, issuer_key, EVP_PKEY_get_bits(issuer_key) > 256 ? EVP_sha384() : EVP_sha256()) > 0);
    return cert;
}

static X509_CRL *make_crl(X509 *issuer, EVP_PKEY *key, int64_t from, int64_t until, unsigned crl_number,
                          X509 *const *revoked, size_t count)
{
    X509_CRL *crl = X509_CRL_new();
    ASN1_TIME *time = ASN1_TIME_set(NULL, (time_t)from);
    MUST(crl != NULL && time != NULL && X509_CRL_set_version(crl, X509_CRL_VERSION_2) == 1 &&
         X509_CRL_set_issuer_name(crl, X509_get_subject_name(issuer)) == 1 &&
         X509_CRL_set1_lastUpdate(crl, time) == 1);
    if (until != 0) {
        MUST(ASN1_TIME_set(time, (time_t)until) != NULL && X509_CRL_set1_nextUpdate(crl, time) == 1);
    }
    for (size_t i = 0; i < count; i++) {
        X509_REVOKED *entry = X509_REVOKED_new();
        MUST(entry != NULL && X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(revoked[i])) == 1 &&
             ASN1_TIME_set(time, (time_t)from) != NULL && X509_REVOKED_set_revocationDate(entry, time) == 1 &&
             X509_CRL_add0_revoked(crl, entry) == 1);
    }
    ASN1_TIME_free(time);
    if (crl_number != 0) {
        ASN1_INTEGER *number = ASN1_INTEGER_new();
        MUST(number != NULL && ASN1_INTEGER_set(number, crl_number) == 1 &&
             X509_CRL_add1_ext_i2d(crl, NID_crl_number, number, 0, 0) == 1);
        ASN1_INTEGER_free(number);
    }
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, NULL, NULL, crl, 0);
    X509_EXTENSION *akid = X509V3_EXT_conf_nid(NULL, &ctx, NID_authority_key_identifier, "keyid:always");
    MUST(akid != NULL && X509_CRL_add_ext(crl, akid, -1) == 1);
    X509_EXTENSION_free(akid);
    MUST(X509_CRL_sort(crl) == 1 && X509_CRL_sign(crl, key, EVP_sha256()) > 0);
    return crl;
}

void pki_renew_crls(struct pki *p, const struct pki_spec *spec)
{
    unsigned number = spec->crl_without_number ? 0 : spec->crl_number;
    X509_CRL_free(p->root_crl);
    X509_CRL_free(p->pck_crl);
    X509 *by_root[2], *by_ca[1] = {p->pck};
    size_t count = 0;
    if (spec->revoke_ca) {
        by_root[count++] = p->ca;
    }
    if (spec->revoke_signer) {
        by_root[count++] = p->signer;
    }
    p->root_crl =
        make_crl(p->root, p->root_key, spec->root_crl_from, spec->root_crl_until, number, by_root, count);
    p->pck_crl =
        make_crl(p->ca, p->ca_key, spec->pck_crl_from, spec->pck_crl_until, number, by_ca, spec->revoke_pck);
}

void pki_renew_pck(struct pki *p, const struct pki_spec *spec, long serial)
{
    EVP_PKEY_free(p->pck_key);
    X509_free(p->pck);
    p->pck_key = EVP_EC_gen(spec->pck_not_p256 ? "secp256k1" : "P-256");
    MUST(p->pck_key != NULL);
    X509_EXTENSION *sgx = sgx_extension(spec);
    p->pck = pki_cert(p->pck_key, spec->pck_cn, p->ca, p->ca_key, false, serial,
                      spec->now - 1000 * (int64_t)86400, spec->cert_until, sgx);
    X509_EXTENSION_free(sgx);
}

struct pki *pki_new(const struct pki_spec *spec)
{
    const int64_t day = 86400, from = spec->now - 1000 * day, until = spec->now + 1000 * day;
    struct pki *p = calloc(1, sizeof *p);
    MUST(p != NULL);
    p->root_key = EVP_EC_gen("P-256");
    p->ca_key = EVP_EC_gen("P-256");
    p->signer_key = EVP_EC_gen("P-256");
    p->attestation_key = EVP_EC_gen("P-256");
    MUST(p->root_key != NULL && p->ca_key != NULL && p->signer_key != NULL && p->attestation_key != NULL);
    p->root = pki_cert(p->root_key, spec->root_cn, NULL, p->root_key, true, 1, from, until, NULL);
    p->ca = pki_cert(p->ca_key, spec->ca_cn, p->root, p->root_key, true, 2, from, until, NULL);
    pki_renew_pck(p, spec, 3);
    p->signer = pki_cert(p->signer_key, spec->signer_cn, spec->signer_under_ca ? p->ca : p->root,
                         spec->signer_under_ca ? p->ca_key : p->root_key, false, 4, from, until, NULL);
    pki_renew_crls(p, spec);
    return p;
}

void pki_free(struct pki *p)
{
    EVP_PKEY_free(p->root_key);
    EVP_PKEY_free(p->ca_key);
    EVP_PKEY_free(p->pck_key);
    EVP_PKEY_free(p->signer_key);
    EVP_PKEY_free(p->attestation_key);
    X509_free(p->root);
    X509_free(p->ca);
    X509_free(p->pck);
    X509_free(p->signer);
    X509_CRL_free(p->root_crl);
    X509_CRL_free(p->pck_crl);
    free(p);
}

struct pki_bytes pki_pem(X509 *const *certs, size_t count)
{
    struct pki_bytes out = {0};
    BIO *bio = BIO_new(BIO_s_mem());
    char *text;
    MUST(bio != NULL);
    for (size_t i = 0; i < count; i++) {
        MUST(PEM_write_bio_X509(bio, certs[i]) == 1);
    }
    long len = BIO_get_mem_data(bio, &text);
    pki_append(&out, text, (size_t)len);
    BIO_free(bio);
    return out;
}

struct pki_bytes pki_root_pem(const struct pki *p)
{
    return pki_pem((X509 *const[]){p->root}, 1);
}

struct pki_bytes pki_pck_chain(const struct pki *p)
{
    return pki_pem((X509 *const[]){p->pck, p->ca, p->root}, 3);
}

struct pki_bytes pki_signer_chain(const struct pki *p)
{
    return pki_pem((X509 *const[]){p->signer, p->root}, 2);
}

static struct pki_bytes der_of(X509_CRL *crl)
{
    struct pki_bytes out = {0};
    uint8_t *der = NULL;
    int len = i2d_X509_CRL(crl, &der);
    MUST(len > 0);
    pki_append(&out, der, (size_t)len);
    OPENSSL_free(der);
    return out;
}

struct pki_bytes pki_root_crl(const struct pki *p)
{
    return der_of(p->root_crl);
}

struct pki_bytes pki_pck_crl(const struct pki *p)
{
    return der_of(p->pck_crl);
}
