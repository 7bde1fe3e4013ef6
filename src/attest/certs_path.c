/* The path of a chain to its root, by OpenSSL. */
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "attest/certs.h"
#include "attest/proven.h"

/* What X509_verify_cert does not ask for: version, algorithm, curve. */
static bool check_form(const struct certs *certs, struct err *err)
{
    for (size_t i = 0; i < certs->count; i++) {
        const X509 *cert = certs->cert[i];
        uint8_t key[P256_KEY_BYTES];
        if (X509_get_version(cert) != X509_VERSION_3 ||
            X509_get_signature_nid(cert) != NID_ecdsa_with_SHA256 || !ecdsa_key(ECDSA_P256, cert, key, err)) {
            return err_set(err, ERR_INVALID,
                           "certificate %zu is not X.509v3 with a P-256 key and ecdsa-with-SHA256", i + 1);
        }
    }
    return true;
}

static bool narrow(struct proven_interval *i, int64_t from, int64_t until)
{
    i->from = from > i->from ? from : i->from;
    i->until = until < i->until ? until : i->until;
    return true;
}

static bool narrow_by_cert(struct proven_interval *i, const X509 *cert)
{
    int64_t from, until;
    return certs_time(X509_get0_notBefore(cert), &from) && certs_time(X509_get0_notAfter(cert), &until) &&
           narrow(i, from, until);
}

/* Every certificate's validity at now, both ends included. */
static bool check_dates(const struct certs *certs, int64_t now, struct err *err)
{
    for (size_t i = 0; i < certs->count; i++) {
        struct proven_interval valid = {INT64_MIN, INT64_MAX};
        if (!narrow_by_cert(&valid, certs->cert[i]) || now < valid.from || now > valid.until) {
            return err_set(err, ERR_EXPIRED, "certificate %zu is outside its validity", i + 1);
        }
    }
    return true;
}

/* The name of "X509_verify_cert accepts these": all bytes that it is given. */
static bool path_name(struct proven *out, const struct certs *certs, const struct attest_root *root,
                      const struct certs_crl *root_crl, const struct certs_crl *pck_crl)
{
    const uint8_t shape[] = {(uint8_t)certs->count, root_crl != NULL, pck_crl != NULL};
    uint8_t lists[2][SHA256_BYTES] = {{0}}, chain[1 + CERTS_MAX][SHA256_BYTES];
    memcpy(chain[0], root_sha256(root), SHA256_BYTES);
    memcpy(chain[1], certs->sha256, certs->count * SHA256_BYTES);
    if (root_crl != NULL) {
        memcpy(lists[0], root_crl->sha256, SHA256_BYTES);
    }
    if (pck_crl != NULL) {
        memcpy(lists[1], pck_crl->sha256, SHA256_BYTES);
    }
    const struct hash_part parts[] = {{"path", 4},
                                      {shape, sizeof shape},
                                      {lists, sizeof lists},
                                      {chain, (1 + certs->count) * SHA256_BYTES}};
    return proven_name(out, parts, sizeof parts / sizeof parts[0]);
}

/* When the answer now is also the answer: while all dates compare as they do now. OpenSSL takes the last second of a
 * certificate or list for too late, and so does an interval. Nothing is remembered of an acceptance outside: there a policy
 * let a list be stale. */
static void remember(const struct proven *name, const struct certs *certs, const struct attest_root *root,
                     const struct certs_crl *root_crl, const struct certs_crl *pck_crl, int64_t now)
{
    struct proven_interval i = {INT64_MIN, INT64_MAX};
    bool ok = narrow_by_cert(&i, root_certificate(root));
    for (size_t n = 0; ok && n < certs->count; n++) {
        ok = narrow_by_cert(&i, certs->cert[n]);
    }
    if (root_crl != NULL) {
        narrow(&i, root_crl->from, root_crl->until);
    }
    if (pck_crl != NULL) {
        narrow(&i, pck_crl->from, pck_crl->until);
    }
    if (ok && i.from <= now && now < i.until) {
        proven_add_for(name, i);
    }
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

static bool verify_path(const struct certs *certs, const struct attest_root *root,
                        const struct certs_crl *root_crl, const struct certs_crl *pck_crl,
                        struct moment moment, struct err *err)
{
    X509_STORE *store = NULL;
    STACK_OF(X509) *untrusted = NULL;
    bool ok = false;

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
    ok = verify_store(store, certs, untrusted, root_crl != NULL, moment, err);
out:
    sk_X509_free(untrusted);
    X509_STORE_free(store);
    ERR_clear_error();
    return ok;
}

bool certs_verify(const struct certs *certs, const struct attest_root *root, const struct certs_crl *root_crl,
                  const struct certs_crl *pck_crl, int64_t allow_stale_s, int64_t now, struct err *err)
{
    struct proven name;
    bool named = path_name(&name, certs, root, root_crl, pck_crl);
    if (named && proven_has_at(&name, now)) {
        return check_dates(certs, now, err);
    }
    if (!check_form(certs, err) || !check_dates(certs, now, err) ||
        !verify_path(certs, root, root_crl, pck_crl, (struct moment){now, allow_stale_s}, err)) {
        return false;
    }
    if (named) {
        remember(&name, certs, root, root_crl, pck_crl, now);
    }
    return true;
}
