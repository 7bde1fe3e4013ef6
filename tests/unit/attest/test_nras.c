/* What NVIDIA's service says: a captured answer for Venice's eight GPUs, and answers of a service of our own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "attest/nras.h"
#include "base/mem.h"
#include "fault.h"
#include "pki/nras.h"
#include "vectors.h"

#define NOW 1790000000
#define VENICE_NONCE "d2f37ab51f93f80365506fcc09119b28bd9c521be89ba25e3aa439912bbba732"
#define VENICE_AT 1781056027

static struct pki_nras *service;

static int setup(void **state)
{
    (void)state;
    service = pki_nras_new();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    pki_nras_free(service);
    return 0;
}

static void captured(void **state)
{
    static const struct {
        int64_t at;
        size_t gpus;
        enum err_kind kind;
        bool flip;
    } cases[] = {{VENICE_AT, 8, ERR_NONE, false},
                 {1781059591, 8, ERR_NONE, false},
                 {1781059592, 8, ERR_EXPIRED, false},
                 {1781055992 - NRAS_SKEW_S, 8, ERR_NONE, false},
                 {1781055991 - NRAS_SKEW_S, 8, ERR_EXPIRED, false},
                 {VENICE_AT, 7, ERR_INVALID, false},
                 {VENICE_AT, 9, ERR_INVALID, false},
                 {VENICE_AT, 0, ERR_INVALID, false},
                 {VENICE_AT, 8, ERR_INVALID, true}};
    char dir[1100];
    struct buf answer, keys;
    struct jwks set;
    struct err err = {0};
    uint8_t nonce[NRAS_NONCE_BYTES];
    (void)state;
    if (vectors_shared() == NULL) {
        print_message("shared/vectors is not there: NVIDIA's captured answer skipped\n");
        skip();
    }
    snprintf(dir, sizeof dir, "%s/nvidia/venice-20260610", vectors_shared());
    assert_true(vectors_read(&answer, dir, "nras_v3_response.json"));
    assert_true(vectors_read(&keys, dir, "nras_jwks.json"));
    assert_true(hex_decode(nonce, VENICE_NONCE, 64));
    if (!jwks_parse(&set, (const char *)keys.data, keys.len, &err)) {
        fail_msg("%s", err.message);
    }
    assert_int_equal(set.count, 36);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct nras_result result;
        err = (struct err){0};
        nonce[5] ^= cases[i].flip;
        bool ok = nras_verify(&result, (const char *)answer.data, answer.len, &set, nonce, cases[i].gpus,
                              cases[i].at, &err);
        nonce[5] ^= cases[i].flip;
        if (ok != (cases[i].kind == ERR_NONE) || err.kind != cases[i].kind) {
            fail_msg("case %zu: %s", i, err.message);
        }
        assert_int_equal(result.expires, ok ? 1781059592 : 0);
        assert_int_equal(result.gpus, ok ? 8 : 0);
        assert_false(result.revocation_checked); /* tokens of that time do not say */
    }
    /* Any byte of any token. */
    for (size_t i = 40; i < answer.len; i += 97) {
        struct nras_result result;
        answer.data[i] ^= 1;
        assert_false(
            nras_verify(&result, (const char *)answer.data, answer.len, &set, nonce, 8, VENICE_AT, &err));
        answer.data[i] ^= 1;
    }
    jwks_free(&set);
    buf_free(&answer);
    buf_free(&keys);
}

static void judge(struct attest_verdict *v, const struct pki_nras_spec *spec, size_t gpus)
{
    struct pki_nras_spec full = *spec;
    struct err err = {0};
    full.gpus = 3;
    full.now = NOW;
    struct pki_bytes answer = pki_nras_answer(service, &full), keys = pki_nras_keys(service);
    const struct nras_evidence said = {.answer = (const char *)answer.data,
                                       .answer_len = answer.len,
                                       .keys = (const char *)keys.data,
                                       .keys_len = keys.len};
    verdict_init(v, NOW);
    if (!nras_check(v, &said, spec->nonce, gpus, true, &err)) {
        fail_msg("%s", err.message);
    }
    verdict_close(v);
    pki_bytes_free(&answer);
    pki_bytes_free(&keys);
}

