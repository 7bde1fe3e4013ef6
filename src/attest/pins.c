#include "attest/pins.h"

#include <stdio.h>
#include <string.h>

#include "base/hex.h"

/* attestation.md section 4: observed, but for the last, which was computed from its release. MRTD, RTMR1 and RTMR2 by
 * their first four bytes: enough for a name, and a name is all it is. */
static const struct {
    const char *name;
    uint8_t mrtd[4], rtmr1[4], rtmr2[4];
} known_os[] = {
    {"dstack 9b69bb16 (Venice and NEAR models)",
     {0xb2, 0x4d, 0x3b, 0x24},
     {0xc0, 0x44, 0x5b, 0x70},
     {0x56, 0x46, 0x22, 0xc7}},
    {"dstack e3e677dd (Venice, old Phala)",
     {0xb2, 0x4d, 0x3b, 0x24},
     {0xb5, 0x98, 0xfd, 0xe9},
     {0x97, 0x6b, 0xc2, 0xe5}},
    {"dstack de9c74f0 (Venice, ACI gateway)",
     {0xf0, 0x6d, 0xfd, 0xa6},
     {0x07, 0xe6, 0xf5, 0x1a},
     {0xa2, 0xa5, 0x8c, 0x9a}},
    {"dstack da9a3d5c (NEAR gateway)",
     {0xf0, 0x6d, 0xfd, 0xa6},
     {0xa7, 0xb5, 0x23, 0x27},
     {0x24, 0x84, 0x7f, 0x5c}},
    {"dstack 86b18137 (0G)", {0xb2, 0x4d, 0x3b, 0x24}, {0x6e, 0x1a, 0xfb, 0x74}, {0x89, 0xe7, 0x3c, 0xed}},
};

const char *pins_known_os(const struct attest_verdict *v)
{
    const struct verdict_measurements *m = &v->measurements;
    for (size_t i = 0; m->present && i < sizeof known_os / sizeof known_os[0]; i++) {
        if (memcmp(m->mrtd, known_os[i].mrtd, 4) == 0 && memcmp(m->rtmr[1], known_os[i].rtmr1, 4) == 0 &&
            memcmp(m->rtmr[2], known_os[i].rtmr2, 4) == 0) {
            return known_os[i].name;
        }
    }
    return NULL;
}

bool pins_from_verdict(struct attest_pin *out, const struct attest_verdict *v, const char *model)
{
    const struct verdict_guest *g = &v->guest;

    memset(out, 0, sizeof *out);
    if (!v->quote_verified || !v->measurements.present || model == NULL ||
        strlen(model) > POLICY_MODEL_BYTES) {
        return false;
    }
    snprintf(out->model, sizeof out->model, "%s", model);
    snprintf(out->label, sizeof out->label, "%.40s", model);
    out->has_os = true;
    memcpy(out->mrtd, v->measurements.mrtd, sizeof out->mrtd);
    memcpy(out->rtmr1, v->measurements.rtmr[1], sizeof out->rtmr1);
    memcpy(out->rtmr2, v->measurements.rtmr[2], sizeof out->rtmr2);
    out->has_compose_hash = g->has_compose_hash;
    memcpy(out->compose_hash, g->compose_hash, sizeof out->compose_hash);
    out->has_app_id = g->has_app_id;
    memcpy(out->app_id, g->app_id, sizeof out->app_id);
    out->has_key_provider = out->has_key_provider_id = g->has_key_provider;
    memcpy(out->key_provider, g->key_provider, sizeof out->key_provider);
    memcpy(out->key_provider_id, g->key_provider_id, sizeof out->key_provider_id);
    return true;
}

/* What differs between a pin and what was seen. */
struct difference {
    bool os, compose, app, provider;
    int count;
};

/* The app id stands in for the compose hash only where the pin names no compose hash (policy_parse lets that pass with
 * key provider kms and its id alone): an app id is what a host claims unless a KMS that we know vouches for it. */
