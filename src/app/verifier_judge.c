/* One evidence set before its judge: collateral, floor, stored pins, and what is remembered of it. */
#include <stdio.h>
#include <string.h>

#include "app/verifier_internal.h"
#include "attest/body.h"
#include "attest/pins.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

/* One judgement by the collateral in out->got. */
static bool judge_once(struct verifier *v, struct verification *out, struct attest_input *input,
                       const struct attest_policy *policy, const struct collateral_key *key, int64_t now,
                       bool *try_other, struct err *err)
{
    *try_other = false;
    input->collateral = out->got.origin != COLLATERAL_NONE ? &out->got.collateral : NULL;
    input->collateral_problem = out->got.problem.kind != ERR_NONE ? out->got.problem.message : NULL;
    return (key == NULL || seen_floor(v->seen, key, &input->floor, err)) &&
           attest_verify(input, policy, now, &out->verdict, err) &&
           (key == NULL ||
            collateral_source_judged(v->source, key, &out->got, &out->verdict, try_other, err));
}

/* Whether the set in force refuses for its TCB alone, or is older than the policy demands, and the policy names another
 * set. What Intel revoked stays revoked. */
static bool wants_numbered(const struct attest_verdict *verdict, const struct attest_policy *policy)
{
    const struct verdict_check *status = verdict_find(verdict, "tcb.status");
    uint64_t in_force = verdict->platform.tcb_evaluation;
    if (verdict->verified || policy->min_evaluation == 0 || in_force == 0) {
        return false;
    }
    return in_force < policy->min_evaluation ||
           (in_force > policy->min_evaluation && status != NULL && status->result == CHECK_FAIL &&
            verdict->tcb_status != TCB_NONE && verdict->tcb_status != TCB_REVOKED);
}

/* What the set in force says stands in the verdict, whichever decides. */
static void say_in_force(struct attest_verdict *verdict, const struct attest_verdict *in_force,
                         uint64_t number)
{
    bool mended = true;
    for (size_t i = 0; i < in_force->advisory_count; i++) {
        mended = verdict_advisory(verdict, in_force->advisories[i]) && mended;
    }
    verdict_add(
        verdict, "tcb.numbered", CHECK_PASS, false,
        "WARNING: judged by evaluation %llu, which the policy names; the one in force, %llu, says: %s%s",
        (unsigned long long)number, (unsigned long long)in_force->platform.tcb_evaluation, in_force->reason,
        mended ? "" : " (its advisories are too many to list)");
}

/* The verdict by the set of evaluation min_evaluation, when that one verifies; else out stays, and says why. */
static bool judge_numbered(struct verifier *v, struct verification *out, struct attest_input *input,
                           const struct attest_policy *policy, const struct collateral_key *standard,
                           int64_t now, struct err *err)
{
    struct collateral_key key = *standard;
    struct collateral_got in_force = out->got;
    struct attest_verdict *before = mem_alloc(sizeof *before);
    bool try_other, ok = true;
    if (before == NULL) {
        return err_set(err, ERR_MEMORY, "no memory for a second verdict");
    }
    *before = out->verdict;
    key.evaluation = (uint32_t)policy->min_evaluation;
    collateral_got_init(&out->got);
    collateral_source_get(v->source, &key, now, false, &out->got);
    bool there = out->got.origin != COLLATERAL_NONE;
    if (there) {
        ok = judge_once(v, out, input, policy, &key, now, &try_other, err) &&
             (!try_other || !collateral_source_other(v->source, &key, now, &out->got) ||
              judge_once(v, out, input, policy, &key, now, &try_other, err));
    }
    if (ok && there && out->verdict.verified) {
        say_in_force(&out->verdict, before, policy->min_evaluation);
        collateral_got_free(&in_force);
    } else {
        verdict_add(before, "tcb.numbered", CHECK_FAIL, false, "evaluation %llu, which the policy names: %s",
                    (unsigned long long)policy->min_evaluation,
                    there ? out->verdict.reason : out->got.problem.message);
        collateral_got_free(&out->got);
        out->verdict = *before;
        out->got = in_force;
    }
    mem_free(before);
    return ok;
}

/* So that the keeper can renew this platform type's collateral by itself. */
static void remember(struct verifier *v, const struct verification *out, const struct attest_input *input,
                     const struct collateral_key *key)
{
    struct attest_body body;
    struct err ignored = {0};
    if (v->keeper == NULL || collateral_judge(&out->verdict) != COLLATERAL_AUTHENTIC ||
        collateral_keeper_knows(v->keeper, key)) {
        return;
    }
    body_init(&body);
    if (body_parse(&body, input->body, input->body_len, &ignored)) {
        collateral_keeper_note(v->keeper, key, body.quote.data, body.quote.len);
    }
    body_free(&body);
}

static bool judge(struct verifier *v, const char *model, struct verification *out,
                  const struct attest_policy *policy, const struct attest_policy *stored, struct err *err)
{
    struct attest_input input = {.model = model,
                                 .body = (const char *)out->body.data,
                                 .body_len = out->body.len,
                                 .nonce = out->nonce,
                                 .nras = nras_got_view(&out->nras),
                                 .root = v->root,
                                 .stored_pins = stored->accepted,
                                 .stored_pin_count = stored->accepted_count};
    struct collateral_key key;
    struct err ignored = {0};
    int64_t now = clock_wall_s();
    bool try_other;
    /* A body without a quote that names its platform is refused for that, with or without collateral. */
    bool known = attest_collateral_key(&input, &key, &ignored);
    if (known) {
        int64_t begun = clock_boot_ns();
        collateral_source_get(v->source, &key, now, false, &out->got);
        out->collateral_ns = clock_boot_ns() - begun;
    }
    if (!judge_once(v, out, &input, policy, known ? &key : NULL, now, &try_other, err)) {
        return false;
    }
    if (try_other && collateral_source_other(v->source, &key, now, &out->got) &&
        !judge_once(v, out, &input, policy, &key, now, &try_other, err)) {
        return false;
    }
    if (known) {
        remember(v, out, &input, &key);
    }
    return !known || !wants_numbered(&out->verdict, policy) ||
           judge_numbered(v, out, &input, policy, &key, now, err);
}

