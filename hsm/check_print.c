#include <string.h>

#include "hsm/check_report.h"
#include "json/json.h"

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

static void put_attributes(struct buf *out, const struct key_attributes *a)
{
    buf_append_str(out, ",\"attributes\":{");
    put_attribute(out, "token", a->token);
    put_attribute(out, "sensitive", a->sensitive);
    put_attribute(out, "always_sensitive", a->always_sensitive);
    put_attribute(out, "extractable", a->extractable);
    put_attribute(out, "never_extractable", a->never_extractable);
    put_attribute(out, "local", a->local);
    buf_append_str(out, "}");
}

static void put_grade(struct buf *out, const struct grade *g)
{
    buf_append_str(out, ",\"grade\":{");
    put_pair(out, "verdict", g->verdict);
    if (g->custody == NULL) {
        buf_append_str(out, ",\"custody\":null}");
        return;
    }
    buf_append_str(out, ",");
    put_pair(out, "custody", g->custody);
    buf_appendf(out,
                ",\"chunks_per_second\":%.1f,\"sessions\":%u,\"streams\":{\"token\":%llu,\"session\":%llu},"
                "\"models\":%llu,",
                g->chunks_per_second, g->sessions, (unsigned long long)g->streams_token,
                (unsigned long long)g->streams_session, (unsigned long long)g->models);
    put_pair(out, "models_limit", g->models_limit);
    buf_appendf(out, ",\"pairs_per_year\":%llu,\"keys_on_token\":%s}", (unsigned long long)g->pairs_per_year,
                g->keys_on_token ? "true" : "false");
}

void check_put_json(struct buf *out, const struct check_report *r)
{
    buf_appendf(out, "{\"verdict\":\"%s\",\"token\":", r->ok ? "ok" : "failed");
    if (r->token.known) {
        buf_append_str(out, "{");
        put_pair(out, "label", r->token.found.label);
        buf_append_str(out, ",");
        put_pair(out, "serial", r->token.found.serial);
        buf_append_str(out, "}");
    } else {
        buf_append_str(out, "null");
    }
    buf_append_str(out, ",\"checks\":[");
    for (size_t i = 0; i < r->step_count; i++) {
        buf_append_str(out, i > 0 ? ",{" : "{");
        put_pair(out, "id", r->steps[i].id);
        buf_append_str(out, ",");
        put_pair(out, "result", r->steps[i].result);
        buf_append_str(out, ",");
        put_pair(out, "detail", r->steps[i].detail);
        buf_append_str(out, "}");
    }
    buf_append_str(out, "]");
    put_attributes(out, &r->attributes);
    buf_append_str(out, ",\"rates\":{\"generate\":");
    put_rate(out, &r->generate);
    buf_append_str(out, ",\"derive\":[");
    for (size_t i = 0; i < r->derive_count; i++) {
        buf_append_str(out, i > 0 ? "," : "");
        put_rate(out, &r->derive[i]);
    }
    buf_appendf(out, "],\"software_per_second\":%.1f}", r->software_per_second);
    put_grade(out, &r->grade);
    buf_append_str(out, "}\n");
}

static void put_grade_text(struct buf *out, const struct grade *g)
{
    if (g->custody == NULL) {
        buf_append_str(out, "  grade        unfit\n");
        return;
    }
    buf_appendf(out, "  grade        %s: --custody %s, --sessions %u\n", g->verdict, g->custody, g->sessions);
    buf_appendf(out, "  streams      %llu of %d chunks a second with custody token, %llu with session\n",
                (unsigned long long)g->streams_token, GRADE_STREAM_CHUNKS,
                (unsigned long long)g->streams_session);
    buf_appendf(out, "  models       %llu (%s)\n", (unsigned long long)g->models, g->models_limit);
}

void check_put_text(struct buf *out, const struct check_report *r)
{
    if (r->token.known) {
        buf_appendf(out, "token \"%s\", serial %s\n", r->token.found.label, r->token.found.serial);
    } else {
        buf_append_str(out, "no token to test\n");
    }
    for (size_t i = 0; i < r->step_count; i++) {
        const struct check_step *step = &r->steps[i];
        buf_appendf(out, "  %-5s %s%s%s\n", step->result, step->id, step->detail[0] != '\0' ? ": " : "",
                    step->detail);
    }
    if (r->generate.per_second > 0) {
        buf_appendf(out, "  key pairs    %8.1f a second, median %u us\n", r->generate.per_second,
                    r->generate.p50_us);
    }
    for (size_t i = 0; i < r->derive_count; i++) {
        buf_appendf(out, "  derive, %2u  %9.1f a second, median %u us, p99 %u us\n", r->derive[i].sessions,
                    r->derive[i].per_second, r->derive[i].p50_us, r->derive[i].p99_us);
    }
    put_grade_text(out, &r->grade);
}
