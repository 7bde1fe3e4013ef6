#include "app/verifier.h"

#include <limits.h>
#include <string.h>

#include "app/evidence.h"
#include "app/metrics.h"
#include "app/verifier_internal.h"
#include "attest/pins.h"
#include "base/clock.h"
#include "base/hex.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "upstream/fetch.h"

#define LIMITED_S 60             /* a 429 without Retry-After: the budget is one of a minute */
#define ATTESTATION_TIMEOUT_S 45 /* captures took up to 9.5 s: docs/PROTOCOL.md section 1 */

static struct attest_root *load_root(const char *path, struct err *err)
{
    struct buf text;
    if (path == NULL) {
        return root_intel(err);
    }
    buf_init(&text, 65536);
    struct attest_root *root = text_read_file(&text, path, err) ? root_parse(text.data, text.len, err) : NULL;
    buf_free(&text);
    if (root == NULL) {
        err_context(err, "--unsafe-attestation-root");
    }
    return root;
}

static struct policy_ref *load_policy(const char *path, struct err *err)
{
    struct policy_ref *ref = mem_calloc(1, sizeof *ref);
    if (ref == NULL) {
        err_set(err, ERR_MEMORY, "no memory for the attestation policy");
        return NULL;
    }
    ref->refs = 1;
    policy_init(&ref->policy);
    if (path != NULL && !policy_load(&ref->policy, path, err)) {
        policy_free(&ref->policy);
        mem_free(ref);
        ref = NULL;
    }
    return ref;
}

static void policy_drop(struct policy_ref *ref)
{
    if (ref != NULL) {
        policy_free(&ref->policy);
        mem_free(ref);
    }
}

struct policy_ref *verifier_policy_get(struct verifier *v)
{
    pthread_mutex_lock(&v->lock);
    struct policy_ref *ref = v->policy;
    ref->refs++;
    pthread_mutex_unlock(&v->lock);
    return ref;
}

void verifier_policy_put(struct verifier *v, struct policy_ref *ref)
{
    pthread_mutex_lock(&v->lock);
    bool last = ref != NULL && --ref->refs == 0;
    pthread_mutex_unlock(&v->lock);
    if (last) {
        policy_drop(ref);
    }
}

static void count_fetch(bool ok)
{
    metrics_add(METRIC_COLLATERAL_FETCHES, 1);
    metrics_add(METRIC_COLLATERAL_FAILURES, !ok);
}

static struct quota *open_quota(const struct seen *seen, struct err *err)
{
    char path[PATH_MAX];
    seen_shared_path(seen, path, "sent-attestations");
    return quota_new(path, LIMIT_ATTESTATIONS_PER_MIN, 60 * CLOCK_NS_PER_S, err);
}

struct verifier *verifier_new(const struct config *config, struct upstream_config *upstream, struct err *err)
{
    struct verifier *v = mem_calloc(1, sizeof *v);
    if (v == NULL) {
        err_set(err, ERR_MEMORY, "no memory for the verifier");
        return NULL;
    }
    v->config = config;
    v->upstream = upstream;
    pthread_mutex_init(&v->lock, NULL);
    pthread_mutex_init(&v->pins_lock, NULL);
    v->policy = load_policy(config->policy, err);
    v->root = v->policy != NULL ? load_root(config->unsafe_attestation_root, err) : NULL;
    v->seen = v->root != NULL ? seen_open(config->state_dir, v->root, err) : NULL;
    const struct collateral_source_options options = {.where = config->collateral,
                                                      .unsafe_http = config->unsafe_http_upstream,
                                                      .seen = v->seen,
                                                      .on_fetch = count_fetch};
    v->source = v->seen != NULL ? collateral_source_new(&options, err) : NULL;
    if (v->source != NULL && config->nras) {
        v->nras = nras_fetch_new(config->nras_url, config->unsafe_http_upstream, err);
    }
    if (v->source != NULL) {
        v->quota = open_quota(v->seen, err);
    }
    if (v->quota == NULL || (config->nras && v->nras == NULL) ||
        !seen_pins_digest(v->seen, v->pins_digest, err)) {
        verifier_free(v);
        return NULL;
    }
    return v;
}

void verifier_free(struct verifier *v)
{
    if (v != NULL) {
        collateral_keeper_free(v->keeper);
        verifier_policy_put(v, v->policy);
        collateral_source_free(v->source);
        nras_fetch_free(v->nras);
        quota_free(v->quota);
        seen_close(v->seen);
        root_free(v->root);
        pthread_mutex_destroy(&v->lock);
        pthread_mutex_destroy(&v->pins_lock);
        mem_free(v);
    }
}

