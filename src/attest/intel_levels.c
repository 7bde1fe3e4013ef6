/* Steps 11 to 14: what Intel says of this platform's, module's and quoting enclave's level, and what the policy says of
 * that. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "attest/intel_internal.h"

#define POLICY_LINE_BYTES 190 /* policy_parse takes lines of 197 */

/* The levels for one TEE_TCB_SVN. */
struct evaluation {
    const uint8_t *svn;
    const char *which;               /* for messages: which SVN of two this is; "" where there is one */
    const struct tcb_module *module; /* NULL: TEE_TCB_SVN[1] is 0, the module has no level of its own */
    const struct tcb_svn_level *module_level;
    const struct tcb_level *level;
    enum tcb_status status; /* converged with the QE's */
};

static bool check_module_identity(struct intel *w, const struct tcb_module *m, const char *which)
{
    const struct verdict_measurements *q = &w->v->measurements;
    unsigned wrong = 0;
    for (size_t i = 0; i < sizeof m->attributes; i++) {
        wrong |= (q->seam_attributes[i] & m->attributes_mask[i]) ^ m->attributes[i];
        wrong |= q->seam_attributes[i];
    }
    if (memcmp(q->mr_signer_seam, m->mrsigner, sizeof m->mrsigner) != 0) {
        return verdict_fail(w->v, "tdx.module", "the TDX module's signer is not the one that Intel names%s",
                            which);
    }
    return wrong == 0 || verdict_fail(w->v, "tdx.module",
                                      "the TDX module's attributes are not those that Intel names%s", which);
}

/* The platform's level, also in e, or NULL: refused, and the verdict says why. */
static const struct tcb_level *evaluate(struct intel *w, const uint8_t *svn, const char *which,
                                        struct evaluation *e)
{
    enum tcb_status module = TCB_NONE;
    *e = (struct evaluation){.svn = svn, .which = which};
    if (svn[1] > 0) {
        e->module = tcb_info_module(&w->tcb, svn[1]);
        if (e->module == NULL) {
            verdict_fail(w->v, "tdx.module", "Intel's TCB info does not know TDX module version %u%s", svn[1],
                         which);
            return NULL;
        }
        e->module_level = tcb_svn_find(&e->module->levels, svn[0]);
        if (e->module_level == NULL) {
            verdict_fail(w->v, "tdx.module", "no level of Intel's fits SVN %u of TDX module version %u%s",
                         svn[0], svn[1], which);
            return NULL;
        }
        module = e->module_level->status;
    }
    if (!check_module_identity(w, e->module != NULL ? e->module : &w->tcb.base, which)) {
        return NULL;
    }
    e->level = tcb_info_level(&w->tcb, &w->platform, svn);
    if (e->level == NULL) {
        verdict_fail(w->v, "tcb.level",
                     "no TCB level of Intel's fits this platform%s: it is older than all of them", which);
        return NULL;
    }
    e->status = tcb_converge(e->level->status, w->qe_level->status, module);
    return e->level;
}

static bool add_advisories(struct intel *w, const struct json_doc *doc, const struct json_node *list)
{
    for (const struct json_node *n = list != NULL ? json_first(doc, list) : NULL; n != NULL;
         n = json_next(doc, n)) {
        char name[VERDICT_ADVISORY_BYTES];
        if (!json_string_copy(doc, n, name, sizeof name) || !verdict_advisory(w->v, name)) {
            return verdict_fail(w->v, "tcb.level", "Intel's advisories are too many, or oddly named");
        }
    }
    return true;
}

/* Dates are of one shape, so that their order is that of their text. */
static void lower_date(struct attest_verdict *v, const char *date)
{
    if (v->tcb_date[0] == '\0' || strcmp(date, v->tcb_date) < 0) {
        snprintf(v->tcb_date, sizeof v->tcb_date, "%s", date);
    }
}

static bool take_level(struct intel *w, const struct evaluation *e)
{
    lower_date(w->v, e->level->date);
    lower_date(w->v, w->qe_level->date);
    if (e->module_level != NULL) {
        lower_date(w->v, e->module_level->date);
    }
    return add_advisories(w, &w->tcb_json.doc, e->level->advisories) &&
           add_advisories(w, &w->qe_json.doc, w->qe_level->advisories) &&
           (e->module_level == NULL || add_advisories(w, &w->tcb_json.doc, e->module_level->advisories));
}

