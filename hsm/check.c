#include "hsm/check.h"

#include <stdarg.h>
#include <string.h>

#include "hsm/check_report.h"
#include "hsm/device.h"
#include "hsm/selftest.h"

#define OUT_BYTES 65536

static struct check_step *add_step(struct check_report *r, const char *id, const char *result)
{
    struct check_step *step = &r->steps[r->step_count++];
    *step = (struct check_step){.id = id, .result = result};
    return step;
}

static bool note(struct check_report *r, const char *id, bool ok, const struct err *err)
{
    struct check_step *step = add_step(r, id, ok ? "pass" : "fail");
    if (!ok) {
        snprintf(step->detail, sizeof step->detail, "%s", err->message);
    }
    r->ok = r->ok && ok;
    return ok;
}

__attribute__((format(printf, 4, 5))) static void remark(struct check_report *r, const char *id,
                                                         const char *result, const char *format, ...)
{
    struct check_step *step = add_step(r, id, result);
    va_list args;
    va_start(args, format);
    vsnprintf(step->detail, sizeof step->detail, format, args);
    va_end(args);
}

/* Module, token and login, each by its name: "no token" is another trouble than "wrong PIN". */
static bool begin(struct check_report *r, const struct options *o, struct err *err)
{
    if (!note(r, "protocol", selftest_vector(err), err) ||
        !note(r, "module",
              instance_take(&r->instance, o->token.state_dir, err) &&
                  token_load(&r->token, &o->token, 0, &r->instance, err),
              err)) {
        return false;
    }
    bool in = token_login(&r->token, err);
    if (!note(r, "token", in || r->token.known, err) || !note(r, "login", in, err)) {
        return false;
    }
    for (size_t i = 0; i < r->instance.dead_count; i++) {
        key_sweep(&r->token, &r->keys, r->instance.dead[i]);
    }
    instance_swept(&r->instance);
    return true;
}

static const char *say(int value)
{
    return value < 0 ? "unsaid" : value ? "yes" : "no";
}

static void remark_attributes(struct check_report *r)
{
    const struct key_attributes *a = &r->attributes;
    if (a->sensitive != 1) {
        remark(r, "attributes", "warn",
               "private keys are not called CKA_SENSITIVE, though their value cannot be read");
    } else {
        remark(r, "attributes", "pass", "sensitive %s, extractable %s, local %s, on the token %s",
               say(a->sensitive), say(a->extractable), say(a->local), say(a->token));
    }
}

/* One pair: made and read back, used against libsecp256k1, destroyed. */
static bool try_key(struct check_report *r, struct err *err)
{
    struct key_pair pair;
    CK_RV rv;
    if (!note(r, "key pair", key_generate(&r->token, &r->keys, &pair, &r->attributes, &rv, err), err)) {
        return false;
    }
    remark_attributes(r);
    bool ok = note(r, "ECDH", selftest_ecdh(&r->token, &pair, err), err);
    bool gone = key_destroy(&r->token, &r->keys, pair.private_key);
    if (!gone && err->kind == ERR_NONE) {
        err_set(err, ERR_TOKEN, "the token does not destroy keys");
    }
    return note(r, "destroy", gone, err) && ok;
}

static void remark_sessions(struct check_report *r, unsigned wanted)
{
    unsigned had = r->derive_count > 0 ? r->derive[r->derive_count - 1].sessions : 0;
    remark(r, "sessions", had < wanted ? "warn" : "pass", "%u of %u%s", had, wanted,
           had == 1 && wanted > 1 ? ": one operation at a time, all answers share it" : "");
}

static void run(struct check_report *r, const struct options *o)
{
    struct err err = {0};
    r->ok = true;
    if (begin(r, o, &err) && try_key(r, &err) && note(r, "rates", check_measure(r, o->threads, &err), &err)) {
        remark_sessions(r, o->threads);
    }
    if (r->token.module != NULL && r->token.session != CK_INVALID_HANDLE) {
        key_destroy_all(&r->token, &r->keys);
        bool clean = key_sweep(&r->token, &r->keys, r->instance.label) == 0;
        err_clear(&err);
        if (!clean) {
            err_set(&err, ERR_TOKEN, "objects of ours were still there at the end, and were removed");
        }
        note(r, "nothing left", clean, &err);
    }
    token_close(&r->token);
    grade_token(&r->grade, &(struct grade_input){
                               .fit = r->ok,
                               .derive = r->derive,
                               .derive_count = r->derive_count,
                               .pairs_per_second = r->generate.per_second,
                               .software_per_second = r->software_per_second,
                               .keys_on_token = r->attributes.token == 1,
                               .room = device_pairs(&r->token.found.info),
                           });
}

bool check_run(const struct options *options, FILE *out)
{
    static struct check_report r; /* too large for a stack */
    struct buf text;
    run(&r, options);
    buf_init(&text, OUT_BYTES);
    if (options->json) {
        check_put_json(&text, &r);
    } else {
        check_put_text(&text, &r);
    }
    bool written = !text.failed && fwrite(text.data, 1, text.len, out) == text.len && fflush(out) == 0;
    buf_free(&text);
    return r.ok && written;
}
