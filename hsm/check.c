#include "hsm/check.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "hsm/derive.h"
#include "hsm/selftest.h"
#include "json/json.h"

#define RATE_NS CLOCK_NS_PER_S
#define SAMPLES_MAX 100000
#define STEPS_MAX 8
#define OUT_BYTES 65536

struct step {
    const char *id;
    const char *result; /* pass, warn, fail, not-checked */
    struct err err;     /* why, when not pass */
};

struct rate {
    unsigned sessions;
    double per_second;
    unsigned p50_us, p99_us;
};

struct report {
    struct token token;
    struct instance instance;
    struct key_set keys;
    struct key_attributes attributes;
    struct step steps[STEPS_MAX];
    size_t step_count;
    struct rate generate, derive[8];
    size_t derive_count;
    bool ok;
};

static bool note(struct report *r, const char *id, bool ok, const struct err *err)
{
    struct step *step = &r->steps[r->step_count++];
    step->id = id;
    step->result = ok ? "pass" : "fail";
    err_clear(&step->err);
    if (!ok) {
        step->err = *err;
    }
    r->ok = r->ok && ok;
    return ok;
}

static int by_size(const void *a, const void *b)
{
    unsigned x = *(const unsigned *)a, y = *(const unsigned *)b;
    return (x > y) - (x < y);
}

static void finish_rate(struct rate *rate, unsigned *samples, size_t count, int64_t ns)
{
    if (count > 0 && ns > 0) {
        qsort(samples, count, sizeof *samples, by_size);
        rate->per_second = (double)count * 1e9 / (double)ns;
        rate->p50_us = samples[count / 2];
        rate->p99_us = samples[count * 99 / 100];
    }
}

static bool measure_generate(struct report *r, struct err *err)
{
    static unsigned samples[SAMPLES_MAX];
    int64_t began = clock_boot_ns(), now = began;
    size_t n = 0;
    while (now - began < RATE_NS && n < SAMPLES_MAX) {
        struct key_pair pair;
        CK_RV rv;
        if (!key_generate(&r->token, &r->keys, &pair, NULL, &rv, err)) {
            return false;
        }
        int64_t made = clock_boot_ns();
        samples[n++] = (unsigned)((made - now) / 1000);
        if (!key_destroy(&r->token, &r->keys, pair.private_key)) {
            return err_set(err, ERR_TOKEN, "the token does not destroy keys");
        }
        now = clock_boot_ns();
    }
    r->generate.sessions = 1;
    finish_rate(&r->generate, samples, n, now - began);
    return true;
}

/* One deriving thread. */
struct load {
    struct token *token;
    CK_SESSION_HANDLE session;
    const struct key_pair *pair;
    uint8_t point[POINT_BYTES];
    int64_t until_ns;
    unsigned *samples;
    size_t count, max;
    struct err err;
    pthread_t thread;
    bool started;
};

static void *derive_until(void *argument)
{
    struct load *load = argument;
    int64_t now = clock_boot_ns();
    while (now < load->until_ns && load->count < load->max) {
        struct secret key;
        bool dirty;
        CK_RV rv;
        if (!derive_key(load->token->module, load->session, load->pair->private_key, load->point, &key,
                        &dirty, &rv, &load->err)) {
            break;
        }
        secret_free(&key);
        int64_t done = clock_boot_ns();
        load->samples[load->count++] = (unsigned)((done - now) / 1000);
        now = done;
    }
    return NULL;
}

static bool measure_derive(struct report *r, const struct key_pair *pair, unsigned sessions, struct err *err)
{
    static struct load loads[TOKEN_SESSIONS_MAX];
    static unsigned samples[SAMPLES_MAX];
    struct rate *rate = &r->derive[r->derive_count];
    struct secret scalar = SECRET_EMPTY;
    int64_t began = clock_boot_ns();
    size_t count = 0;
    bool ok = point_random_scalar(&scalar, err);
    for (unsigned i = 0; ok && i < sessions; i++) {
        loads[i] = (struct load){
            .token = &r->token, .pair = pair, .samples = samples + i * (SAMPLES_MAX / sessions)};
        loads[i].max = SAMPLES_MAX / sessions;
        loads[i].until_ns = began + RATE_NS;
        loads[i].session = r->token.session;
        ok = point_from_scalar(loads[i].point, &scalar, err);
        if (ok && i > 0 && token_new_session(&r->token, &loads[i].session) != CKR_OK) {
            sessions = i; /* the token has no more */
            break;
        }
        loads[i].started = ok && pthread_create(&loads[i].thread, NULL, derive_until, &loads[i]) == 0;
    }
    for (unsigned i = 0; i < sessions; i++) {
        if (loads[i].started) {
            pthread_join(loads[i].thread, NULL);
            loads[i].started = false;
            memmove(samples + count, loads[i].samples, loads[i].count * sizeof *samples);
            count += loads[i].count;
            if (loads[i].err.kind != ERR_NONE) {
                *err = loads[i].err;
                ok = false;
            }
            if (i > 0) {
                module_close_session(r->token.module, loads[i].session);
            }
        }
    }
    rate->sessions = sessions;
    finish_rate(rate, samples, count, clock_boot_ns() - began);
    r->derive_count += ok;
    secret_free(&scalar);
    return ok;
}

