#include "app/verifier.h"

#include <string.h>

#include "base/clock.h"
#include "base/hex.h"
#include "base/log.h"
#include "base/mem.h"
#include "upstream/fetch.h"

#define ATTESTATION_TIMEOUT_S 45 /* captures took up to 9.5 s: docs/PROTOCOL.md section 1 */

struct verifier {
    const struct config *config;
    struct upstream_config *upstream;
    struct attest_policy policy;
    struct attest_root *root;
};

struct verifier *verifier_new(const struct config *config, struct upstream_config *upstream, struct err *err)
{
    struct verifier *v = mem_calloc(1, sizeof *v);
    if (v == NULL) {
        err_set(err, ERR_MEMORY, "no memory for the verifier");
        return NULL;
    }
    v->config = config;
    v->upstream = upstream;
    policy_init(&v->policy);
    if (config->policy != NULL && !policy_load(&v->policy, config->policy, err)) {
        verifier_free(v);
        return NULL;
    }
    return v;
}

void verifier_free(struct verifier *v)
{
    if (v != NULL) {
        policy_free(&v->policy);
        root_free(v->root);
        mem_free(v);
    }
}

void verification_init(struct verification *v)
{
    memset(v, 0, sizeof *v);
    buf_init(&v->body, LIMIT_ATTESTATION_BYTES);
}

void verification_free(struct verification *v)
{
    buf_free(&v->body);
}

static bool fetch_evidence(struct verifier *v, const char *model, struct verification *out, struct err *err)
{
    struct buf path;
    char nonce_hex[2 * ATTEST_NONCE_BYTES + 1];
    int status = 0;
    int64_t retry_after_s = -1;
    if (!hash_random(out->nonce, sizeof out->nonce, err)) {
        return false;
    }
    buf_init(&path, 2048);
    buf_append_str(&path, "/tee/attestation?model=");
    upstream_escape(&path, model);
    buf_appendf(&path, "&nonce=%s", hex_str(nonce_hex, out->nonce, sizeof out->nonce));
    const char *text = buf_cstr(&path);
    bool ok = text != NULL || err_set(err, ERR_MEMORY, "no memory for an attestation's path");
    if (ok) {
        const struct upstream_fetch_request request = {.path = text, .timeout_s = ATTESTATION_TIMEOUT_S};
        ok = upstream_fetch(v->upstream, &request, &out->body, &status, &retry_after_s, err);
    }
    buf_free(&path);
    if (!ok) {
        return err_context(err, "fetching the attestation");
    }
    if (status == 502) {
        /* docs/PROTOCOL.md section 1: the provider found no enclave, or could not verify it itself. */
        return err_set(err, ERR_ATTESTATION,
                       "the provider itself has no verified enclave for this model (status 502)");
    }
    if (status == 429) {
        return err_set(err, ERR_BUSY, "the provider's limit of attestations is spent; try again in a minute");
    }
    if (status != 200) {
        return err_set(err, ERR_UPSTREAM, "the provider answered the attestation request with status %d",
                       status);
    }
    return true;
}

bool verifier_verify(struct verifier *v, const char *model, struct verification *out, struct err *err)
{
    if (!fetch_evidence(v, model, out, err)) {
        return false;
    }
    const struct attest_input input = {.model = model,
                                       .body = (const char *)out->body.data,
                                       .body_len = out->body.len,
                                       .nonce = out->nonce,
                                       .root = v->root,
                                       .unsafe_skip_chain = true};
    return attest_verify(&input, &v->policy, clock_wall_s(), &out->verdict, err);
}

static int64_t fresh_for_ns(const struct attest_verdict *verdict)
{
    int64_t seconds = verdict->not_after == INT64_MAX ? LIMIT_SESSION_S : verdict->not_after - clock_wall_s();
    seconds = seconds < LIMIT_SESSION_S ? seconds : LIMIT_SESSION_S;
    return seconds > 0 ? seconds * CLOCK_NS_PER_S : 0;
}

bool verifier_attest(void *arg, const char *model, struct session_evidence *out, struct err *err)
{
    struct verification *verification = mem_alloc(sizeof *verification);
    if (verification == NULL) {
        return err_set(err, ERR_MEMORY, "no memory for a verdict");
    }
    verification_init(verification);
    const struct attest_verdict *verdict = &verification->verdict;
    bool ok = verifier_verify(arg, model, verification, err);
    if (ok && (!verdict->verified || !verdict->has_point)) {
        ok = attest_error(verdict, err);
    }
    if (ok) {
        memcpy(out->model_point, verdict->point, POINT_BYTES);
        memcpy(out->signing_address, verdict->address, ETH_ADDRESS_BYTES);
        out->fresh_for_ns = fresh_for_ns(verdict);
        ok = out->fresh_for_ns > 0 || err_set(err, ERR_ATTESTATION, "the evidence is past its own freshness");
    }
    verification_free(verification);
    mem_free(verification);
    return ok;
}
