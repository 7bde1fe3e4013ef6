#include "hsm/grade.h"

#include "base/limits.h"

#define KEYS_PER_MODEL 2 /* the new one, and the old one until its last answer has ended */
#define NEAR_BEST 0.95
#define SECONDS_PER_YEAR (365UL * 24 * 3600)

static void grade_rates(struct grade *g, const struct grade_input *in)
{
    for (size_t i = 0; i < in->derive_count; i++) {
        if (in->derive[i].per_second > g->chunks_per_second) {
            g->chunks_per_second = in->derive[i].per_second;
        }
    }
    for (size_t i = 0; g->sessions == 0 && i < in->derive_count; i++) {
        if (in->derive[i].per_second >= NEAR_BEST * g->chunks_per_second) {
            g->sessions = in->derive[i].sessions;
        }
    }
    g->streams_token = (uint64_t)(g->chunks_per_second / GRADE_STREAM_CHUNKS);
    g->streams_session = (uint64_t)(in->software_per_second / GRADE_STREAM_CHUNKS);
}

static void grade_models(struct grade *g, const struct grade_input *in)
{
    double by_rotation = in->pairs_per_second * LIMIT_SESSION_S * GRADE_ROTATION_SHARE / 100;
    g->models = LIMIT_KEYHOLDER_KEYS / KEYS_PER_MODEL;
    g->models_limit = "keys that the keyholder holds for one client";
    if (in->room > 0 && in->room / KEYS_PER_MODEL < g->models) {
        g->models = in->room / KEYS_PER_MODEL;
        g->models_limit = "key pairs that the token holds";
    }
    if (by_rotation < (double)g->models) {
        g->models = (uint64_t)by_rotation;
        g->models_limit = "time that the token takes for new key pairs";
    }
}

void grade_token(struct grade *out, const struct grade_input *in)
{
    *out = (struct grade){.verdict = "unfit", .models_limit = "", .keys_on_token = in->keys_on_token};
    if (!in->fit || in->derive_count == 0) {
        return;
    }
    grade_rates(out, in);
    grade_models(out, in);
    out->pairs_per_year = SECONDS_PER_YEAR / LIMIT_SESSION_S;
    if (out->streams_token == 0) {
        out->verdict = "slow";
        out->custody = "session";
    } else {
        out->verdict = out->streams_token < GRADE_FAST_STREAMS ? "moderate" : "fast";
        out->custody = "token";
    }
}
