#include "attest/verdict.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void verdict_init(struct attest_verdict *v, int64_t at)
{
    memset(v, 0, sizeof *v);
    v->at = at;
    v->not_after = INT64_MAX;
    snprintf(v->reason, sizeof v->reason, "verification did not finish");
}

bool verdict_add(struct attest_verdict *v, const char *id, enum check_result result, bool enforced,
                 const char *fmt, ...)
{
    struct verdict_check *check;
    if (v->check_count < VERDICT_CHECKS_MAX) {
        check = &v->checks[v->check_count++];
    } else {
        /* The last place says that something is missing, and refuses. */
        check = &v->checks[VERDICT_CHECKS_MAX - 1];
        id = "verdict";
        result = CHECK_FAIL;
        enforced = true;
        fmt = "more checks than a verdict holds";
    }
    check->id = id;
    check->result = result;
    check->enforced = enforced;
    va_list args;
    va_start(args, fmt);
    vsnprintf(check->detail, sizeof check->detail, fmt, args);
    va_end(args);
    return result == CHECK_PASS || result == CHECK_NOT_APPLICABLE;
}

const struct verdict_check *verdict_find(const struct attest_verdict *v, const char *id)
{
    for (size_t i = v->check_count; i-- > 0;) {
        if (strcmp(v->checks[i].id, id) == 0) {
            return &v->checks[i];
        }
    }
    return NULL;
}

void verdict_skip_rest(struct attest_verdict *v, const char *const *ids, size_t count, bool enforced,
                       const char *detail)
{
    for (size_t i = 0; i < count; i++) {
        if (verdict_find(v, ids[i]) == NULL) {
            verdict_add(v, ids[i], CHECK_NOT_CHECKED, enforced, "%s", detail);
        }
    }
}

bool verdict_advisory(struct attest_verdict *v, const char *name)
{
    size_t len = strlen(name);
    if (len == 0 || len >= VERDICT_ADVISORY_BYTES) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if (!isalnum((unsigned char)name[i]) && name[i] != '-' && name[i] != '_' && name[i] != '.') {
            return false;
        }
    }
    for (size_t i = 0; i < v->advisory_count; i++) {
        if (strcmp(v->advisories[i], name) == 0) {
            return true;
        }
    }
    if (v->advisory_count == VERDICT_ADVISORIES_MAX) {
        return false;
    }
    memcpy(v->advisories[v->advisory_count++], name, len + 1);
    return true;
}

void verdict_limit(struct attest_verdict *v, int64_t when)
{
    if (when > 0 && when < v->not_after) {
        v->not_after = when;
    }
}

void verdict_close(struct attest_verdict *v)
{
    const struct verdict_check *worst = NULL;
    for (size_t i = 0; i < v->check_count; i++) {
        const struct verdict_check *c = &v->checks[i];
        if (c->enforced && (c->result == CHECK_FAIL || (c->result == CHECK_NOT_CHECKED && worst == NULL))) {
            worst = c;
            if (c->result == CHECK_FAIL) {
                break;
            }
        }
    }
    v->verified = worst == NULL && v->check_count > 0;
    if (worst != NULL) {
        snprintf(v->reason, sizeof v->reason, "%s: %s", worst->id, worst->detail);
    } else {
        snprintf(v->reason, sizeof v->reason, "%s", v->verified ? "" : "nothing was checked");
    }
    if (!v->verified) {
        v->level = ATTEST_LEVEL_NONE;
        v->pin_new = false;
        v->has_point = false;
    }
}

const char *verdict_result_name(enum check_result result)
{
    switch (result) {
    case CHECK_PASS:
        return "pass";
    case CHECK_FAIL:
        return "fail";
    case CHECK_NOT_APPLICABLE:
        return "not-applicable";
    default:
        return "not-checked";
    }
}

const char *verdict_level_name(enum attest_level level)
{
    static const char *const names[] = {"none", "L1", "L2", "L3"};
    return (unsigned)level <= ATTEST_LEVEL_3 ? names[level] : names[0];
}