static void append(char *out, size_t cap, const char *fmt, ...) PRINTF_LIKE(3, 4);

static void append(char *out, size_t cap, const char *fmt, ...)
{
    size_t len = strlen(out);
    va_list args;
    va_start(args, fmt);
    vsnprintf(out + len, cap - len, fmt, args);
    va_end(args);
}

/* Components from first on that are short, neighbours with the same numbers in one phrase. */
static void describe_components(char *out, size_t cap, const char *kind, const uint8_t *have,
                                const uint8_t *need, unsigned first)
{
    for (unsigned i = first; i < SGX_COMPONENTS; i++) {
        unsigned last = i;
        if (have[i] >= need[i]) {
            continue;
        }
        while (last + 1 < SGX_COMPONENTS && have[last + 1] == have[i] && need[last + 1] == need[i]) {
            last++;
        }
        if (last > i) {
            append(out, cap, "%s components %u to %u are %u, need %u; ", kind, i, last, have[i], need[i]);
        } else {
            append(out, cap, "%s component %u is %u, needs %u; ", kind, i, have[i], need[i]);
        }
        i = last;
    }
}

/* Which components are short of the newest level that Intel calls up to date, and by how much. */
static void describe_short(const struct intel *w, const struct evaluation *e, char *out, size_t cap)
{
    const struct tcb_level *goal = &w->tcb.level[0];
    for (size_t i = 0; i < w->tcb.level_count; i++) {
        if (w->tcb.level[i].status == TCB_UP_TO_DATE || w->tcb.level[i].status == TCB_SW_HARDENING_NEEDED) {
            goal = &w->tcb.level[i];
            break;
        }
    }
    out[0] = '\0';
    if (w->platform.pcesvn < goal->pcesvn) {
        append(out, cap, "PCE SVN is %u, needs %u; ", w->platform.pcesvn, goal->pcesvn);
    }
    if (e->module != NULL && e->svn[0] < e->module->levels.level[0].isvsvn) {
        append(out, cap, "TDX module %u has SVN %u, needs %u; ", e->svn[1], e->svn[0],
               e->module->levels.level[0].isvsvn);
    }
    if (w->qe_level != &w->qe.levels.level[0]) {
        append(out, cap, "the quoting enclave's SVN needs %u; ", w->qe.levels.level[0].isvsvn);
    }
    describe_components(out, cap, "SGX", w->platform.component, goal->sgx, 0);
    describe_components(out, cap, "TDX", e->svn, goal->tdx, e->svn[1] == 0 ? 0 : 2);
    if (strlen(out) + 1 == cap) {
        memcpy(out + cap - 8, " ...; ", 7); /* many, all different: the first ones tell enough */
    }
}

static bool all_advisories_allowed(const struct attest_verdict *v, const struct attest_policy *policy)
{
    for (size_t i = 0; i < v->advisory_count; i++) {
        bool found = false;
        for (size_t k = 0; !found && k < policy->advisory_count; k++) {
            found = strcmp(v->advisories[i], policy->advisories[k]) == 0;
        }
        if (!found) {
            return false;
        }
    }
    return v->advisory_count > 0;
}

/* Relaunch advice is OutOfDate with good news (attestation.md section 1, step 14). */
static unsigned accepted_as(enum tcb_status status)
{
    unsigned bits = TCB_BIT(status);
    if (status == TCB_TD_RELAUNCH_ADVISED) {
        bits |= TCB_BIT(TCB_OUT_OF_DATE);
    } else if (status == TCB_TD_RELAUNCH_ADVISED_CONFIGURATION_NEEDED) {
        bits |= TCB_BIT(TCB_OUT_OF_DATE_CONFIGURATION_NEEDED);
    }
    return bits;
}