bool verifier_start(struct verifier *v, struct err *err)
{
    if (!collateral_source_online(v->source)) {
        return true;
    }
    const struct collateral_keeper_options options = {
        .source = v->source, .seen = v->seen, .root = v->root, .thread = true};
    v->keeper = collateral_keeper_new(&options, err);
    return v->keeper != NULL;
}

void verifier_abort(struct verifier *v)
{
    if (v != NULL) {
        collateral_source_abort(v->source);
        nras_fetch_abort(v->nras);
    }
}

const char *verifier_quota_file(const struct verifier *v)
{
    return quota_path(v->quota);
}

const char *verifier_folder(const struct verifier *v)
{
    return seen_folder(v->seen);
}

void verifier_announce(struct verifier *v)
{
    static const char *const pins[] = {
        ("first-use: the first verified software of each model is stored, others "
         "are refused until `attest MODEL --pin`"),
        "policy: only what the policy file lists", "warn: changed software is said and passes", "off"};
    struct policy_ref *ref = verifier_policy_get(v);
    log_info("attestation: to %s, collateral from %s, pins = %s%s",
             root_is_intel(v->root) ? "Intel's root" : "ANOTHER ROOT THAN INTEL'S",
             collateral_source_name(v->source), pins[ref->policy.pins],
             v->nras != NULL ? "; NVIDIA's service is asked about GPUs" : "");
    verifier_policy_put(v, ref);
}

/* Whether somebody else has changed the stored pins; what they are now counts from here on. */
static bool pins_changed(struct verifier *v, bool *changed, struct err *err)
{
    uint8_t now[SHA256_BYTES];
    pthread_mutex_lock(&v->pins_lock);
    bool ok = seen_pins_digest(v->seen, now, err);
    *changed = ok && memcmp(now, v->pins_digest, sizeof now) != 0;
    if (ok) {
        memcpy(v->pins_digest, now, sizeof now);
    }
    pthread_mutex_unlock(&v->pins_lock);
    return ok;
}

bool verifier_reload(struct verifier *v, bool *changed, struct err *err)
{
    uint8_t before[SHA256_BYTES], after[SHA256_BYTES];
    bool pins;
    *changed = false;
    struct policy_ref *fresh = load_policy(v->config->policy, err), *old = verifier_policy_get(v);
    if (fresh == NULL || !pins_changed(v, &pins, err)) {
        policy_drop(fresh);
        verifier_policy_put(v, old);
        return false;
    }
    *changed = !policy_digest(&old->policy, before) || !policy_digest(&fresh->policy, after) ||
               memcmp(before, after, sizeof before) != 0 || pins;
    pthread_mutex_lock(&v->lock);
    v->policy = fresh;
    pthread_mutex_unlock(&v->lock);
    verifier_policy_put(v, old); /* the verifier's own reference */
    verifier_policy_put(v, old);
    return true;
}

void verification_init(struct verification *v)
{
    memset(v, 0, sizeof *v);
    buf_init(&v->body, LIMIT_ATTESTATION_BYTES);
    collateral_got_init(&v->got);
    nras_got_init(&v->nras);
}

void verification_free(struct verification *v)
{
    buf_free(&v->body);
    collateral_got_free(&v->got);
    nras_got_free(&v->nras);
}

/* One of the minute's requests, of this process and its like. */
static bool take_quota(struct verifier *v, struct err *err)
{
    int64_t wait_ns = quota_take(v->quota), wait_s = (wait_ns + CLOCK_NS_PER_S - 1) / CLOCK_NS_PER_S;
    if (wait_ns == 0) {
        return true;
    }
    err_set(err, ERR_BUSY,
            "%d attestations in a minute are the provider's limit; the next can be made in %lld s",
            LIMIT_ATTESTATIONS_PER_MIN, (long long)wait_s);
    return err_retry_after(err, wait_s);
}

