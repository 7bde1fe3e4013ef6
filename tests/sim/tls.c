#include "tls.h"

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>

static bool add_extension(X509 *cert, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, cert, cert, NULL, NULL, 0);
    X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    bool ok = ext && X509_add_ext(cert, ext, -1);
    X509_EXTENSION_free(ext);
    return ok;
}

static X509 *make_cert(EVP_PKEY *key, enum tls_kind kind)
{
    X509 *cert = X509_new();
    X509_set_version(cert, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    X509_gmtime_adj(X509_getm_notBefore(cert), kind == TLS_EXPIRED ? -172800 : -3600);
    X509_gmtime_adj(X509_getm_notAfter(cert), kind == TLS_EXPIRED ? -86400 : 30 * 86400);
    X509_set_pubkey(cert, key);
    X509_NAME *name = X509_get_subject_name(cert);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"simulated enclave", -1, -1,
                               0);
    X509_set_issuer_name(cert, name);
    const char *names =
        kind == TLS_WRONG_NAME ? "DNS:elsewhere.invalid" : "DNS:localhost,IP:127.0.0.1,IP:::1";
    if (!add_extension(cert, NID_basic_constraints, "critical,CA:TRUE") ||
        !add_extension(cert, NID_subject_alt_name, names) || !X509_sign(cert, key, EVP_sha256())) {
        X509_free(cert);
        return NULL;
    }
    return cert;
}

static bool write_cert(X509 *cert, const char *path)
{
    FILE *f = fopen(path, "w");
    bool ok = f && PEM_write_X509(f, cert);
    return f ? fclose(f) == 0 && ok : false;
}

SSL_CTX *tls_make(enum tls_kind kind, const char *cert_out)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = key ? make_cert(key, kind) : NULL;
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    bool ok = cert && ctx && SSL_CTX_use_certificate(ctx, cert) == 1 &&
              SSL_CTX_use_PrivateKey(ctx, key) == 1 && SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) &&
              (!cert_out || write_cert(cert, cert_out));
    X509_free(cert);
    EVP_PKEY_free(key);
    if (ok)
        return ctx;
    SSL_CTX_free(ctx);
    return NULL;
}
