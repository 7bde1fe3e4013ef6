#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "hsm/check_report.h"
#include "hsm/derive.h"
#include "hsm/session_key.h"

#define RATE_NS CLOCK_NS_PER_S
#define SOFTWARE_NS (CLOCK_NS_PER_S / 5)
#define SAMPLES_MAX 100000

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

static bool measure_generate(struct check_report *r, struct err *err)
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

static bool measure_derive(struct check_report *r, const struct key_pair *pair, unsigned sessions,
                           struct err *err)
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

/* What session custody does instead of asking the token, on one core. */
static bool measure_software(struct check_report *r, struct err *err)
{
    struct secret scalar = SECRET_EMPTY, peer = SECRET_EMPTY;
    uint8_t point[POINT_BYTES];
    size_t n = 0;
    bool ok = point_random_scalar(&scalar, err) && point_random_scalar(&peer, err) &&
              point_from_scalar(point, &peer, err);
    int64_t began = clock_boot_ns(), now = began;
    while (ok && now - began < SOFTWARE_NS) {
        struct secret key = SECRET_EMPTY;
        ok = session_key_derive(&key, &scalar, point, err);
        secret_free(&key);
        n++;
        now = clock_boot_ns();
    }
    r->software_per_second = ok && now > began ? (double)n * 1e9 / (double)(now - began) : 0;
    secret_free(&peer);
    secret_free(&scalar);
    return ok;
}

bool check_measure(struct check_report *r, unsigned sessions, struct err *err)
{
    struct key_pair pair;
    CK_RV rv;
    sessions = sessions < r->token.max_sessions ? sessions : r->token.max_sessions;
    if (!measure_software(r, err) || !measure_generate(r, err) ||
        !key_generate(&r->token, &r->keys, &pair, NULL, &rv, err)) {
        return false;
    }
    for (unsigned n = 1; n <= sessions && r->derive_count < CHECK_RATES_MAX;
         n = n < sessions && n * 2 > sessions ? sessions : n * 2) {
        if (!measure_derive(r, &pair, n, err) || r->derive[r->derive_count - 1].sessions < n) {
            break;
        }
    }
    bool destroyed = key_destroy(&r->token, &r->keys, pair.private_key);
    return err->kind == ERR_NONE && (destroyed || err_set(err, ERR_TOKEN, "the token does not destroy keys"));
}
