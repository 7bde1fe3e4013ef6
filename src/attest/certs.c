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

#define PARSED_MAX 32

/* OpenSSL 3.0 takes a tenth of a millisecond to make a key of a certificate. CAs and signers come again with every quote:
 * one that was parsed is handed out again for exactly the same bytes. Nothing is remembered of its validity. */
static struct {
    pthread_mutex_t lock;
    struct {
        uint8_t sha256[SHA256_BYTES];
        X509 *cert; /* a reference of the table's own */
    } entry[PARSED_MAX];
    size_t count, next;
} parsed = {.lock = PTHREAD_MUTEX_INITIALIZER};

static X509 *parsed_find(const uint8_t sha256[static SHA256_BYTES])
{
    X509 *cert = NULL;
    pthread_mutex_lock(&parsed.lock);
    for (size_t i = 0; i < parsed.count && cert == NULL; i++) {
        if (memcmp(parsed.entry[i].sha256, sha256, SHA256_BYTES) == 0 &&
            X509_up_ref(parsed.entry[i].cert) == 1) {
            cert = parsed.entry[i].cert;
        }
    }
    pthread_mutex_unlock(&parsed.lock);
    return cert;
}

static void parsed_keep(const uint8_t sha256[static SHA256_BYTES], X509 *cert)
{
    if (X509_up_ref(cert) != 1) {
        return;
    }
    pthread_mutex_lock(&parsed.lock);
    X509 *old = parsed.entry[parsed.next].cert;
    memcpy(parsed.entry[parsed.next].sha256, sha256, SHA256_BYTES);
    parsed.entry[parsed.next].cert = cert;
    parsed.next = (parsed.next + 1) % PARSED_MAX;
    parsed.count += parsed.count < PARSED_MAX;
    pthread_mutex_unlock(&parsed.lock);
    X509_free(old);
}

/* A certificate that is exactly the DER it came in. */
static X509 *cert_of_der(const uint8_t *der, size_t len)
{
    const uint8_t *p = der;
    uint8_t *again = NULL;
    X509 *cert = d2i_X509(NULL, &p, (long)len);
    int size = cert != NULL ? i2d_X509(cert, &again) : -1;
    if (cert != NULL && (p != der + len || size < 0 || (size_t)size != len || memcmp(again, der, len) != 0)) {
        X509_free(cert);
        cert = NULL;
    }
    OPENSSL_free(again);
    ERR_clear_error();
    return cert;
}

