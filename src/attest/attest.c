#include "attest/attest.h"

#include <string.h>

#include "attest/binding.h"
#include "attest/body.h"
#include "attest/dstack.h"
#include "attest/intel.h"
#include "attest/nvidia.h"
#include "attest/pins.h"
#include "attest/quote.h"
#include "attest/td.h"

static const char *const after_quote[] = {"td.debug", "td.attributes", "td.service", "td.owner",
                                          "nonce",    "binding",       "freshness"};
static const char *const after_guest[] = {"pins"};

static const char earlier[] = "an earlier step failed";

static bool is_fatal(const struct err *err)
{
    return err->kind == ERR_MEMORY || err->kind == ERR_CRYPTO || err->kind == ERR_INTERNAL;
}

/* Claims that no signature covers: they can only show that the answer is about something else than what was asked. */
static void check_claims(struct attest_verdict *v, const struct attest_body *body, const char *model)
{
    if (!body->has_model) {
        verdict_add(v, "body.model", CHECK_NOT_APPLICABLE, true, "the answer names no model");
    } else if (model == NULL) {
        verdict_add(v, "body.model", CHECK_NOT_CHECKED, false, "which model was asked for is not known");
    } else if (strcmp(body->model, model) != 0) {
        verdict_fail(v, "body.model", "the answer is about another model than the one that was asked for");
    } else {
        verdict_pass(v, "body.model", "the answer is about the model that was asked for");
    }
    if (!body->has_algo) {
        verdict_add(v, "body.algorithm", CHECK_NOT_APPLICABLE, true,
                    "the answer names no algorithm of its key");
    } else if (!body->ecdsa) {
        verdict_fail(v, "body.algorithm", "the answer is about a key of another algorithm than ecdsa");
    } else {
        verdict_pass(v, "body.algorithm", "the key that it is about is one of ecdsa");
    }
}

/* "body" and "body.…". False: *fatal says whether err is the caller's or the verdict refuses. */
static bool check_body(struct attest_verdict *v, struct attest_body *body, const struct attest_input *input,
                       bool *fatal, struct err *err)
{
    struct err why = {0};
    *fatal = false;
    if (input->body == NULL) {
        verdict_add(v, "body", CHECK_NOT_APPLICABLE, true,
                    "a bare quote, without the provider's answer around it");
        return true;
    }
    if (!hash_sha256(v->body_sha256, input->body, input->body_len)) {
        *fatal = true;
        return err_set(err, ERR_CRYPTO, "SHA-256 failed");
    }
    if (!body_parse(body, input->body, input->body_len, &why)) {
        *fatal = is_fatal(&why);
        if (*fatal) {
            return err_set(err, why.kind, "%s", why.message);
        }
        return verdict_fail(v, "body", "%s", why.message);
    }
    memcpy(v->shape, body_shape_name(body->shape), strlen(body_shape_name(body->shape)) + 1);
    verdict_pass(v, "body", "%s shape, %zu key%s, quote of %zu bytes", v->shape, body->key_count,
                 body->key_count == 1 ? "" : "s", body->quote.len);
    if (!body->has_verified) {
        verdict_add(v, "body.verified", CHECK_NOT_APPLICABLE, true,
                    "the provider gives no opinion of its own");
    } else if (body->verified) {
        verdict_pass(v, "body.verified", "the provider says so too (which proves nothing)");
    } else {
        return verdict_fail(v, "body.verified", "the provider itself says that verification failed");
    }
    check_claims(v, body, input->model);
    return true;
}

static bool check_quote_format(struct attest_verdict *v, struct quote *quote, const uint8_t *bytes,
                               size_t len, struct err *err)
{
    struct err why = {0};
    if (!hash_sha256(v->quote_sha256, bytes, len)) {
        return err_set(err, ERR_CRYPTO, "SHA-256 failed");
    }
    if (!quote_parse(quote, bytes, len, &why)) {
        verdict_fail(v, "quote.format", "%s", why.message);
        return true;
    }
    verdict_pass(v, "quote.format", "version %u, TD report %s, %zu bytes and %zu of padding", quote->version,
                 quote->body_type == 3 ? "1.5" : "1.0", quote->used, len - quote->used);
    td_measurements(v, quote);
    return true;
}

