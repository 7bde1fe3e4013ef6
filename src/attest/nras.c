#include "attest/nras.h"

#include <stdio.h>
#include <string.h>

#include "base/hex.h"
#include "base/limits.h"

#define GPU_NAME_BYTES 32 /* "GPU-" and any number */

struct check {
    const struct jwks *set;
    const uint8_t *nonce;
    size_t gpus;
    int64_t now;
    struct nras_result *out;
    struct err *err;
};

static bool refuse(const struct check *c, const char *why)
{
    return err_set(c->err, ERR_INVALID, "%s", why);
}

static bool says(const struct jwt *t, const char *claim, const char *text)
{
    return json_string_is(&t->claims, json_member(&t->claims, json_root(&t->claims), claim), text);
}

static bool says_true(const struct jwt *t, const char *claim)
{
    bool value;
    const struct json_node *node = json_member(&t->claims, json_root(&t->claims), claim);
    return node != NULL && json_bool(node, &value) && value;
}

/* Absent, or true. */
static bool never_false(const struct jwt *t, const char *claim)
{
    return json_member(&t->claims, json_root(&t->claims), claim) == NULL || says_true(t, claim);
}

/* Issuer, dates and nonce, which every token has. */
static bool check_frame(struct check *c, const struct jwt *t)
{
    const struct json_node *root = json_root(&t->claims);
    const struct json_doc *doc = &t->claims;
    char hex[2 * NRAS_NONCE_BYTES + 1];
    uint8_t nonce[NRAS_NONCE_BYTES];
    uint64_t from, until;

    if (!says(t, "iss", NRAS_ISSUER)) {
        return refuse(c, "a token is not issued by NVIDIA's service");
    }
    if (!json_string_copy(doc, json_member(doc, root, "eat_nonce"), hex, sizeof hex) ||
        strlen(hex) != sizeof hex - 1 || !hex_decode(nonce, hex, sizeof hex - 1) ||
        memcmp(nonce, c->nonce, sizeof nonce) != 0) {
        return refuse(c, "a token was made for another nonce");
    }
    if (!json_u64(doc, json_member(doc, root, "nbf"), &from) ||
        !json_u64(doc, json_member(doc, root, "exp"), &until) || from > INT64_MAX || until > INT64_MAX) {
        return refuse(c, "a token does not say when it is valid");
    }
    if (c->now + NRAS_SKEW_S < (int64_t)from || c->now >= (int64_t)until) {
        return err_set(c->err, ERR_EXPIRED, "a token is valid from %lld to %lld", (long long)from,
                       (long long)until);
    }
    if (c->out->expires == 0 || (int64_t)until < c->out->expires) {
        c->out->expires = (int64_t)until;
    }
    return true;
}

/* Newer tokens speak of revocation: "good" then, or it is refused. */
static bool check_revocation(struct check *c, const struct jwt *t)
{
    const struct json_doc *doc = &t->claims;
    const struct json_node *chain =
        json_present(doc, json_root(doc), "x-nvidia-gpu-attestation-report-cert-chain");
    const struct json_node *status = json_present(doc, chain, "x-nvidia-cert-ocsp-status");
    if (status == NULL) {
        c->out->revocation_checked = false;
        return true;
    }
    return json_string_is(doc, status, "good") || refuse(c, "NVIDIA says that a certificate is not good");
}

static bool check_gpu_claims(struct check *c, const struct jwt *t)
{
    static const char *const never[] = {
        "x-nvidia-gpu-attestation-report-parsed", "x-nvidia-gpu-attestation-report-signature-verified",
        "x-nvidia-gpu-attestation-report-cert-chain-validated",
        "x-nvidia-gpu-attestation-report-cert-chain-fwid-match", "x-nvidia-gpu-arch-check"};
    for (size_t i = 0; i < sizeof never / sizeof never[0]; i++) {
        if (!never_false(t, never[i])) {
            return refuse(c, "NVIDIA says that a GPU's evidence does not hold");
        }
    }
    if (!says(t, "measres", "success")) {
        return refuse(c, "NVIDIA says that a GPU's measurements are not the good ones");
    }
    if (!says_true(t, "secboot") || !says(t, "dbgstat", "disabled")) {
        return refuse(c, "NVIDIA says that a GPU has debugging on, or booted without verification");
    }
    if (!says_true(t, "x-nvidia-gpu-attestation-report-nonce-match")) {
        return refuse(c, "NVIDIA says that a GPU's report was made for another nonce");
    }
    return check_revocation(c, t);
}

