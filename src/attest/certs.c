#include "attest/certs.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "attest/proven.h"
#include "attest/provider.h"
#include "base/hex.h"
#include "base/mem.h"

#define PEM_BYTES_MAX 65536

static const char begin_line[] = "-----BEGIN CERTIFICATE-----";
static const char end_line[] = "-----END CERTIFICATE-----";

struct text {
    const char *at, *end;
};

static bool skip_word(struct text *t, const char *word)
{
    size_t len = strlen(word);
    if ((size_t)(t->end - t->at) < len || memcmp(t->at, word, len) != 0) {
        return false;
    }
    t->at += len;
    return true;
}

static void skip_line_ends(struct text *t)
{
    while (t->at < t->end && (*t->at == '\n' || *t->at == '\r')) {
        t->at++;
    }
}

/* The next certificate's base64 without its line ends, decoded into der. */
static bool next_der(struct text *t, char *base64, uint8_t *der, size_t cap, size_t *len)
{
    size_t digits = 0;
    skip_line_ends(t);
    if (!skip_word(t, begin_line)) {
        return false;
    }
    for (skip_line_ends(t); t->at < t->end && *t->at != '-'; t->at++) {
        if (*t->at != '\n' && *t->at != '\r') {
            base64[digits++] = *t->at;
        }
    }
    return skip_word(t, end_line) && digits % 4 == 0 && base64_decode(der, cap, len, base64, digits, false);
}

#define PARSED_MAX 64
/* Bytes of DER. The largest of Intel's has 1.3 kB; what somebody else sends of any size is not kept. */
#define PARSED_DER_BYTES 4096

/* OpenSSL takes as long to read a certificate as to verify a signature. CAs and signers come again with every quote,
 * PCK certificates with every quote of their machine: one that was parsed is handed out again for exactly the same bytes.
 * Nothing is remembered of its validity. What was not asked for longest makes room, so that many machines' certificates
 * do not push out their CA. */
static struct {
    pthread_mutex_t lock;
    struct {
        uint8_t sha256[SHA256_BYTES];
        X509 *cert;    /* a reference of the table's own; NULL: an empty place */
        uint64_t used; /* tick of the last use */
    } entry[PARSED_MAX];
    uint64_t tick;
} parsed = {.lock = PTHREAD_MUTEX_INITIALIZER};

static X509 *parsed_find(const uint8_t sha256[static SHA256_BYTES])
{
    X509 *cert = NULL;
    pthread_mutex_lock(&parsed.lock);
    for (size_t i = 0; i < PARSED_MAX && cert == NULL; i++) {
        if (parsed.entry[i].cert != NULL && memcmp(parsed.entry[i].sha256, sha256, SHA256_BYTES) == 0 &&
            X509_up_ref(parsed.entry[i].cert) == 1) {
            cert = parsed.entry[i].cert;
            parsed.entry[i].used = ++parsed.tick;
        }
    }
    pthread_mutex_unlock(&parsed.lock);
    return cert;
}

static void parsed_keep(const uint8_t sha256[static SHA256_BYTES], X509 *cert)
{
    size_t at = 0;
    if (X509_up_ref(cert) != 1) {
        return;
    }
    pthread_mutex_lock(&parsed.lock);
    for (size_t i = 1; i < PARSED_MAX; i++) {
        at = parsed.entry[i].used < parsed.entry[at].used ? i : at;
    }
    X509 *old = parsed.entry[at].cert;
    memcpy(parsed.entry[at].sha256, sha256, SHA256_BYTES);
    parsed.entry[at].cert = cert;
    parsed.entry[at].used = ++parsed.tick;
    pthread_mutex_unlock(&parsed.lock);
    X509_free(old);
}

/* A certificate that is exactly the DER it came in. OpenSSL works out its extensions when it first verifies with it; this has
 * it done at once, before the certificate is handed to other threads, so that they only read. */
