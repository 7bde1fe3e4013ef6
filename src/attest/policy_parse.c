/* Reading a policy file. */
#include <ini.h>
#include <stdio.h>
#include <string.h>

#include "attest/policy.h"
#include "base/hex.h"
#include "base/mem.h"
#include "base/text.h"

struct reader {
    const char *text; /* what is left */
    int line;
    struct attest_policy *policy;
    const char *name;
    struct err *err;
    bool failed;
};

static bool refuse(struct reader *r, const char *why)
{
    if (!r->failed) {
        r->failed = true;
        err_set(r->err, ERR_CONFIG, "policy %s, line %d: %s", r->name, r->line, why);
    }
    return false;
}

/* Letters, digits and a few signs, blanks too where a name may have them: what is shown is read again as the same. */
static bool is_name(const char *text, bool blanks)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:/+@*";
    for (const char *p = text; *p != '\0'; p++) {
        if (strchr(allowed, *p) == NULL && !(blanks && *p == ' ')) {
            return false;
        }
    }
    return text[0] != '\0';
}

/* Called for each entry of a list "a, b, c". */
typedef bool (*entry_fn)(struct reader *r, const char *entry);

static bool each_entry(struct reader *r, const char *value, entry_fn fn)
{
    while (*value != '\0') {
        char entry[64];
        size_t len;
        value += strspn(value, ", \t");
        len = strcspn(value, ", \t");
        if (len == 0) {
            break;
        }
        if (len >= sizeof entry) {
            return refuse(r, "an entry of the list is too long");
        }
        memcpy(entry, value, len);
        entry[len] = '\0';
        value += len;
        if (!fn(r, entry)) {
            return false;
        }
    }
    return true;
}

static bool add_status(struct reader *r, const char *entry)
{
    enum tcb_status status;
    if (!tcb_status_parse(&status, entry)) {
        return refuse(r, "accept names something that is no TCB status of Intel's");
    }
    if (status == TCB_REVOKED) {
        return refuse(r, "Revoked cannot be accepted by any policy");
    }
    r->policy->accept |= TCB_BIT(status);
    return true;
}

static bool add_advisory(struct reader *r, const char *entry)
{
    struct attest_policy *p = r->policy;
    if (!is_name(entry, false) || strlen(entry) >= VERDICT_ADVISORY_BYTES ||
        p->advisory_count == POLICY_ADVISORIES_MAX) {
        return refuse(r, "allow_advisories has too many, too long or odd entries");
    }
    snprintf(p->advisories[p->advisory_count++], VERDICT_ADVISORY_BYTES, "%s", entry);
    return true;
}

/* True when this setting appears for the first time; lists may go on over several lines. */
static bool first_time(struct reader *r, enum policy_setting setting)
{
    bool first = r->policy->lines[setting] == 0;
    if (first) {
        r->policy->lines[setting] = r->line;
    }
    return first;
}

static bool set_tcb(struct reader *r, const char *key, const char *value)
{
    struct attest_policy *p = r->policy;
    uint64_t number;

    if (strcmp(key, "accept") == 0) {
        if (first_time(r, POLICY_SET_ACCEPT)) {
            p->accept = TCB_BIT(TCB_UP_TO_DATE);
        }
        return each_entry(r, value, add_status);
    }
    if (strcmp(key, "allow_advisories") == 0) {
        first_time(r, POLICY_SET_ADVISORIES);
        return each_entry(r, value, add_advisory);
    }
    bool evaluation = strcmp(key, "min_evaluation") == 0;
    if (!evaluation && strcmp(key, "allow_stale") != 0) {
        return refuse(r, "unknown key in [tcb]");
    }
    if (!first_time(r, evaluation ? POLICY_SET_MIN_EVALUATION : POLICY_SET_ALLOW_STALE)) {
        return refuse(r, "given twice");
    }
    if (!text_u64(&number, value, 0, evaluation ? 1000000 : 10 * 365 * 86400)) {
        return refuse(r, evaluation ? "min_evaluation is no number" : "allow_stale is no number of seconds");
    }
    if (evaluation) {
        p->min_evaluation = number;
    } else {
        p->allow_stale_s = (int64_t)number;
    }
    return true;
}