/* sub is ["DIGEST",["SHA-256",hex]]: of the token's text. */
static bool digest_is(const struct json_doc *doc, const struct json_node *sub, const struct buf *token,
                      struct err *err, bool *same)
{
    uint8_t want[SHA256_BYTES], have[SHA256_BYTES];
    char hex[2 * SHA256_BYTES + 1];
    *same = false;
    const struct json_node *kind =
        sub != NULL && sub->type == JSON_ARRAY && sub->count == 2 ? json_first(doc, sub) : NULL;
    const struct json_node *pair = kind != NULL ? json_next(doc, kind) : NULL;
    const struct json_node *name =
        pair != NULL && pair->type == JSON_ARRAY && pair->count == 2 ? json_first(doc, pair) : NULL;
    if (name == NULL || !json_string_is(doc, kind, "DIGEST") || !json_string_is(doc, name, "SHA-256") ||
        !json_string_copy(doc, json_next(doc, name), hex, sizeof hex) || strlen(hex) != sizeof hex - 1 ||
        !hex_decode(want, hex, sizeof hex - 1)) {
        return true;
    }
    if (!hash_sha256(have, token->data, token->len)) {
        return err_set(err, ERR_CRYPTO, "SHA-256 failed");
    }
    *same = memcmp(want, have, sizeof want) == 0;
    return true;
}

/* The text of a token out of the answer. */
static bool take_token(struct buf *out, const struct json_doc *doc, const struct json_node *node,
                       struct err *err)
{
    buf_reset(out);
    if (json_string_get(doc, node, out)) {
        return true;
    }
    return node == NULL || node->type != JSON_STRING || out->len > 0
               ? err_set(err, ERR_INVALID, "the answer lacks a token, or one is too long")
               : err_set(err, ERR_MEMORY, "no memory for a token");
}

static bool check_gpu(struct check *c, const struct json_doc *doc, const struct json_node *tokens,
                      const struct jwt *overall, const struct json_node *submods, size_t index)
{
    char name[GPU_NAME_BYTES];
    struct buf text;
    struct jwt token;
    bool same, ok = false;

    snprintf(name, sizeof name, "GPU-%zu", index);
    buf_init(&text, JWT_BYTES_MAX);
    jwt_init(&token);
    if (!take_token(&text, doc, json_member(doc, tokens, name), c->err) ||
        !digest_is(&overall->claims, json_member(&overall->claims, submods, name), &text, c->err, &same)) {
        goto out;
    }
    ok = same ? jwt_verify(&token, (const char *)text.data, text.len, c->set, c->err) &&
                    check_frame(c, &token) && check_gpu_claims(c, &token)
              : refuse(c, "a GPU's token is not the one that the overall token names");
out:
    if (!ok) {
        err_context(c->err, "%s", name);
    }
    jwt_free(&token);
    buf_free(&text);
    return ok;
}