static void made(void **state)
{
    static const struct {
        const char *words; /* of the refusal; NULL: verified */
        struct pki_nras_spec spec;
    } cases[] = {
        {NULL, {.ocsp = false}},
        {NULL, {.ocsp = true}},
        {"evidence does not hold", {.overall_false = true}},
        {"another nonce", {.another_nonce = true}},
        {"not issued", {.another_issuer = true}},
        {"valid from", {.expired = true}},
        {"valid from", {.future = true}},
        {"signature does not hold", {.another_key = true}},
        {"not in the set", {.unknown_key = true}},
        {"ES384", {.alg_none = true}},
        {"ES384", {.alg_es256 = true}},
        {"extensions", {.crit = true}},
        {"another number", {.fewer = true}},
        {"GPU-2: a GPU's token is not the one", {.another_digest = true}},
        {"GPU-2: a token was made for another nonce", {.gpu_nonce = true}},
        {"GPU-2: NVIDIA says that a GPU's measurements", {.gpu_measres = true}},
        {"debugging", {.gpu_debug = true}},
        {"debugging", {.gpu_secboot = true}},
        {"GPU-2: a token is not issued", {.gpu_issuer = true}},
        {"certificate is not good", {.ocsp_revoked = true}},
        {"claims", {.duplicate_claim = true}},
    };
    struct attest_verdict *v = mem_alloc(sizeof *v);
    (void)state;
    assert_non_null(v);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        judge(v, &cases[i].spec, 3);
        const struct verdict_check *c = verdict_find(v, "gpu.nras");
        assert_non_null(c);
        if (cases[i].words == NULL ? !v->verified
                                   : v->verified || strstr(c->detail, cases[i].words) == NULL) {
            fail_msg("case %zu: %s %s", i, verdict_result_name(c->result), c->detail);
        }
        /* Golden measurements and revocation pass by the service's word alone, or are not spoken of here. */
        assert_int_equal(verdict_find(v, "gpu.measurements") != NULL, v->verified);
        assert_int_equal(verdict_find(v, "gpu.revocation") != NULL, v->verified && cases[i].spec.ocsp);
        assert_int_equal(v->not_after == NOW + 3600, v->verified);
    }
    judge(v, &cases[0].spec, 2);
    assert_false(v->verified);
    struct err err = {0};
    verdict_init(v, NOW);
    assert_true(nras_check(v, &(struct nras_evidence){.problem = "nobody there"}, cases[0].spec.nonce, 3,
                           true, &err));
    assert_int_equal(verdict_find(v, "gpu.nras")->result, CHECK_NOT_CHECKED);
    mem_free(v);
}

static void key_sets(void **state)
{
    static const char *const wrong[] = {
        "",
        "[]",
        "{}",
        "{\"keys\":[]}",
        "{\"keys\":[1]}",
        "{\"keys\":{}}",
        "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-384\"}]}",
        ("{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-384\",\"kid\":\"a\",\"x\":\"AAAA\","
         "\"y\":\"AAAA\"}]}")};
    struct jwks set;
    struct err err = {0};
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_false(jwks_parse(&set, wrong[i], strlen(wrong[i]), &err));
        assert_int_equal(err.kind, ERR_INVALID);
        assert_null(set.keys);
    }
    struct pki_bytes keys = pki_nras_keys(service);
    assert_true(jwks_parse(&set, (const char *)keys.data, keys.len, &err));
    assert_int_equal(set.count, 2);
    jwks_free(&set);
    char *second = strstr((char *)keys.data, "made-1");
    second[5] = '0';
    assert_false(jwks_parse(&set, (const char *)keys.data, keys.len, &err));
    pki_bytes_free(&keys);
}

/* A token is three parts and nothing else: no padding, no other alphabet, nothing behind. */
static void token_forms(void **state)
{
    struct pki_nras_spec spec = {.gpus = 1, .now = NOW};
    struct pki_bytes answer = pki_nras_answer(service, &spec), keys = pki_nras_keys(service);
    struct err err = {0};
    struct jwks set;
    struct jwt jwt;
    char text[8192];
    (void)state;
    assert_true(jwks_parse(&set, (const char *)keys.data, keys.len, &err));
    const char *start = (const char *)answer.data + strlen("[[\"JWT\",\"");
    size_t len = strcspn(start, "\"");
    jwt_init(&jwt);
    assert_true(jwt_verify(&jwt, start, len, &set, &err));
    assert_true(jwt.claims.count > 0);
    static const char *const behind[] = {"=", ".", ".AAAA", " ", "\n", "A"};
    for (size_t i = 0; i < sizeof behind / sizeof behind[0]; i++) {
        int n = snprintf(text, sizeof text, "%.*s%s", (int)len, start, behind[i]);
        assert_false(jwt_verify(&jwt, text, (size_t)n, &set, &err));
        assert_int_equal(jwt.claims.count, 0);
        assert_int_equal(jwt.text.len, 0);
    }
    for (size_t cut = 0; cut < len; cut += 13) {
        assert_false(jwt_verify(&jwt, start, cut, &set, &err));
        assert_int_equal(err.kind, ERR_INVALID);
    }
    jwt_free(&jwt);
    jwks_free(&set);
    pki_bytes_free(&answer);
    pki_bytes_free(&keys);
}

static void allocations(void **state)
{
    struct pki_nras_spec spec = {.gpus = 2, .now = NOW};
    struct pki_bytes answer = pki_nras_answer(service, &spec), keys = pki_nras_keys(service);
    size_t n;
    (void)state;
    for (n = 1;; n++) {
        struct nras_result result = {0};
        struct err err = {0};
        struct jwks set;
        fault_alloc_at(n);
        bool ok = jwks_parse(&set, (const char *)keys.data, keys.len, &err) &&
                  nras_verify(&result, (const char *)answer.data, answer.len, &set, spec.nonce, 2, NOW, &err);
        bool hit = fault_alloc_hit();
        fault_alloc_at(0);
        jwks_free(&set);
        if (!hit) {
            assert_true(ok);
            break;
        }
        assert_false(ok);
        assert_int_equal(err.kind, ERR_MEMORY);
        assert_int_equal(result.gpus, 0);
    }
    assert_true(n > 5);
    pki_bytes_free(&answer);
    pki_bytes_free(&keys);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(captured),    cmocka_unit_test(made),        cmocka_unit_test(key_sets),
        cmocka_unit_test(token_forms), cmocka_unit_test(allocations),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