static bool measure(struct report *r, unsigned threads, struct err *err)
{
    struct key_pair pair;
    CK_RV rv;
    threads = threads < r->token.max_sessions ? threads : r->token.max_sessions;
    if (!measure_generate(r, err) || !key_generate(&r->token, &r->keys, &pair, NULL, &rv, err)) {
        return false;
    }
    for (unsigned n = 1; n <= threads && r->derive_count < 7;
         n = n < threads && n * 2 > threads ? threads : n * 2) {
        if (!measure_derive(r, &pair, n, err) || r->derive[r->derive_count - 1].sessions < n) {
            break;
        }
    }
    return key_destroy(&r->token, &r->keys, pair.private_key) && err->kind == ERR_NONE;
}

static void run(struct report *r, const struct options *o)
{
    struct err err = {0};
    r->ok = true;
    if (!note(r, "protocol", selftest_vector(&err), &err) ||
        !note(r, "login",
              instance_take(&r->instance, o->token.state_dir, &err) &&
                  token_load(&r->token, &o->token, 0, &r->instance, &err) && token_login(&r->token, &err),
              &err)) {
        token_close(&r->token);
        return;
    }
    for (size_t i = 0; i < r->instance.dead_count; i++) {
        key_sweep(&r->token, &r->keys, r->instance.dead[i]);
    }
    instance_swept(&r->instance);
    if (note(r, "key pair, ECDH, destroy", selftest_token(&r->token, &r->keys, &r->attributes, &err), &err)) {
        if (r->attributes.sensitive != 1) {
            r->steps[r->step_count - 1].result = "warn";
            err_set(&r->steps[r->step_count - 1].err, ERR_TOKEN, "private keys are not called CKA_SENSITIVE");
        }
        note(r, "rates", measure(r, o->threads, &err), &err);
    }
    key_destroy_all(&r->token, &r->keys);
    note(r, "nothing left", key_sweep(&r->token, &r->keys, r->instance.label) == 0, &err);
    token_close(&r->token);
}

static void put_pair(struct buf *out, const char *name, const char *value)
{
    buf_appendf(out, "\"%s\":", name);
    json_append_string(out, value, strlen(value));
}

static void put_rate(struct buf *out, const struct rate *rate)
{
    buf_appendf(out, "{\"sessions\":%u,\"per_second\":%.1f,\"p50_us\":%u,\"p99_us\":%u}", rate->sessions,
                rate->per_second, rate->p50_us, rate->p99_us);
}

static void put_attribute(struct buf *out, const char *name, int value)
{
    buf_appendf(out, "%s\"%s\":%s", name[0] == 't' ? "" : ",", name,
                value < 0 ? "null"
                : value   ? "true"
                          : "false");
}

static void put_json(struct buf *out, const struct report *r)
{
    buf_appendf(out, "{\"verdict\":\"%s\",\"token\":{", r->ok ? "ok" : "failed");
    put_pair(out, "label", r->token.found.label);
    buf_append_str(out, ",");
    put_pair(out, "serial", r->token.found.serial);
    buf_append_str(out, "},\"checks\":[");
    for (size_t i = 0; i < r->step_count; i++) {
        buf_append_str(out, i > 0 ? ",{" : "{");
        put_pair(out, "id", r->steps[i].id);
        buf_append_str(out, ",");
        put_pair(out, "result", r->steps[i].result);
        buf_append_str(out, ",");
        put_pair(out, "detail", r->steps[i].err.message);
        buf_append_str(out, "}");
    }
    buf_append_str(out, "],\"attributes\":{");
    put_attribute(out, "token", r->attributes.token);
    put_attribute(out, "sensitive", r->attributes.sensitive);
    put_attribute(out, "always_sensitive", r->attributes.always_sensitive);
    put_attribute(out, "extractable", r->attributes.extractable);
    put_attribute(out, "never_extractable", r->attributes.never_extractable);
    put_attribute(out, "local", r->attributes.local);
    buf_append_str(out, "},\"rates\":{\"generate\":");
    put_rate(out, &r->generate);
    buf_append_str(out, ",\"derive\":[");
    for (size_t i = 0; i < r->derive_count; i++) {
        buf_append_str(out, i > 0 ? "," : "");
        put_rate(out, &r->derive[i]);
    }
    buf_append_str(out, "]}}\n");
}

static void put_text(struct buf *out, const struct report *r)
{
    buf_appendf(out, "token \"%s\", serial %s\n", r->token.found.label, r->token.found.serial);
    for (size_t i = 0; i < r->step_count; i++) {
        const struct step *step = &r->steps[i];
        buf_appendf(out, "  %-5s %s%s%s\n", step->result, step->id, step->err.message[0] != '\0' ? ": " : "",
                    step->err.message);
    }
    if (r->generate.per_second > 0) {
        buf_appendf(out, "  key pairs    %8.1f a second, median %u us\n", r->generate.per_second,
                    r->generate.p50_us);
    }
    for (size_t i = 0; i < r->derive_count; i++) {
        buf_appendf(out, "  derive, %2u  %9.1f a second, median %u us, p99 %u us\n", r->derive[i].sessions,
                    r->derive[i].per_second, r->derive[i].p50_us, r->derive[i].p99_us);
    }
}

bool check_run(const struct options *options, FILE *out)
{
    static struct report r; /* too large for a stack */
    struct buf text;
    run(&r, options);
    buf_init(&text, OUT_BYTES);
    if (options->json) {
        put_json(&text, &r);
    } else {
        put_text(&text, &r);
    }
    bool written = !text.failed && fwrite(text.data, 1, text.len, out) == text.len && fflush(out) == 0;
    buf_free(&text);
    return r.ok && written;
}