/* [["JWT",token],{"GPU-0":token,…}] */
static bool check_answer(struct check *c, const struct json_doc *doc, struct jwt *overall, struct buf *text)
{
    const struct json_node *root = json_root(doc);
    const struct json_node *pair =
        root->type == JSON_ARRAY && root->count == 2 ? json_first(doc, root) : NULL;
    const struct json_node *tokens = pair != NULL ? json_next(doc, pair) : NULL;
    if (pair == NULL || pair->type != JSON_ARRAY || pair->count != 2 ||
        !json_string_is(doc, json_first(doc, pair), "JWT") || tokens->type != JSON_OBJECT) {
        return refuse(c, "the answer is no list of tokens");
    }
    if (!take_token(text, doc, json_next(doc, json_first(doc, pair)), c->err) ||
        !jwt_verify(overall, (const char *)text->data, text->len, c->set, c->err) ||
        !check_frame(c, overall)) {
        return false;
    }
    if (!says_true(overall, "x-nvidia-overall-att-result")) {
        return refuse(c, "NVIDIA says that the evidence does not hold");
    }
    const struct json_node *submods = json_present(&overall->claims, json_root(&overall->claims), "submods");
    if (submods == NULL || submods->type != JSON_OBJECT || submods->count != c->gpus ||
        tokens->count != c->gpus) {
        return refuse(c, "the answer is about another number of GPUs");
    }
    for (size_t i = 0; i < c->gpus; i++) {
        if (!check_gpu(c, doc, tokens, overall, submods, i)) {
            return false;
        }
    }
    return true;
}

bool nras_verify(struct nras_result *out, const char *answer, size_t answer_len, const struct jwks *set,
                 const uint8_t nonce[static NRAS_NONCE_BYTES], size_t gpus, int64_t now, struct err *err)
{
    struct err why = {0};
    struct check c = {.set = set, .nonce = nonce, .gpus = gpus, .now = now, .out = out, .err = &why};
    struct json_doc doc;
    struct jwt overall;
    struct buf text;

    *out = (struct nras_result){.gpus = gpus, .revocation_checked = true};
    json_doc_init(&doc);
    jwt_init(&overall);
    buf_init(&text, JWT_BYTES_MAX);
    bool ok = gpus == 0 ? refuse(&c, "there is no GPU to ask for")
              : answer_len > NRAS_ANSWER_BYTES_MAX
                  ? refuse(&c, "the answer is too long")
                  : json_parse(&doc, answer, answer_len, LIMIT_JSON_NODES, &why) &&
                        check_answer(&c, &doc, &overall, &text);
    buf_free(&text);
    jwt_free(&overall);
    json_doc_free(&doc);
    if (!ok) {
        *out = (struct nras_result){0};
        err_set(err, why.kind, "%s", why.message);
    }
    return ok;
}

bool nras_check(struct attest_verdict *v, const struct nras_evidence *evidence,
                const uint8_t nonce[static NRAS_NONCE_BYTES], size_t gpus, bool enforced, struct err *err)
{
    struct nras_result result = {0};
    struct jwks set = {NULL, 0};
    struct err why = {0};

    if (evidence->problem != NULL) {
        verdict_add(v, "gpu.nras", CHECK_NOT_CHECKED, enforced, "NVIDIA's service gave no answer: %s",
                    evidence->problem);
        return true;
    }
    bool ok = jwks_parse(&set, evidence->keys, evidence->keys_len, &why) &&
              nras_verify(&result, evidence->answer, evidence->answer_len, &set, nonce, gpus, v->at, &why);
    jwks_free(&set);
    if (!ok && (why.kind == ERR_MEMORY || why.kind == ERR_CRYPTO || why.kind == ERR_INTERNAL)) {
        return err_set(err, why.kind, "%s", why.message);
    }
    if (!ok) {
        verdict_add(v, "gpu.nras", CHECK_FAIL, enforced, "%s", why.message);
        return true;
    }
    verdict_add(
        v, "gpu.nras", CHECK_PASS, enforced,
        "NVIDIA's service vouches for each of %zu GPUs, in tokens for this nonce that its own key set signs; "
        "that the keys are NVIDIA's, TLS says",
        gpus);
    verdict_add(v, "gpu.measurements", CHECK_PASS, enforced,
                "the good ones, by the word of NVIDIA's service");
    if (result.revocation_checked) {
        verdict_add(v, "gpu.revocation", CHECK_PASS, enforced,
                    "nothing revoked, by the word of NVIDIA's service");
    }
    verdict_limit(v, result.expires);
    return true;
}