static struct difference compare(const struct attest_pin *want, const struct attest_pin *seen)
{
    struct difference d = {0};
    d.os = want->has_os && (!seen->has_os || memcmp(want->mrtd, seen->mrtd, sizeof want->mrtd) != 0 ||
                            memcmp(want->rtmr1, seen->rtmr1, sizeof want->rtmr1) != 0 ||
                            memcmp(want->rtmr2, seen->rtmr2, sizeof want->rtmr2) != 0);
    d.compose = want->has_compose_hash &&
                (!seen->has_compose_hash ||
                 memcmp(want->compose_hash, seen->compose_hash, sizeof want->compose_hash) != 0);
    d.app = want->has_app_id &&
            (!seen->has_app_id || memcmp(want->app_id, seen->app_id, sizeof want->app_id) != 0);
    d.provider = want->has_key_provider &&
                 (!seen->has_key_provider || strcmp(want->key_provider, seen->key_provider) != 0 ||
                  (want->has_key_provider_id &&
                   memcmp(want->key_provider_id, seen->key_provider_id, sizeof want->key_provider_id) != 0));
    d.count = d.os + d.compose + d.app + d.provider;
    return d;
}

static enum attest_level level_of(const struct attest_pin *want)
{
    if (!want->has_os) {
        return ATTEST_LEVEL_1;
    }
    return (want->has_compose_hash || want->has_app_id) && want->has_key_provider && want->has_key_provider_id
               ? ATTEST_LEVEL_3
               : ATTEST_LEVEL_2;
}

/* Appends " name pinned xxxxxxxx, now yyyyyyyy;". */
static void describe(char *out, size_t cap, const char *name, const uint8_t *pinned, bool seen_there,
                     const uint8_t *seen)
{
    char a[17], b[17] = "absent";
    size_t len = strlen(out);
    hex_str(a, pinned, 8);
    if (seen_there) {
        hex_str(b, seen, 8);
    }
    snprintf(out + len, cap - len, " %s pinned %s, now %s;", name, a, b);
}

static void describe_all(char *out, size_t cap, const struct attest_pin *want, const struct attest_pin *seen)
{
    struct difference d = compare(want, seen);
    out[0] = '\0';
    if (d.os) {
        describe(out, cap, "MRTD", want->mrtd, seen->has_os, seen->mrtd);
        describe(out, cap, "RTMR1", want->rtmr1, seen->has_os, seen->rtmr1);
        describe(out, cap, "RTMR2", want->rtmr2, seen->has_os, seen->rtmr2);
    }
    if (d.compose) {
        describe(out, cap, "compose-hash", want->compose_hash, seen->has_compose_hash, seen->compose_hash);
    }
    if (d.app) {
        describe(out, cap, "app-id", want->app_id, seen->has_app_id, seen->app_id);
    }
    if (d.provider) {
        size_t len = strlen(out);
        snprintf(out + len, cap - len, " key provider pinned %s, now %s%s;", want->key_provider,
                 seen->has_key_provider ? seen->key_provider : "absent",
                 seen->has_key_provider && strcmp(want->key_provider, seen->key_provider) == 0
                     ? " with another id"
                     : "");
    }
}

struct match {
    const struct attest_pin *exact, *closest;
    size_t candidates;
};

static void match_one(struct match *m, const struct attest_pin *want, const struct attest_pin *seen)
{
    int differences = compare(want, seen).count;
    m->candidates++;
    if (differences == 0 && (m->exact == NULL || level_of(want) > level_of(m->exact))) {
        m->exact = want;
    }
    if (m->closest == NULL || differences < compare(m->closest, seen).count) {
        m->closest = want;
    }
}