static bool fetch_evidence(struct verifier *v, const char *model, struct verification *out, struct err *err)
{
    struct buf path;
    char nonce_hex[2 * ATTEST_NONCE_BYTES + 1];
    int status = 0;
    int64_t retry_after_s = -1;
    if (!take_quota(v, err) || !hash_random(out->nonce, sizeof out->nonce, err)) {
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
        err_set(err, ERR_BUSY, "the provider's limit of attestations is spent; try again in a minute");
        return err_retry_after(err, retry_after_s > 0 ? retry_after_s : LIMITED_S);
    }
    if (status != 200) {
        err_set(err, ERR_UPSTREAM, "the provider answered the attestation request with status %d", status);
        return err_retry_after(err, retry_after_s);
    }
    return out->body.len > 0 || err_set(err, ERR_ATTESTATION, "the provider's attestation is empty");
}

/* [attestation] evidence_dir: a disk that is full ends no session. */
static void keep(const struct verifier *v, const char *model, const struct verification *out)
{
    struct err err = {0};
    if (v->config->evidence_dir != NULL && !evidence_keep(v->config->evidence_dir, model, out, &err)) {
        log_error("%s: its evidence is not kept: %s", model, err.message);
    }
}

static const char *const origins[] = {"missing", "from a file", "cached", "fetched"};

bool verifier_verify(struct verifier *v, const char *model, struct verification *out, struct err *err)
{
    int64_t begun = clock_boot_ns();
    if (!fetch_evidence(v, model, out, err)) {
        return false;
    }
    if (v->nras != NULL) {
        nras_fetch(v->nras, &out->body, &out->nras);
    }
    int64_t fetched = clock_boot_ns();
    if (!verifier_judge(v, model, out, err)) {
        return false;
    }
    log_debug("%s: evidence in %lld us, collateral %s in %lld us, judged in %lld us", model,
              (long long)((fetched - begun) / 1000), origins[out->got.origin],
              (long long)(out->collateral_ns / 1000),
              (long long)((clock_boot_ns() - fetched - out->collateral_ns) / 1000));
    verifier_note(v, model, &out->verdict);
    keep(v, model, out);
    return verifier_first_use(v, model, out, err);
}

/* Whether the pins alone stand against it. */
static bool only_pins_refuse(const struct attest_verdict *verdict)
{
    for (size_t i = 0; i < verdict->check_count; i++) {
        const struct verdict_check *c = &verdict->checks[i];
        bool refuses = c->enforced && (c->result == CHECK_FAIL || c->result == CHECK_NOT_CHECKED);
        if (refuses && strcmp(c->id, "pins") != 0) {
            return false;
        }
    }
    return true;
}

bool verifier_pin(struct verifier *v, const char *model, struct verification *out, struct err *err)
{
    struct attest_pin seen;
    if (!only_pins_refuse(&out->verdict) || !pins_from_verdict(&seen, &out->verdict, model)) {
        return err_set(err, ERR_ATTESTATION, "nothing is pinned: %s", out->verdict.reason);
    }
    return seen_pin(v->seen, model, &seen, false, err) && verifier_judge(v, model, out, err);
}

static bool is_of_the_network(const struct err *problem)
{
    return problem->kind == ERR_UNREACHABLE || problem->kind == ERR_TIMEOUT ||
           problem->kind == ERR_UPSTREAM || problem->kind == ERR_CANCELLED;
}

/* A refusal as an error; where there is no collateral, or no word of NVIDIA's, because of the network, that is what can be
 * mended. */
static bool refuse(const struct verification *verification, struct err *err)
{
    const struct {
        const char *check;
        const struct err *problem;
    } fetched[] = {{"collateral:", &verification->got.problem}, {"gpu.nras:", &verification->nras.problem}};
    attest_error(&verification->verdict, err);
    for (size_t i = 0; i < sizeof fetched / sizeof fetched[0]; i++) {
        if (is_of_the_network(fetched[i].problem) &&
            strncmp(verification->verdict.reason, fetched[i].check, strlen(fetched[i].check)) == 0 &&
            (i > 0 || verification->got.origin == COLLATERAL_NONE)) {
            err->kind = fetched[i].problem->kind;
        }
    }
    return false;
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
        ok = refuse(verification, err);
    }
    if (ok) {
        memcpy(out->model_point, verdict->point, POINT_BYTES);
        memcpy(out->signing_address, verdict->address, ETH_ADDRESS_BYTES);
        out->fresh_for_ns = fresh_for_ns(verdict);
        ok = out->fresh_for_ns > 0 ||
             err_set(err, ERR_ATTESTATION,
                     "the evidence, or the collateral it was judged by, has come to its end");
    }
    verification_free(verification);
    mem_free(verification);
    return ok;
}
