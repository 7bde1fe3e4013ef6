#include "record.h"

#include <cjson/cJSON.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_VIOLATIONS 1000

struct stats sim_stats;

struct entry {
    struct entry *next;
    long id;
    char *method, *target;
    bool tls, complete;
    struct bytes raw;
};
static struct entry *first, **tail = &first;
static size_t kept, limit = 64u << 20;
static long next_id = 1;

struct violation {
    char *rule, *detail;
    long request;
};
static struct violation violations[MAX_VIOLATIONS];
static size_t violation_count;

static int64_t *attested; /* times within the last 60 s, oldest first */
static size_t attested_len;

void record_limit(size_t max_bytes)
{
    limit = max_bytes;
}

static void drop_first(void)
{
    struct entry *e = first;
    first = e->next;
    if (!first)
        tail = &first;
    kept -= e->raw.len;
    bytes_free(&e->raw);
    free(e->method);
    free(e->target);
    free(e);
}

void record_request(const char *method, const char *target, bool tls, bool complete, const struct bytes *raw)
{
    long id = next_id++;
    if (!limit)
        return;
    struct entry *e = sim_alloc(sizeof *e);
    e->id = id;
    e->method = sim_strdup(method ? method : "");
    e->target = sim_strdup(target ? target : "");
    e->tls = tls;
    e->complete = complete;
    bytes_add(&e->raw, raw->p, raw->len);
    *tail = e;
    tail = &e->next;
    kept += raw->len;
    while (kept > limit && first)
        drop_first();
}

void record_violation(const char *rule, const char *fmt, ...)
{
    char detail[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(detail, sizeof detail, fmt, ap);
    va_end(ap);
    fprintf(stderr, "e2ee-sim: violation %s: %s\n", rule, detail);
    if (violation_count < MAX_VIOLATIONS)
        violations[violation_count++] = (struct violation){sim_strdup(rule), sim_strdup(detail), next_id - 1};
}

long record_violation_count(void)
{
    return (long)violation_count;
}

void record_attestation(void)
{
    int64_t now = now_ms();
    size_t old = 0;
    while (old < attested_len && attested[old] <= now - 60000)
        old++;
    if (old)
        memmove(attested, attested + old, (attested_len - old) * sizeof *attested);
    attested_len -= old;
    attested = sim_resize(attested, (attested_len + 1) * sizeof *attested);
    attested[attested_len++] = now;
    sim_stats.attestations++;
    if ((long)attested_len > sim_stats.attestations_peak)
        sim_stats.attestations_peak = (long)attested_len;
}

void record_reset(void)
{
    while (first)
        drop_first();
    for (size_t i = 0; i < violation_count; i++) {
        free(violations[i].rule);
        free(violations[i].detail);
    }
    violation_count = 0;
    free(attested);
    attested = NULL;
    attested_len = 0;
    struct stats kept_stats = {.transfers_open = sim_stats.transfers_open,
                               .connections_open = sim_stats.connections_open};
    sim_stats = kept_stats;
}

static char *printed(cJSON *root)
{
    char *text = cJSON_PrintUnformatted(root);
    cJSON_Delete(root);
    return text;
}

char *record_violations_json(void)
{
    cJSON *list = cJSON_CreateArray();
    for (size_t i = 0; i < violation_count; i++) {
        cJSON *o = cJSON_CreateObject();
        cJSON_AddItemToArray(list, o);
        cJSON_AddStringToObject(o, "rule", violations[i].rule);
        cJSON_AddStringToObject(o, "detail", violations[i].detail);
        cJSON_AddNumberToObject(o, "request", (double)violations[i].request);
    }
    return printed(list);
}

char *record_requests_json(void)
{
    cJSON *list = cJSON_CreateArray();
    for (const struct entry *e = first; e; e = e->next) {
        char *raw = base64_encode(bytes_text(&e->raw), e->raw.len);
        cJSON *o = cJSON_CreateObject();
        cJSON_AddItemToArray(list, o);
        cJSON_AddNumberToObject(o, "id", (double)e->id);
        cJSON_AddStringToObject(o, "method", e->method);
        cJSON_AddStringToObject(o, "target", e->target);
        cJSON_AddBoolToObject(o, "tls", e->tls);
        cJSON_AddBoolToObject(o, "complete", e->complete);
        cJSON_AddNumberToObject(o, "bytes", (double)e->raw.len);
        cJSON_AddStringToObject(o, "raw_base64", raw);
        free(raw);
    }
    return printed(list);
}

void record_requests_raw(struct bytes *out)
{
    for (const struct entry *e = first; e; e = e->next)
        bytes_add(out, e->raw.p, e->raw.len);
}

char *record_stats_json(void)
{
    const struct {
        const char *name;
        long value;
    } rows[] = {
        {"requests", sim_stats.requests},
        {"chat_requests", sim_stats.chat},
        {"models_requests", sim_stats.models},
        {"attestation_requests", sim_stats.attestations},
        {"attestation_peak_60s", sim_stats.attestations_peak},
        {"collateral_requests", sim_stats.collateral},
        {"nras_requests", sim_stats.nras},
        {"signature_requests", sim_stats.signatures},
        {"plain_requests", sim_stats.plain},
        {"transfers_open", sim_stats.transfers_open - 1}, /* less the one that asks */
        {"client_disconnects", sim_stats.client_disconnects},
        {"connections", sim_stats.connections},
        {"connections_open", sim_stats.connections_open},
        {"tls_connections", sim_stats.tls_connections},
        {"streams_done", sim_stats.streams_done},
        {"fields_opened", sim_stats.fields_opened},
        {"fields_sealed", sim_stats.fields_sealed},
        {"faults", sim_stats.faults},
        {"violations", record_violation_count()},
    };
    cJSON *o = cJSON_CreateObject();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        cJSON_AddNumberToObject(o, rows[i].name, (double)rows[i].value);
    return printed(o);
}