static bool set_mode(struct reader *r, const char *key, const char *value)
{
    if (strcmp(key, "mode") != 0) {
        return refuse(r, "unknown key in [pins]");
    }
    if (!first_time(r, POLICY_SET_PINS)) {
        return refuse(r, "given twice");
    }
    if (strcmp(value, "first-use") == 0) {
        r->policy->pins = POLICY_PINS_FIRST_USE;
    } else if (strcmp(value, "policy") == 0) {
        r->policy->pins = POLICY_PINS_POLICY;
    } else if (strcmp(value, "warn") == 0) {
        r->policy->pins = POLICY_PINS_WARN;
    } else {
        return refuse(r, "mode is first-use, policy or warn");
    }
    return true;
}

static bool set_gpu(struct reader *r, const char *key, const char *value)
{
    bool report = strcmp(value, "report") == 0, require = strcmp(value, "require") == 0;
    if (strcmp(key, "check") != 0) {
        return refuse(r, "unknown key in [gpu]");
    }
    if (!first_time(r, POLICY_SET_GPU)) {
        return refuse(r, "given twice");
    }
    if (!report && !require && strcmp(value, "enforce") != 0) {
        return refuse(r, "check is require, enforce or report");
    }
    r->policy->gpu_enforced = !report;
    r->policy->gpu_required = require;
    return true;
}

static struct attest_pin *pin_of(struct reader *r, const char *label)
{
    struct attest_policy *p = r->policy;
    for (size_t i = 0; i < p->accepted_count; i++) {
        if (strcmp(p->accepted[i].label, label) == 0) {
            return &p->accepted[i];
        }
    }
    if (!is_name(label, true) || strlen(label) >= VERDICT_NAME_BYTES) {
        refuse(r, "a pin's section is [pin LABEL], with a label of at most 63 characters");
        return NULL;
    }
    if (p->accepted == NULL && (p->accepted = mem_calloc(POLICY_PINS_MAX, sizeof *p->accepted)) == NULL) {
        r->failed = true;
        err_set(r->err, ERR_MEMORY, "no memory for the policy's pins");
        return NULL;
    }
    if (p->accepted_count == POLICY_PINS_MAX) {
        refuse(r, "too many pins");
        return NULL;
    }
    struct attest_pin *want = &p->accepted[p->accepted_count++];
    snprintf(want->label, sizeof want->label, "%s", label);
    return want;
}

static bool set_hex(struct reader *r, uint8_t *out, size_t len, const char *value)
{
    return (strlen(value) == 2 * len && hex_decode(out, value, 2 * len)) ||
           refuse(r, "the value has another number of hex digits than its key wants");
}

static bool set_provider_id(struct reader *r, struct attest_pin *want, const char *value)
{
    uint8_t id[128];
    size_t digits = strlen(value);
    want->has_key_provider_id = true;
    if (digits == 0 || digits > 2 * sizeof id || !hex_decode(id, value, digits)) {
        return refuse(r, "key_provider_id is not hex, or too long: give key_provider_id_sha256");
    }
    return hash_sha256(want->key_provider_id, id, digits / 2) || refuse(r, "SHA-256 failed");
}

static bool set_software(struct reader *r, const char *label, const char *key, const char *value)
{
    struct attest_pin *want = pin_of(r, label);
    if (want == NULL) {
        return false;
    }
    if (strcmp(key, "model") == 0) {
        if (!is_name(value, false) || strlen(value) > POLICY_MODEL_BYTES) {
            return refuse(r, "model is a catalogue id, or *");
        }
        snprintf(want->model, sizeof want->model, "%s", value);
        return true;
    }
    if (strcmp(key, "key_provider") == 0) {
        want->has_key_provider = true;
        if (!is_name(value, false) || strlen(value) >= sizeof want->key_provider) {
            return refuse(r, "key_provider is kms, local-sgx, tpm or none");
        }
        snprintf(want->key_provider, sizeof want->key_provider, "%s", value);
        return true;
    }
    if (strcmp(key, "key_provider_id") == 0) {
        return set_provider_id(r, want, value);
    }
    const struct {
        const char *key;
        uint8_t *out;
        size_t len;
        bool *has;
    } fields[] = {
        {"mrtd", want->mrtd, sizeof want->mrtd, &want->has_os},
        {"rtmr1", want->rtmr1, sizeof want->rtmr1, &want->has_os},
        {"rtmr2", want->rtmr2, sizeof want->rtmr2, &want->has_os},
        {"compose_hash", want->compose_hash, sizeof want->compose_hash, &want->has_compose_hash},
        {"app_id", want->app_id, sizeof want->app_id, &want->has_app_id},
        {"key_provider_id_sha256", want->key_provider_id, sizeof want->key_provider_id,
         &want->has_key_provider_id},
    };
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        if (strcmp(key, fields[i].key) == 0) {
            *fields[i].has = true;
            return set_hex(r, fields[i].out, fields[i].len, value);
        }
    }
    return refuse(r, "unknown key in a pin's section");
}

