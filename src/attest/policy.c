#include "attest/policy.h"

#include <string.h>

#include "attest/pins.h"
#include "base/mem.h"

static const struct {
    enum policy_pins mode;
    const char *name, *meaning;
} modes[] = {
    {POLICY_PINS_FIRST_USE, "first-use",
     "the first verified software of a model is kept, another one is refused"},
    {POLICY_PINS_POLICY, "policy", "only the software listed below is accepted"},
    {POLICY_PINS_WARN, "warn", "other software passes, loudly"},
    {POLICY_PINS_OFF, "off", "not judged"},
};

void policy_init(struct attest_policy *p)
{
    memset(p, 0, sizeof *p);
    p->accept = TCB_BIT(TCB_UP_TO_DATE) | TCB_BIT(TCB_SW_HARDENING_NEEDED);
    p->pins = POLICY_PINS_FIRST_USE;
    p->gpu_enforced = true;
}

void policy_free(struct attest_policy *p)
{
    mem_free(p->accepted);
    mem_free(p->source);
    policy_init(p);
}

/* On a line of its own: inih keeps comments behind a continued list. */
static void show_origin(struct buf *out, const struct attest_policy *p, enum policy_setting setting)
{
    if (p->lines[setting] > 0) {
        buf_appendf(out, "; %s, line %d:\n", p->source, p->lines[setting]);
    } else {
        buf_append_str(out, "; built in:\n");
    }
}

static const char *mode_meaning(enum policy_pins mode, const char **name)
{
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        if (modes[i].mode == mode) {
            *name = modes[i].name;
            return modes[i].meaning;
        }
    }
    *name = "off";
    return "not judged";
}

static void show_tcb(struct buf *out, const struct attest_policy *p)
{
    buf_append_str(out, "[tcb]\n");
    show_origin(out, p, POLICY_SET_ACCEPT);
    buf_append_str(out, "accept = ");
    for (unsigned i = TCB_NONE + 1, n = 0; i < TCB_STATUS_COUNT; i++) {
        if (p->accept & TCB_BIT(i)) {
            buf_appendf(out, "%s%s", n++ > 0 ? ", " : "", tcb_status_name((enum tcb_status)i));
        }
    }
    buf_append_byte(out, '\n');
    show_origin(out, p, POLICY_SET_MIN_EVALUATION);
    buf_appendf(out, "min_evaluation = %llu\n", (unsigned long long)p->min_evaluation);
    show_origin(out, p, POLICY_SET_ADVISORIES);
    buf_append_str(out, p->advisory_count > 0 ? "allow_advisories = " : "; allow_advisories: none");
    for (size_t i = 0; i < p->advisory_count; i++) {
        buf_appendf(out, "%s%s", i > 0 ? ",\n  " : "", p->advisories[i]);
    }
    buf_append_byte(out, '\n');
    show_origin(out, p, POLICY_SET_ALLOW_STALE);
    buf_appendf(out, "allow_stale = %lld\n", (long long)p->allow_stale_s);
}

/* The output is itself a policy file. */
bool policy_show(const struct attest_policy *p, struct buf *out, struct err *err)
{
    const char *name, *meaning = mode_meaning(p->pins, &name);

    buf_free(out);
    buf_init(out, POLICY_FILE_BYTES);
    show_tcb(out, p);
    buf_appendf(out, "\n[pins]\n; %s\n", meaning);
    show_origin(out, p, POLICY_SET_PINS);
    buf_appendf(out, "mode = %s\n\n[gpu]\n", name);
    show_origin(out, p, POLICY_SET_GPU);
    buf_appendf(out, "check = %s\n", p->gpu_required ? "require" : p->gpu_enforced ? "enforce" : "report");
    for (size_t i = 0; i < p->accepted_count; i++) {
        buf_append_byte(out, '\n');
        pins_write(out, &p->accepted[i]);
    }
    buf_append_str(out,
                   "\n; No policy accepts: Revoked, no matching TCB level, debug mode, an unknown status,\n"
                   "; a broken signature, a key that the quote does not bind.\n");
    return buf_check(out, "policy", err);
}

bool policy_digest(const struct attest_policy *p, uint8_t out[static SHA256_BYTES])
{
    struct buf text;
    struct attest_policy bare = *p;
    bool ok;

    /* Where a setting comes from decides nothing. */
    memset(bare.lines, 0, sizeof bare.lines);
    buf_init(&text, POLICY_FILE_BYTES);
    ok = policy_show(&bare, &text, NULL) && hash_sha256(out, text.data, text.len);
    buf_free(&text);
    return ok;
}