/* All that is judged once the quote could be read; what is missing then is said to be not checked. */
static bool check_quote(struct attest_verdict *v, const struct quote *quote, const struct attest_body *body,
                        const struct attest_input *input, const struct attest_policy *policy, struct err *err)
{
    if (!intel_check(v, quote, input, policy, err)) {
        return false;
    }
    /* attestation.md section 1, step 16: before the quote's signature holds, its fields are anybody's words. */
    const struct verdict_check *signature = verdict_find(v, "quote.signature");
    if (signature == NULL || signature->result != CHECK_PASS) {
        return true;
    }
    td_check(v);
    binding_check(v, body, input->nonce);
    binding_freshness(v, body);
    const struct nvidia_terms terms = {.nonce = input->nonce,
                                       .root = root_gpus(input->root),
                                       .nras = input->nras,
                                       .enforced = policy->gpu_enforced,
                                       .required = policy->gpu_required};
    if (!dstack_check(v, body, err) || !nvidia_check(v, body, &terms, err)) {
        return false;
    }
    pins_check(v, policy, input->model, input->stored_pins, input->stored_pin_count);
    return true;
}

bool attest_verify(const struct attest_input *input, const struct attest_policy *policy, int64_t now,
                   struct attest_verdict *verdict, struct err *err)
{
    struct attest_body body;
    struct quote quote;
    bool fatal, ok = false;

    verdict_init(verdict, now);
    body_init(&body);
    if (input->body == NULL && input->quote == NULL) {
        err_set(err, ERR_INVALID, "there is neither an attestation body nor a quote");
        goto out;
    }
    if (!check_body(verdict, &body, input, &fatal, err)) {
        ok = !fatal;
        goto out;
    }
    const uint8_t *bytes = input->body != NULL ? body.quote.data : input->quote;
    size_t len = input->body != NULL ? body.quote.len : input->quote_len;
    if (!check_quote_format(verdict, &quote, bytes, len, err)) {
        goto out;
    }
    ok = !verdict->measurements.present ||
         check_quote(verdict, &quote, input->body != NULL ? &body : NULL, input, policy, err);
out:
    if (ok) {
        if (verdict_find(verdict, "td.debug") == NULL) {
            intel_skip(verdict, true, earlier);
            verdict_skip_rest(verdict, after_quote, sizeof after_quote / sizeof after_quote[0], true,
                              earlier);
            dstack_skip(verdict, earlier);
            nvidia_skip(verdict, policy->gpu_enforced, earlier);
            verdict_skip_rest(verdict, after_guest, sizeof after_guest / sizeof after_guest[0], true,
                              earlier);
        }
        verdict_close(verdict);
    } else {
        verdict_init(verdict, now);
    }
    body_free(&body);
    return ok;
}

bool attest_error(const struct attest_verdict *verdict, struct err *err)
{
    return err_set(err, ERR_ATTESTATION, "attestation refused: %s", verdict->reason);
}

bool attest_collateral_key(const struct attest_input *input, struct collateral_key *out, struct err *err)
{
    struct attest_body body;
    bool ok = false;

    memset(out, 0, sizeof *out);
    if (input->body == NULL) {
        return input->quote != NULL
                   ? collateral_key_of_quote(out, input->quote, input->quote_len, err)
                   : err_set(err, ERR_INVALID, "there is neither an attestation body nor a quote");
    }
    body_init(&body);
    if (body_parse(&body, input->body, input->body_len, err)) {
        ok = collateral_key_of_quote(out, body.quote.data, body.quote.len, err);
    }
    body_free(&body);
    return ok;
}