static X509 *cert_of_der(const uint8_t *der, size_t len)
{
    const uint8_t *p = der;
    uint8_t *again = NULL;
    OSSL_LIB_CTX *context = provider_context();
    X509 *blank = context != NULL ? X509_new_ex(context, NULL) : NULL;
    X509 *cert = blank != NULL ? d2i_X509(&blank, &p, (long)len) : NULL; /* which frees it when it fails */
    int size = cert != NULL ? i2d_X509(cert, &again) : -1;
    if (cert != NULL && (p != der + len || size < 0 || (size_t)size != len || memcmp(again, der, len) != 0)) {
        X509_free(cert);
        cert = NULL;
    }
    OPENSSL_free(again);
    if (cert != NULL) {
        (void)X509_check_purpose(cert, -1, 0);
    }
    ERR_clear_error();
    return cert;
}

/* Its key and its extensions were read, and that it is a root if it is one. A certificate may lack that for want of memory only, and
 * goes on lacking it. */
static bool is_whole(X509 *cert)
{
    bool whole = X509_get0_pubkey(cert) != NULL && X509_check_purpose(cert, -1, 0) == 1 &&
                 (X509_NAME_cmp(X509_get_subject_name(cert), X509_get_issuer_name(cert)) != 0 ||
                  X509_self_signed(cert, 0) == 1);
    ERR_clear_error();
    return whole;
}

/* recurs: worth keeping, if it is whole. */
static X509 *cert_get(uint8_t sha256[static SHA256_BYTES], const uint8_t *der, size_t len, bool recurs)
{
    if (!hash_sha256(sha256, der, len)) {
        return NULL;
    }
    recurs = recurs && len <= PARSED_DER_BYTES;
    X509 *cert = recurs ? parsed_find(sha256) : NULL;
    if (cert == NULL && (cert = cert_of_der(der, len)) != NULL && recurs && is_whole(cert)) {
        parsed_keep(sha256, cert);
    }
    return cert;
}

X509 *certs_of_der(uint8_t sha256[static SHA256_BYTES], const uint8_t *der, size_t len)
{
    X509 *cert = cert_get(sha256, der, len, true);
    if (cert != NULL && !is_whole(cert)) {
        X509_free(cert);
        cert = NULL;
    }
    return cert;
}

bool certs_parse(struct certs *out, const char *pem, size_t len, size_t count, struct err *err)
{
    struct text t = {pem, pem + len};
    char *base64 = NULL;
    uint8_t *der = NULL;
    bool ok = false;

    memset(out, 0, sizeof *out);
    if (len > PEM_BYTES_MAX || count > CERTS_MAX) {
        return err_set(err, ERR_TOO_LARGE, "certificate chain has %zu bytes", len);
    }
    base64 = mem_alloc(len + 1);
    der = mem_alloc(BASE64_DECODED_MAX(len));
    if (base64 == NULL || der == NULL) {
        err_set(err, ERR_MEMORY, "no memory for a certificate chain");
        goto out;
    }
    for (size_t i = 0; i < count; i++) {
        size_t der_len;
        if (!next_der(&t, base64, der, BASE64_DECODED_MAX(len), &der_len)) {
            err_set(err, ERR_INVALID, "certificate %zu of %zu is not there as PEM", i + 1, count);
            goto out;
        }
        /* A GPU's own certificates are not kept: a machine has dozens. */
        out->cert[i] = cert_get(out->sha256[i], der, der_len, count <= PCK_CHAIN || count - i <= 2);
        if (out->cert[i] == NULL) {
            err_set(err, ERR_INVALID, "certificate %zu of %zu is no X.509 in DER", i + 1, count);
            goto out;
        }
        out->count = i + 1;
    }
    skip_line_ends(&t);
    if (t.at < t.end && *t.at == '\0') {
        t.at++;
    }
    ok = t.at == t.end || err_set(err, ERR_INVALID, "something follows the %zu certificates", count);
out:
    mem_free(base64);
    mem_free(der);
    if (!ok) {
        certs_free(out);
    }
    return ok;
}

void certs_free(struct certs *certs)
{
    for (size_t i = 0; i < CERTS_MAX; i++) {
        X509_free(certs->cert[i]);
    }
    memset(certs, 0, sizeof *certs);
}