static int on_entry(void *user, const char *section, const char *key, const char *value)
{
    struct reader *r = user;
    if (r->failed) {
        return 0;
    }
    if (strcmp(section, "tcb") == 0) {
        return set_tcb(r, key, value);
    }
    if (strcmp(section, "pins") == 0) {
        return set_mode(r, key, value);
    }
    if (strcmp(section, "gpu") == 0) {
        return set_gpu(r, key, value);
    }
    if (strncmp(section, "pin ", 4) == 0) {
        return set_software(r, section + 4 + strspn(section + 4, " "), key, value);
    }
    return refuse(r, "unknown section: there are [tcb], [pins], [gpu] and [pin LABEL]");
}

/* inih's line reader: counts the lines, and refuses those that inih would cut in two. */
static char *next_line(char *out, int cap, void *stream)
{
    struct reader *r = stream;
    size_t len = strcspn(r->text, "\n");
    if (r->failed || *r->text == '\0') {
        return NULL;
    }
    r->line++;
    if (len + 2 > (size_t)cap) {
        refuse(r, "longer than 197 characters");
        return NULL;
    }
    len += r->text[len] == '\n';
    memcpy(out, r->text, len);
    out[len] = '\0';
    r->text += len;
    return out;
}

/* What a pin must have to mean anything. */
static bool check_pins(struct reader *r)
{
    static const uint8_t zeros[MEASUREMENT_BYTES];
    for (size_t i = 0; i < r->policy->accepted_count; i++) {
        const struct attest_pin *want = &r->policy->accepted[i];
        const char *why = NULL;
        if (want->model[0] == '\0') {
            why = "has no model";
        } else if (want->has_os && (memcmp(want->mrtd, zeros, sizeof zeros) == 0 ||
                                    memcmp(want->rtmr1, zeros, sizeof zeros) == 0 ||
                                    memcmp(want->rtmr2, zeros, sizeof zeros) == 0)) {
            why = "needs mrtd, rtmr1 and rtmr2 together";
        } else if (want->has_key_provider_id && !want->has_key_provider) {
            why = "has a key_provider_id without a key_provider";
        } else if (want->has_app_id && !want->has_compose_hash &&
                   (!want->has_key_provider_id || strcmp(want->key_provider, "kms") != 0)) {
            why = "has an app_id, which means something only with key_provider kms and its id";
        } else if (!want->has_os && !want->has_compose_hash && !want->has_app_id && !want->has_key_provider) {
            why = "pins nothing";
        }
        if (why != NULL) {
            return err_set(r->err, ERR_CONFIG, "policy %s: [pin %s] %s", r->name, want->label, why);
        }
    }
    return true;
}

bool policy_parse(struct attest_policy *p, const char *name, const char *text, struct err *err)
{
    struct reader r = {.text = text, .policy = p, .name = name, .err = err};

    policy_free(p);
    p->source = mem_strdup(name);
    if (p->source == NULL) {
        return err_set(err, ERR_MEMORY, "no memory for the policy");
    }
    int bad = ini_parse_stream(next_line, &r, on_entry, &r);
    if (bad > 0 && !r.failed) {
        r.failed = true;
        err_set(err, ERR_CONFIG, "policy %s, line %d: neither a section nor key = value", name, bad);
    }
    if (r.failed || !check_pins(&r)) {
        policy_free(p);
        return false;
    }
    return true;
}

bool policy_load(struct attest_policy *p, const char *path, struct err *err)
{
    struct buf text;
    bool ok = false;

    policy_free(p);
    buf_init(&text, POLICY_FILE_BYTES);
    if (text_read_file(&text, path, err)) {
        const char *cstr = buf_cstr(&text);
        if (cstr == NULL) {
            err_set(err, ERR_MEMORY, "no memory for the policy");
        } else if (strlen(cstr) != text.len) {
            err_set(err, ERR_CONFIG, "policy %s holds a NUL byte", path);
        } else {
            ok = policy_parse(p, path, cstr, err);
        }
    }
    buf_free(&text);
    return ok;
}
