#include "pki/nras.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/sha.h>
#include <string.h>

#include "pki/internal.h"

struct pki_nras {
    EVP_PKEY *key[2]; /* both in the set */
};

struct pki_nras *pki_nras_new(void)
{
    struct pki_nras *n = calloc(1, sizeof *n);
    MUST(n != NULL);
    for (int i = 0; i < 2; i++) {
        n->key[i] = EVP_EC_gen("P-384");
        MUST(n->key[i] != NULL);
    }
    return n;
}

void pki_nras_free(struct pki_nras *n)
{
    for (int i = 0; n != NULL && i < 2; i++) {
        EVP_PKEY_free(n->key[i]);
    }
    free(n);
}

static void append_base64url(struct pki_bytes *out, const void *data, size_t len)
{
    char *text = malloc(len / 3 * 4 + 5);
    MUST(text != NULL);
    int chars = EVP_EncodeBlock((unsigned char *)text, data, (int)len);
    while (chars > 0 && text[chars - 1] == '=') {
        chars--;
    }
    for (int i = 0; i < chars; i++) {
        text[i] = text[i] == '+' ? '-' : text[i] == '/' ? '_' : text[i];
    }
    pki_append(out, text, (size_t)chars);
    free(text);
}

struct pki_bytes pki_nras_keys(const struct pki_nras *n)
{
    struct pki_bytes b = {0};
    pki_appendf(&b, "{\"keys\":[{\"kty\":\"RSA\",\"kid\":\"other-kind\",\"n\":\"AQAB\",\"e\":\"AQAB\"}");
    for (int i = 0; i < 2; i++) {
        uint8_t point[97];
        size_t len;
        MUST(EVP_PKEY_get_octet_string_param(n->key[i], OSSL_PKEY_PARAM_PUB_KEY, point, sizeof point, &len) ==
                 1 &&
             len == sizeof point);
        pki_appendf(&b, ",{\"kty\":\"EC\",\"crv\":\"P-384\",\"kid\":\"made-%d\",\"x\":\"", i);
        append_base64url(&b, point + 1, 48);
        pki_appendf(&b, "\",\"y\":\"");
        append_base64url(&b, point + 49, 48);
        pki_appendf(&b, "\"}");
    }
    pki_appendf(&b, "]}");
    return b;
}

static struct pki_bytes sign_token(const struct pki_nras *n, struct pki_bytes *claims,
                                   const struct pki_nras_spec *s)
{
    struct pki_bytes header = {0}, token = {0};
    uint8_t signature[96];
    pki_appendf(&header, "{\"kid\":\"made-%d\",\"alg\":\"%s\"%s}", s->unknown_key ? 7 : 0,
                s->alg_none    ? "none"
                : s->alg_es256 ? "ES256"
                               : "ES384",
                s->crit ? ",\"crit\":[\"exp\"]" : "");
    append_base64url(&token, header.data, header.len);
    pki_appendf(&token, ".");
    append_base64url(&token, claims->data, claims->len);
    pki_sign384(n->key[s->another_key], token.data, token.len, signature);
    pki_appendf(&token, ".");
    if (!s->alg_none) {
        append_base64url(&token, signature, sizeof signature);
    }
    pki_bytes_free(&header);
    pki_bytes_free(claims);
    return token;
}

static void append_frame(struct pki_bytes *b, const struct pki_nras_spec *s, bool another_nonce,
                         bool another_issuer)
{
    const long long from = (long long)s->now + (s->expired ? -7200 : s->future ? 3600 : 0);
    pki_appendf(
        b, "\"iss\":\"https://nras.attestation.%s\",\"nbf\":%lld,\"iat\":%lld,\"exp\":%lld,\"eat_nonce\":\"",
        another_issuer ? "example" : "nvidia.com", from, from, from + 3600);
    for (size_t i = 0; i < sizeof s->nonce; i++) {
        pki_appendf(b, "%02x", s->nonce[i] ^ (i == 31 && another_nonce));
    }
    pki_appendf(b, "\"");
}

static struct pki_bytes gpu_token(const struct pki_nras *n, const struct pki_nras_spec *s, bool wrong)
{
    struct pki_bytes b = {0};
    pki_appendf(&b, "{\"secboot\":%s,\"dbgstat\":\"%s\",\"measres\":\"%s\",\"hwmodel\":\"GH100\",",
                wrong && s->gpu_secboot ? "false" : "true", wrong && s->gpu_debug ? "enabled" : "disabled",
                wrong && s->gpu_measres ? "comparison-fail" : "success");
    if (s->ocsp || s->ocsp_revoked) {
        pki_appendf(&b,
                    "\"x-nvidia-gpu-attestation-report-cert-chain\":{\"x-nvidia-cert-status\":\"valid\","
                    "\"x-nvidia-cert-ocsp-status\":\"%s\"},",
                    wrong && s->ocsp_revoked ? "revoked" : "good");
    }
    if (wrong && s->duplicate_claim) {
        pki_appendf(&b, "\"measres\":\"success\",");
    }
    pki_appendf(&b, "\"x-nvidia-gpu-attestation-report-nonce-match\":true,"
                    "\"x-nvidia-gpu-attestation-report-signature-verified\":true,");
    append_frame(&b, s, wrong && s->gpu_nonce, wrong && s->gpu_issuer);
    pki_appendf(&b, "}");
    return sign_token(n, &b, s);
}

struct pki_bytes pki_nras_answer(const struct pki_nras *n, const struct pki_nras_spec *s)
{
    struct pki_bytes claims = {0}, tokens = {0}, out = {0};
    const size_t said = s->gpus - (s->fewer && s->gpus > 0);
    pki_appendf(&claims,
                "{\"sub\":\"NVIDIA-PLATFORM-ATTESTATION\",\"x-nvidia-ver\":\"2.0\","
                "\"x-nvidia-overall-att-result\":%s,\"submods\":{",
                s->overall_false ? "false" : "true");
    for (size_t i = 0; i < said; i++) {
        uint8_t digest[32];
        struct pki_bytes token = gpu_token(n, s, i + 1 == said);
        MUST(SHA256(token.data, token.len, digest) != NULL);
        digest[0] ^= i + 1 == said && s->another_digest;
        pki_appendf(&claims, "%s\"GPU-%zu\":[\"DIGEST\",[\"SHA-256\",\"", i > 0 ? "," : "", i);
        for (size_t k = 0; k < sizeof digest; k++) {
            pki_appendf(&claims, "%02x", digest[k]);
        }
        pki_appendf(&claims, "\"]]");
        pki_appendf(&tokens, "%s\"GPU-%zu\":\"", i > 0 ? "," : "", i);
        pki_append(&tokens, token.data, token.len);
        pki_appendf(&tokens, "\"");
        pki_bytes_free(&token);
    }
    pki_appendf(&claims, "},");
    append_frame(&claims, s, s->another_nonce, s->another_issuer);
    pki_appendf(&claims, "}");
    struct pki_bytes overall = sign_token(n, &claims, s);
    pki_appendf(&out, "[[\"JWT\",\"");
    pki_append(&out, overall.data, overall.len);
    pki_appendf(&out, "\"],{");
    pki_append(&out, tokens.data, tokens.len);
    pki_appendf(&out, "}]");
    pki_bytes_free(&tokens);
    pki_bytes_free(&overall);
    return out;
}