bool verifier_judge(struct verifier *v, const char *model, struct verification *out, struct err *err)
{
    struct policy_ref *policy = verifier_policy_get(v);
    struct attest_policy *stored = mem_alloc(sizeof *stored);
    bool ok = false;
    if (stored == NULL) {
        err_set(err, ERR_MEMORY, "no memory for the stored pins");
    } else {
        ok = seen_pins(v->seen, model, stored, err) && judge(v, model, out, &policy->policy, stored, err);
        policy_free(stored);
    }
    mem_free(stored);
    verifier_policy_put(v, policy);
    return ok;
}

/* Stores a pin that refuses no session we have: SIGHUP must not take it for somebody's change. But one that came before it, and
 * was not looked at yet, still is one. */
static bool store_first(struct verifier *v, const char *model, const struct attest_pin *pin, struct err *err)
{
    uint8_t before[SHA256_BYTES], after[SHA256_BYTES];
    struct err ignored; /* a digest that cannot be had only costs new sessions at SIGHUP */
    pthread_mutex_lock(&v->pins_lock);
    bool ours =
        seen_pins_digest(v->seen, before, &ignored) && memcmp(before, v->pins_digest, sizeof before) == 0;
    bool ok = seen_pin(v->seen, model, pin, true, err);
    if (ok && ours && seen_pins_digest(v->seen, after, &ignored)) {
        memcpy(v->pins_digest, after, sizeof after);
    }
    pthread_mutex_unlock(&v->pins_lock);
    return ok;
}

bool verifier_first_use(struct verifier *v, const char *model, struct verification *out, struct err *err)
{
    struct attest_pin seen;
    if (!out->verdict.verified || !out->verdict.pin_new) {
        return true;
    }
    if (!pins_from_verdict(&seen, &out->verdict, model)) {
        return err_set(err, ERR_INTERNAL, "a verified guest whose software cannot be pinned");
    }
    if (!store_first(v, model, &seen, err)) {
        return false;
    }
    log_warn("%s: first use: its software is now the pinned one; see `attest` for what it is", model);
    return true;
}

static void warn_of(const char *model, const struct attest_verdict *verdict)
{
    for (size_t i = 0; verdict->verified && i < verdict->check_count; i++) {
        const struct verdict_check *c = &verdict->checks[i];
        bool stale = strcmp(c->id, "collateral.age") == 0, pins = strcmp(c->id, "pins") == 0;
        if ((c->result == CHECK_FAIL && (stale || pins)) || strncmp(c->detail, "WARNING", 7) == 0) {
            log_warn("%s: %s: %s", model, c->id, c->detail);
        }
    }
}

static struct verifier_outcome *outcome_of(struct verifier *v, const char *model)
{
    for (size_t i = 0; i < v->outcome_count; i++) {
        if (strcmp(v->outcomes[i].model, model) == 0) {
            return &v->outcomes[i];
        }
    }
    return v->outcome_count < VERIFIER_OUTCOMES_MAX ? &v->outcomes[v->outcome_count++] : NULL;
}

static bool passed(const struct attest_verdict *verdict, const char *id)
{
    const struct verdict_check *check = verdict_find(verdict, id);
    return check != NULL && check->result == CHECK_PASS;
}

void verifier_note(struct verifier *v, const char *model, const struct attest_verdict *verdict)
{
    bool gpus = passed(verdict, "gpu.evidence") && passed(verdict, "gpu.devices"), warn = false;
    warn_of(model, verdict);
    pthread_mutex_lock(&v->lock);
    struct verifier_outcome *o = outcome_of(v, model);
    if (o != NULL) {
        bool warned = o->gpus_missed && !gpus;
        warn = verdict->verified && !gpus && !warned;
        memset(o, 0, sizeof *o);
        snprintf(o->model, sizeof o->model, "%s", model);
        o->at_ns = clock_boot_ns();
        o->gpus = gpus;
        o->gpus_missed = warned || warn;
        o->verified = verdict->verified;
        o->tcb_status = verdict->tcb_status;
        o->level = verdict->level;
        o->collateral_expires = verdict->platform.collateral_expires;
        if (!verdict->verified) {
            snprintf(o->check, sizeof o->check, "%.*s", (int)strcspn(verdict->reason, ":"), verdict->reason);
        }
    }
    pthread_mutex_unlock(&v->lock);
    if (warn) {
        log_warn(
            "%s: verified without evidence of GPUs that holds: nothing shows where the model runs (`check = "
            "require` in [gpu] of the policy refuses that)",
            model);
    }
}

void verifier_visit(struct verifier *v, void (*visit)(void *arg, const struct verifier_outcome *outcome),
                    void *arg)
{
    pthread_mutex_lock(&v->lock);
    for (size_t i = 0; i < v->outcome_count; i++) {
        visit(arg, &v->outcomes[i]);
    }
    pthread_mutex_unlock(&v->lock);
}