/* recurs: a CA's or a signer's, which is worth keeping. */
static X509 *cert_get(const uint8_t *der, size_t len, bool recurs)
{
    uint8_t sha256[SHA256_BYTES];
    if (!recurs || !hash_sha256(sha256, der, len)) {
        return cert_of_der(der, len);
    }
    X509 *cert = parsed_find(sha256);
    if (cert == NULL && (cert = cert_of_der(der, len)) != NULL) {
        parsed_keep(sha256, cert);
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
        out->cert[i] = cert_get(der, der_len, count - i <= 2);
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
    out->crl = len > 0 ? d2i_X509_CRL(NULL, &p, (long)len) : NULL;
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
    const struct proven_part parts[] = {{"CRL", 3}, {key, sizeof key}, {crl->sha256, sizeof crl->sha256}};
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

/* What X509_verify_cert does not ask for: version, algorithm, curve, and validity now. */
static bool check_cert(const X509 *cert, size_t index, int64_t now, struct err *err)
{
    uint8_t key[P256_KEY_BYTES];
    int64_t from, until;
    if (X509_get_version(cert) != X509_VERSION_3 || X509_get_signature_nid(cert) != NID_ecdsa_with_SHA256 ||
        !ecdsa_key(ECDSA_P256, cert, key, err)) {
        return err_set(err, ERR_INVALID,
                       "certificate %zu is not X.509v3 with a P-256 key and ecdsa-with-SHA256", index + 1);
    }
    if (!certs_time(X509_get0_notBefore(cert), &from) || !certs_time(X509_get0_notAfter(cert), &until) ||
        now < from || now > until) {
        return err_set(err, ERR_EXPIRED, "certificate %zu is outside its validity", index + 1);
    }
    return true;
}

/* When the chain is judged, and how long a CRL may be past its end then. */
struct moment {
    int64_t now, allow_stale_s;
};

/* The one thing that passes though OpenSSL does not like it: a CRL whose nextUpdate is no longer ago than allowed.
 * OpenSSL takes nextUpdate itself for too late; it is in time. */
static int judge_crl_end(int ok, X509_STORE_CTX *ctx)
{
    const struct moment *m = X509_STORE_CTX_get_app_data(ctx);
    const X509_CRL *crl = X509_STORE_CTX_get0_current_crl(ctx);
    int64_t until;
    if (ok || m == NULL || crl == NULL || X509_STORE_CTX_get_error(ctx) != X509_V_ERR_CRL_HAS_EXPIRED) {
        return ok;
    }
    return certs_time(X509_CRL_get0_nextUpdate(crl), &until) && m->now - until <= m->allow_stale_s;
}

static bool verify_store(X509_STORE *store, const struct certs *certs, STACK_OF(X509) * untrusted, bool crls,
                         struct moment moment, struct err *err)
{
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    bool ok = false;

    if (ctx == NULL || !X509_STORE_CTX_init(ctx, store, certs->cert[0], untrusted)) {
        err_set(err, ERR_CRYPTO, "X509_STORE_CTX_init failed");
        goto out;
    }
    X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(ctx);
    X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_X509_STRICT |
                                           (crls ? X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL : 0));
    X509_VERIFY_PARAM_set_time(param, (time_t)moment.now);
    X509_VERIFY_PARAM_set_depth(param, 2);
    if (X509_STORE_CTX_set_app_data(ctx, &moment) != 1) {
        err_set(err, ERR_MEMORY, "no memory for a certificate chain");
        goto out;
    }
    X509_STORE_CTX_set_verify_cb(ctx, judge_crl_end);
    if (X509_verify_cert(ctx) == 1) {
        ok = true;
        goto out;
    }
    int code = X509_STORE_CTX_get_error(ctx);
    bool time = code == X509_V_ERR_CERT_HAS_EXPIRED || code == X509_V_ERR_CERT_NOT_YET_VALID ||
                code == X509_V_ERR_CRL_HAS_EXPIRED || code == X509_V_ERR_CRL_NOT_YET_VALID;
    err_set(err,
            code == X509_V_ERR_CERT_REVOKED ? ERR_FORBIDDEN
            : code == X509_V_ERR_OUT_OF_MEM ? ERR_MEMORY
            : time                          ? ERR_EXPIRED
                                            : ERR_INVALID,
            "certificate %d: %s", X509_STORE_CTX_get_error_depth(ctx) + 1,
            X509_verify_cert_error_string(code));
out:
    X509_STORE_CTX_free(ctx);
    ERR_clear_error();
    return ok;
}

bool certs_verify(const struct certs *certs, const struct attest_root *root, const struct certs_crl *root_crl,
                  const struct certs_crl *pck_crl, int64_t allow_stale_s, int64_t now, struct err *err)
{
    X509_STORE *store = NULL;
    STACK_OF(X509) *untrusted = NULL;
    bool ok = false;

    for (size_t i = 0; i < certs->count; i++) {
        if (!check_cert(certs->cert[i], i, now, err)) {
            return false;
        }
    }
    store = X509_STORE_new();
    untrusted = sk_X509_new_null();
    if (store == NULL || untrusted == NULL || !X509_STORE_add_cert(store, root_certificate(root)) ||
        (root_crl != NULL && !X509_STORE_add_crl(store, root_crl->crl)) ||
        (pck_crl != NULL && !X509_STORE_add_crl(store, pck_crl->crl))) {
        err_set(err, ERR_CRYPTO, "a certificate store could not be made");
        goto out;
    }
    for (size_t i = 1; i + 1 < certs->count; i++) {
        if (sk_X509_push(untrusted, certs->cert[i]) <= 0) {
            err_set(err, ERR_MEMORY, "no memory for a certificate chain");
            goto out;
        }
    }
    ok = verify_store(store, certs, untrusted, root_crl != NULL, (struct moment){now, allow_stale_s}, err);
out:
    sk_X509_free(untrusted);
    X509_STORE_free(store);
    ERR_clear_error();
    return ok;
}