/* The one line that accepts this: the advisories by name where they fit on a line of a policy, else the status. */
static void policy_line(const struct attest_verdict *v, enum tcb_status status, char *out, size_t cap)
{
    out[0] = '\0';
    append(out, cap, "allow_advisories = ");
    for (size_t i = 0; i < v->advisory_count; i++) {
        append(out, cap, "%s%s", i > 0 ? ", " : "", v->advisories[i]);
    }
    if (v->advisory_count == 0 || strlen(out) + 1 == cap) {
        snprintf(out, cap, "accept = %s", tcb_status_name(status));
    }
}

/* The line comes before the details: a client's error message may be cut behind it. */
static void refuse_status(struct intel *w, const struct evaluation *e, enum tcb_status status)
{
    bool relaunch =
        status == TCB_TD_RELAUNCH_ADVISED || status == TCB_TD_RELAUNCH_ADVISED_CONFIGURATION_NEEDED;
    char missing[320], line[POLICY_LINE_BYTES];
    describe_short(w, e, missing, sizeof missing);
    policy_line(w->v, status, line, sizeof line);
    verdict_fail(
        w->v, "tcb.status",
        "Intel rates it %s (TCB of %.10s), %zu advisories; the policy line `%s` in [tcb] accepts it%s%s%s",
        tcb_status_name(status), w->v->tcb_date, w->v->advisory_count, line,
        relaunch ? "; the host is mended, the guest must be relaunched" : "", missing[0] != '\0' ? ": " : "",
        missing);
}

static bool check_status(struct intel *w, const struct evaluation *e, enum tcb_status status)
{
    if (status == TCB_REVOKED) {
        return verdict_fail(w->v, "tcb.status", "Intel has revoked this TCB%s, and no policy accepts that",
                            e->which);
    }
    if (w->policy->accept & accepted_as(status)) {
        return verdict_pass(w->v, "tcb.status",
                            status == TCB_UP_TO_DATE ? "Intel rates it %s (TCB of %.10s)"
                                                     : "WARNING: accepted though Intel rates it %s "
                                                       "(TCB of %.10s)",
                            tcb_status_name(status), w->v->tcb_date);
    }
    if (all_advisories_allowed(w->v, w->policy)) {
        return verdict_pass(w->v, "tcb.status",
                            "WARNING: Intel rates it %s (TCB of %.10s); the policy allows all %zu advisories",
                            tcb_status_name(status), w->v->tcb_date, w->v->advisory_count);
    }
    refuse_status(w, e, status);
    return false;
}

bool intel_levels(struct intel *w)
{
    struct attest_verdict *v = w->v;
    struct evaluation launch, current = {.status = TCB_NONE};
    enum tcb_status status;

    const bool two = v->measurements.has_td15;
    const struct tcb_level *level =
        evaluate(w, v->measurements.tee_tcb_svn, two ? " (TEE_TCB_SVN, at launch)" : "", &launch);
    if (level == NULL) {
        return false;
    }
    status = launch.status;
    v->platform.platform = level->status;
    v->platform.module = launch.module_level != NULL ? launch.module_level->status : TCB_NONE;
    if (two) {
        if (evaluate(w, v->measurements.tee_tcb_svn2, " (TEE_TCB_SVN2, running now)", &current) == NULL) {
            return false;
        }
        v->platform.current = current.status;
        if (current.status == TCB_REVOKED) {
            status =
                TCB_REVOKED; /* Intel's library leaves the launch status standing; nothing revoked passes here */
        } else {
            status = tcb_relaunch(launch.status, current.status);
        }
    }
    if (!take_level(w, &launch)) {
        return false;
    }
    if (launch.module != NULL) {
        verdict_pass(v, "tdx.module", "TDX module %u, SVN %u: %s", launch.svn[1], launch.svn[0],
                     tcb_status_name(launch.module_level->status));
    } else {
        verdict_pass(v, "tdx.module", "a TDX 1.0 module, judged with the platform");
    }
    verdict_pass(v, "tcb.level", "platform %s, quoting enclave %s", tcb_status_name(launch.level->status),
                 tcb_status_name(w->qe_level->status));
    v->quote_verified = true;
    v->tcb_status = status;
    bool by_current = current.status == TCB_REVOKED && launch.status != TCB_REVOKED;
    return check_status(w, by_current ? &current : &launch, status);
}
