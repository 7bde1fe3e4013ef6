#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "intel.h"
#include "plan.h"
#include "record.h"
#include "server.h"

static const char *text_of(const cJSON *o, const char *name)
{
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o, name));
}

static long number_of(const cJSON *o, const char *name, long fallback)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(o, name);
    return cJSON_IsNumber(v) ? (long)v->valuedouble : fallback;
}

static void ok(struct http_conn *conn)
{
    reply_json(conn, 200, sim_strdup("{\"ok\":true}"));
}

static void wrong(struct http_conn *conn, const char *why)
{
    struct bytes b = {0};
    bytes_fmt(&b, "{\"ok\":false,\"why\":\"%s\"}", why);
    reply_json(conn, 400, (char *)b.p);
}

static void post_fault(struct http_conn *conn, const cJSON *body)
{
    const char *why = "";
    if (fault_push(text_of(body, "endpoint"), text_of(body, "fault"), text_of(body, "model"),
                   number_of(body, "count", 1), number_of(body, "at", -1), number_of(body, "value", -1),
                   &why))
        ok(conn);
    else
        wrong(conn, why);
}

static void post_rotate(struct http_conn *conn, const cJSON *body)
{
    if (model_rotate(text_of(body, "model")))
        ok(conn);
    else
        wrong(conn, "no such model");
}

static void post_reset(struct http_conn *conn, const cJSON *body)
{
    server_reset();
    ok(conn);
}

static void post_config(struct http_conn *conn, const cJSON *body)
{
    const char *key = text_of(body, "key");
    plan_defaults.delay_ms = number_of(body, "delay_ms", plan_defaults.delay_ms);
    plan_defaults.first_ms = number_of(body, "first_ms", plan_defaults.first_ms);
    plan_defaults.piece = number_of(body, "piece", plan_defaults.piece);
    server_settings.attestation_limit =
        number_of(body, "attestation_limit", server_settings.attestation_limit);
    server_settings.stale_after = number_of(body, "stale_after", server_settings.stale_after);
    if (key)
        plan_defaults.key = !strcmp(key, "response") ? KEY_PER_RESPONSE
                            : !strcmp(key, "field")  ? KEY_PER_FIELD
                                                     : KEY_BY_FLAVOUR;
    const cJSON *open = cJSON_GetObjectItemCaseSensitive(body, "fail_open");
    if (open)
        check_policy.fail_open = cJSON_IsTrue(open);
    const char *collateral = text_of(body, "collateral");
    if (collateral && !intel_set_collateral(collateral))
        wrong(conn, "collateral is none of: good, expired, revoked, …; see README.md");
    else
        ok(conn);
}

static void get_violations(struct http_conn *conn, const cJSON *body)
{
    reply_json(conn, 200, record_violations_json());
}

static void get_stats(struct http_conn *conn, const cJSON *body)
{
    reply_json(conn, 200, record_stats_json());
}

static void get_faults(struct http_conn *conn, const cJSON *body)
{
    cJSON *list = cJSON_CreateArray();
    const struct fault *f;
    for (size_t i = 0; (f = fault_nth(i)); i++) {
        static const char *const names[] = {"models", "attestation", "chat", "signature", "nras"};
        cJSON *o = cJSON_CreateObject();
        cJSON_AddItemToArray(list, o);
        cJSON_AddStringToObject(o, "name", f->name);
        cJSON *where = cJSON_AddArrayToObject(o, "endpoints");
        for (size_t k = 0; k < sizeof names / sizeof *names; k++)
            if (f->where & 1u << k)
                cJSON_AddItemToArray(where, cJSON_CreateString(names[k]));
        cJSON_AddNumberToObject(o, "value", (double)f->value);
        cJSON_AddBoolToObject(o, "harmless", strstr(f->help, "not an error") || strstr(f->help, "no error"));
        cJSON_AddStringToObject(o, "help", f->help);
    }
    char *text = cJSON_PrintUnformatted(list);
    cJSON_Delete(list);
    reply_json(conn, 200, text);
}

static void get_requests(struct http_conn *conn, const struct http_request *q)
{
    char *format = query_get(q->query, "format", NULL);
    struct bytes raw = {0};
    if (format && !strcmp(format, "json")) {
        reply_json(conn, 200, record_requests_json());
    } else {
        record_requests_raw(&raw);
        http_reply(conn, 200, "application/octet-stream", NULL, raw.p, raw.len);
        bytes_free(&raw);
    }
    free(format);
}

bool control_handle(struct http_conn *conn, const struct http_request *q)
{
    static const struct {
        const char *path, *method;
        void (*handle)(struct http_conn *conn, const cJSON *body);
    } routes[] = {
        {"/sim/violations", "GET", get_violations}, {"/sim/stats", "GET", get_stats},
        {"/sim/faults", "GET", get_faults},         {"/sim/reset", "POST", post_reset},
        {"/sim/fault", "POST", post_fault},         {"/sim/rotate-key", "POST", post_rotate},
        {"/sim/config", "POST", post_config},
    };
    if (strncmp(q->path, "/sim/", 5))
        return false;
    if (!strcmp(q->path, "/sim/requests") && !strcmp(q->method, "GET")) {
        get_requests(conn, q);
        return true;
    }
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        if (strcmp(q->path, routes[i].path) || strcmp(q->method, routes[i].method))
            continue;
        cJSON *body = cJSON_ParseWithLength(bytes_text(&q->body), q->body.len);
        if (q->body.len && !body)
            wrong(conn, "the body is not JSON");
        else
            routes[i].handle(conn, body);
        cJSON_Delete(body);
        return true;
    }
    reply_json(conn, 404, sim_strdup("{\"ok\":false,\"why\":\"no such control path\"}"));
    return true;
}