static struct match match_all(const struct attest_policy *policy, const struct attest_pin *seen,
                              const struct attest_pin *stored, size_t count)
{
    struct match m = {0};
    for (size_t i = 0; i < policy->accepted_count; i++) {
        const char *model = policy->accepted[i].model;
        if (strcmp(model, "*") == 0 || strcmp(model, seen->model) == 0) {
            match_one(&m, &policy->accepted[i], seen);
        }
    }
    for (size_t i = 0; policy->pins != POLICY_PINS_POLICY && i < count; i++) {
        match_one(&m, &stored[i], seen);
    }
    return m;
}

static void judge(struct attest_verdict *v, const struct attest_policy *policy, const struct attest_pin *seen,
                  const struct match *m)
{
    char text[VERDICT_DETAIL_BYTES / 2];
    bool enforced = policy->pins != POLICY_PINS_WARN;

    if (m->exact != NULL) {
        if (v->guest.log_replayed) {
            v->level = level_of(m->exact);
        }
        verdict_add(v, "pins", CHECK_PASS, enforced, "the guest's software is the pinned one (%s)",
                    m->exact->label);
    } else if (m->candidates == 0 && policy->pins == POLICY_PINS_POLICY) {
        verdict_fail(
            v, "pins",
            seen->model[0] != '\0'
                ? "the policy (pins = policy) lists nothing for this model"
                : "the policy (pins = policy) lists nothing for every model (*), and the evidence does "
                  "not say whose it is (model.txt)");
    } else if (m->candidates == 0) {
        v->pin_new = true;
        verdict_add(
            v, "pins", CHECK_PASS, enforced,
            "first use: this guest's software is taken as the model's from now on, nobody vouched for it");
    } else {
        describe_all(text, sizeof text, m->closest, seen);
        verdict_add(
            v, "pins", CHECK_FAIL, enforced,
            "other software than the %zu pinned:%s accept it with `attest MODEL --pin` if you expect this",
            m->candidates, text);
    }
}

void pins_check(struct attest_verdict *v, const struct attest_policy *policy, const char *model,
                const struct attest_pin *stored, size_t count)
{
    struct attest_pin seen;

    v->level = v->quote_verified && v->guest.log_replayed ? ATTEST_LEVEL_1 : ATTEST_LEVEL_NONE;
    if (policy->pins == POLICY_PINS_OFF) {
        verdict_add(v, "pins", CHECK_NOT_APPLICABLE, true, "no policy lists pins to judge by");
        return;
    }
    if (!pins_from_verdict(&seen, v, model != NULL ? model : "")) {
        verdict_add(v, "pins", CHECK_NOT_CHECKED, false, "measurements of an unverified quote mean nothing");
        return;
    }
    struct match m = match_all(policy, &seen, stored, count);
    judge(v, policy, &seen, &m);
}

static void write_hex(struct buf *out, const char *name, const uint8_t *data, size_t len)
{
    buf_appendf(out, "%s = ", name);
    buf_append_hex(out, data, len);
    buf_append_byte(out, '\n');
}

bool pins_write(struct buf *out, const struct attest_pin *want)
{
    buf_appendf(out, "[pin %s]\nmodel = %s\n", want->label, want->model);
    if (want->has_os) {
        write_hex(out, "mrtd", want->mrtd, sizeof want->mrtd);
        write_hex(out, "rtmr1", want->rtmr1, sizeof want->rtmr1);
        write_hex(out, "rtmr2", want->rtmr2, sizeof want->rtmr2);
    }
    if (want->has_compose_hash) {
        write_hex(out, "compose_hash", want->compose_hash, sizeof want->compose_hash);
    }
    if (want->has_app_id) {
        write_hex(out, "app_id", want->app_id, sizeof want->app_id);
    }
    if (want->has_key_provider) {
        buf_appendf(out, "key_provider = %s\n", want->key_provider);
    }
    if (want->has_key_provider_id) {
        write_hex(out, "key_provider_id_sha256", want->key_provider_id, sizeof want->key_provider_id);
    }
    return !out->failed;
}