bool certs_named(const X509 *cert, const char *name)
{
    const X509_NAME *subject = X509_get_subject_name(cert);
    int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    if (at < 0 || X509_NAME_get_index_by_NID(subject, NID_commonName, at) >= 0) {
        return false;
    }
    const ASN1_STRING *value = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at));
    size_t len = strlen(name);
    return (size_t)ASN1_STRING_length(value) == len && memcmp(ASN1_STRING_get0_data(value), name, len) == 0;
}

bool certs_end_in(const struct certs *certs, const struct attest_root *root)
{
    return certs->count > 0 && X509_cmp(certs->cert[certs->count - 1], root_certificate(root)) == 0;
}

bool certs_time(const ASN1_TIME *time, int64_t *out)
{
    struct tm tm;
    if (time == NULL || ASN1_TIME_to_tm(time, &tm) != 1) {
        return false;
    }
    *out = (int64_t)timegm(&tm);
    return true;
}

bool certs_crl_parse(struct certs_crl *out, const uint8_t *der, size_t len, struct err *err)
{
    const uint8_t *p = der;
    ASN1_INTEGER *number = NULL;
    bool ok = false;

    memset(out, 0, sizeof *out);
    OSSL_LIB_CTX *context = provider_context();
    X509_CRL *blank = context != NULL ? X509_CRL_new_ex(context, NULL) : NULL;
    if (blank == NULL) {
        return err_set(err, ERR_CRYPTO, "OpenSSL failed to begin with a CRL");
    }
    out->crl = d2i_X509_CRL(&blank, &p, (long)len); /* which frees it when it fails */
    if (out->crl == NULL || p != der + len) {
        err_set(err, ERR_INVALID, "is no CRL in DER");
        goto out;
    }
    if (X509_CRL_get_signature_nid(out->crl) != NID_ecdsa_with_SHA256) {
        err_set(err, ERR_INVALID, "is not signed by ecdsa-with-SHA256");
        goto out;
    }
    if (!certs_time(X509_CRL_get0_lastUpdate(out->crl), &out->from) ||
        !certs_time(X509_CRL_get0_nextUpdate(out->crl), &out->until)) {
        err_set(err, ERR_INVALID, "lacks one of its dates");
        goto out;
    }
    number = X509_CRL_get_ext_d2i(out->crl, NID_crl_number, NULL, NULL);
    if (number == NULL || ASN1_INTEGER_get_uint64(&out->number, number) != 1) {
        err_set(err, ERR_INVALID, "has no number");
        goto out;
    }
    ok = hash_sha256(out->sha256, der, len) || err_set(err, ERR_CRYPTO, "SHA-256 failed");
out:
    ASN1_INTEGER_free(number);
    ERR_clear_error();
    if (!ok) {
        certs_crl_free(out);
    }
    return ok;
}

void certs_crl_free(struct certs_crl *crl)
{
    X509_CRL_free(crl->crl);
    memset(crl, 0, sizeof *crl);
}

bool certs_crl_issued_by(const struct certs_crl *crl, X509 *issuer, struct err *err)
{
    if (X509_NAME_cmp(X509_CRL_get_issuer(crl->crl), X509_get_subject_name(issuer)) != 0) {
        return err_set(err, ERR_INVALID, "comes from another issuer");
    }
    uint8_t key[P256_KEY_BYTES];
    const struct hash_part parts[] = {{"CRL", 3}, {key, sizeof key}, {crl->sha256, sizeof crl->sha256}};
    struct proven name;
    struct err ignored = {0};
    bool named = ecdsa_key(ECDSA_P256, issuer, key, &ignored) &&
                 proven_name(&name, parts, sizeof parts / sizeof parts[0]);
    if (named && proven_has(&name)) {
        return true;
    }
    bool ok = X509_CRL_verify(crl->crl, X509_get0_pubkey(issuer)) == 1;
    ERR_clear_error();
    if (ok && named) {
        proven_add(&name);
    }
    return ok || err_set(err, ERR_INVALID, "is not signed by its issuer");
}
