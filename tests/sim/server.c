#include "server.h"

#include <stdlib.h>
#include <string.h>

#include "attest.h"
#include "check.h"
#include "intel.h"
#include "nvidia.h"
#include "plan.h"
#include "record.h"
#include "sign.h"
#include "stream.h"
#include "transport.h"

struct server_settings server_settings = {.base_path = "/api/v1", .stale_after = 3600};
static struct server_settings at_start;
static struct plan_defaults plan_at_start;
static struct event_base *loop;

#define SPENT (-2) /* fault_use.at: this request had its fault already */
#define NONCES 4096
static uint8_t nonces[NONCES][32]; /* of attestation requests, in a ring */
static size_t nonce_count;
static int64_t window[64]; /* times of the last attestation requests, in a ring; for the limit */
static size_t window_next;

void server_init(struct event_base *base)
{
    loop = base;
    at_start = server_settings;
    plan_at_start = plan_defaults;
}

void server_reset(void)
{
    server_settings = at_start;
    plan_defaults = plan_at_start;
    fault_clear();
    record_reset();
    check_reset();
    sign_reset();
    intel_reset();
    nonce_count = 0;
    memset(window, 0, sizeof window);
}

void reply_json(struct http_conn *conn, int status, char *body)
{
    http_reply(conn, status, "application/json", NULL, body, strlen(body));
    free(body);
}

static void refuse(struct http_conn *conn, int status, const char *type, const char *message)
{
    struct refusal r = {0};
    refusal_set(&r, status, type, NULL, "%s", message);
    reply_json(conn, r.status, r.body);
}

/* A fault of the queue wins over one of the model's suffix. */
static struct fault_use choose_fault(unsigned where, const char *model, const struct fault_use *of_model)
{
    struct fault_use use = fault_take(where, model);
    if (!use.fault && of_model && of_model->fault && (of_model->fault->where & where))
        use = *of_model;
    /* Transport faults by suffix mean the chat request: else no session would ever get so far. */
    if (use.fault && of_model && use.fault == of_model->fault && use.fault->where == IN_ANY &&
        where != IN_CHAT)
        use = (struct fault_use){0};
    return use;
}

/* ---- a right answer after a while: the same route once more, the fault spent ---- */

struct again {
    const struct http_request *request;
    void (*route)(struct http_conn *conn, const struct http_request *request, const struct fault_use *use);
};

static void route_again(struct http_conn *conn, void *user)
{
    struct again a = *(struct again *)user;
    struct fault_use spent = {.at = SPENT};
    free(user);
    a.route(conn, a.request, &spent);
}

static bool early_fault(struct http_conn *conn, const struct http_request *q, const struct fault_use *use,
                        void (*route)(struct http_conn *, const struct http_request *,
                                      const struct fault_use *))
{
    if (!fault_is(use, F_DELAY))
        return transport_fault(loop, conn, use);
    struct again *a = sim_alloc(sizeof *a);
    *a = (struct again){q, route};
    sim_stats.faults++;
    transport_later(loop, conn, use->value, route_again, free, a);
    return true;
}

/* ---- GET /models ---- */

static void route_models(struct http_conn *conn, const struct http_request *q, const struct fault_use *use)
{
    struct refusal r = {0};
    if (!check_common(q, false, &r)) {
        reply_json(conn, r.status, r.body);
        return;
    }
    if (!early_fault(conn, q, use, route_models))
        reply_json(conn, 200, model_list());
}

static void handle_models(struct http_conn *conn, const struct http_request *q)
{
    struct fault_use use = choose_fault(IN_MODELS, NULL, NULL);
    sim_stats.models++;
    route_models(conn, q, &use);
}

/* ---- GET /tee/attestation ---- */

static bool over_limit(void)
{
    int64_t now = now_ms();
    long within = 0;
    for (size_t i = 0; i < 64; i++)
        within += window[i] && window[i] > now - 60000;
    if (server_settings.attestation_limit && within >= server_settings.attestation_limit)
        return true;
    window[window_next++ % 64] = now;
    return false;
}

static void note_nonce(const uint8_t nonce[32])
{
    size_t known = nonce_count < NONCES ? nonce_count : NONCES;
    for (size_t i = 0; i < known; i++)
        if (!memcmp(nonces[i], nonce, 32))
            record_violation("attestation_nonce_reused", "a nonce comes twice");
    memcpy(nonces[nonce_count++ % NONCES], nonce, 32);
}

static void route_attestation(struct http_conn *conn, const struct http_request *q,
                              const struct fault_use *use)
{
    struct attest_request a = {.fault = *use, .stale_after = server_settings.stale_after};
    int model_count, nonce_count_here;
    char *id = query_get(q->query, "model", &model_count),
         *nonce = query_get(q->query, "nonce", &nonce_count_here);
    struct model *m = model_find(id, NULL);
    if (early_fault(conn, q, use, route_attestation))
        goto out;
    if (nonce_count_here == 0) {
        record_violation("attestation_without_nonce", "no nonce in the request");
        random_bytes(a.nonce, sizeof a.nonce);
        a.server_nonce = true;
    } else if (nonce_count_here != 1 || !nonce || !hex_decode(nonce, strlen(nonce), a.nonce, 32)) {
        record_violation("attestation_nonce", "the nonce is not 64 hex digits");
        refuse(conn, 502, "upstream_error", "Nonce must be exactly 32 bytes");
        goto out;
    }
    if (!m || model_count != 1) {
        refuse(conn, 404, "invalid_request_error", "Specified model not found");
    } else if (!m->tee) {
        refuse(conn, 400, "invalid_request_error", "Model does not support TEE attestation");
    } else {
        a.model = m;
        a.model_id = id;
        if (use->fault)
            sim_stats.faults++;
        reply_json(conn, fault_is(use, F_A_502_VERIFIED) ? 502 : 200, attest_body(&a));
    }
out:
    free(id);
    free(nonce);
}

static void handle_attestation(struct http_conn *conn, const struct http_request *q)
{
    struct fault_use of_model = {0}, use;
    struct refusal r = {0};
    uint8_t raw[32];
    char *id = query_get(q->query, "model", NULL), *nonce = query_get(q->query, "nonce", NULL);
    model_find(id, &of_model);
    record_attestation();
    if (nonce && hex_decode(nonce, strlen(nonce), raw, 32))
        note_nonce(raw);
    use = choose_fault(IN_ATTEST, id, &of_model);
    if (!check_common(q, false, &r)) {
        reply_json(conn, r.status, r.body);
    } else if (over_limit()) {
        http_reply(conn, 429, "application/json", "Retry-After: 60\r\n",
                   "{\"error\":\"Rate limit exceeded\"}", 31);
    } else {
        route_attestation(conn, q, &use);
    }
    free(id);
    free(nonce);
}

/* ---- GET /tee/signature ---- */

static void route_signature(struct http_conn *conn, const struct http_request *q, const struct fault_use *use)
{
    char *id = query_get(q->query, "model", NULL), *answer = query_get(q->query, "request_id", NULL),
         *body = NULL;
    struct model *m = model_find(id, NULL);
    if (!early_fault(conn, q, use, route_signature)) {
        if (m && answer && !fault_is(use, F_S_404))
            body = sign_body(answer, m, use);
        if (body)
            reply_json(conn, 200, body);
        else
            refuse(conn, 404, "invalid_request_error", "Signature not found");
    }
    free(id);
    free(answer);
}

static void handle_signature(struct http_conn *conn, const struct http_request *q)
{
    struct fault_use of_model = {0}, use;
    struct refusal r = {0};
    char *id = query_get(q->query, "model", NULL);
    model_find(id, &of_model);
    sim_stats.signatures++;
    use = choose_fault(IN_SIGNATURE, id, &of_model);
    if (check_common(q, false, &r))
        route_signature(conn, q, &use);
    else
        reply_json(conn, r.status, r.body);
    free(id);
}

/* ---- POST /chat/completions ---- */

static bool key_fault(struct http_conn *conn, const struct fault_use *use)
{
    static const char np[] = "{\"detail\":\"Failed to decrypt field\"}";
    static const char failed[] =
        "{\"error\":{\"message\":\"it failed\",\"type\":\"server_error\",\"code\":\"upstream_error\"}}";
    if (fault_is(use, F_KEY_MISMATCH))
        refuse(conn, 400, "e2ee_model_key_mismatch", "Model public key does not match this instance");
    else if (fault_is(use, F_KEY_421))
        refuse(conn, 421, "invalid_parameter",
               "The encryption key is no longer valid. Please refresh your attestation report and retry.");
    else if (fault_is(use, F_DECRYPT_400))
        refuse(conn, 400, "bad_request", "Decryption failed");
    else if (fault_is(use, F_DECRYPT_NP))
        http_reply(conn, 400, "application/json", NULL, np, sizeof np - 1);
    else if (fault_is(use, F_ERROR_200))
        http_reply(conn, 200, "application/json", NULL, failed, sizeof failed - 1);
    else
        return false;
    sim_stats.faults++;
    return true;
}

static void route_chat(struct http_conn *conn, const struct http_request *q, const struct fault_use *use);

/* The queue's fault wins over the model's suffix, the prompt's own words over both. */
static void answer_chat(struct http_conn *conn, const struct http_request *q, struct chat *chat, bool plain,
                        bool spent)
{
    struct plan plan;
    struct fault_use queued = {0};
    if (!spent)
        queued = fault_take(IN_CHAT, chat->model_id);
    if (queued.fault)
        chat->fault = queued;
    plan_make(&plan, chat);
    if (spent && fault_is(&plan.fault, F_DELAY))
        plan.fault = (struct fault_use){0};
    if (early_fault(conn, q, &plan.fault, route_chat) || key_fault(conn, &plan.fault)) {
        plan_free(&plan);
        return;
    }
    stream_start(loop, conn, chat, &plan, plain ? SEAL_PLAIN : SEAL_PER_FIELD);
}

static void route_chat(struct http_conn *conn, const struct http_request *q, const struct fault_use *use)
{
    struct chat chat = {0};
    struct refusal r = {0};
    bool plain;
    if (check_chat(q, &chat, &plain, &r))
        answer_chat(conn, q, &chat, plain, use->at == SPENT);
    else
        reply_json(conn, r.status, r.body);
    chat_free(&chat);
}

static void handle_chat(struct http_conn *conn, const struct http_request *q)
{
    struct fault_use none = {0};
    sim_stats.chat++;
    route_chat(conn, q, &none);
}

/* ---- POST /plain/chat/completions: the same bytes without E2EE ---- */

static void handle_plain(struct http_conn *conn, const struct http_request *q)
{
    struct chat chat = {.n = 1, .model = model_find("sim-near", NULL), .model_id = sim_strdup("plain")};
    struct plan plan;
    sim_stats.plain++;
    chat.body = cJSON_ParseWithLength(bytes_text(&q->body), q->body.len);
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(chat.body, "messages");
    const cJSON *last = cJSON_GetArrayItem(list, cJSON_GetArraySize(list) - 1);
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(last, "content"));
    const char *model = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(chat.body, "model"));
    if (model) {
        struct model *m = model_find(model, NULL);
        free(chat.model_id);
        chat.model_id = sim_strdup(model);
        chat.model = m ? m : chat.model;
    }
    if (!chat.body || !chat.model) {
        refuse(conn, 400, "invalid_request_error", "not JSON");
        chat_free(&chat);
        return;
    }
    bytes_str(&chat.prompt, text ? text : "");
    plan_make(&plan, &chat);
    plan.fault = (struct fault_use){0};
    stream_start(loop, conn, &chat, &plan, SEAL_SAME_SIZE);
}

/* ---- dispatch ---- */

void server_handle(struct http_conn *conn, const struct http_request *q)
{
    static const struct {
        const char *path, *method;
        void (*handle)(struct http_conn *conn, const struct http_request *request);
    } routes[] = {
        {"/models", "GET", handle_models},
        {"/tee/attestation", "GET", handle_attestation},
        {"/tee/signature", "GET", handle_signature},
        {"/chat/completions", "POST", handle_chat},
        {"/plain/chat/completions", "POST", handle_plain},
    };
    size_t base_len = strlen(server_settings.base_path);
    if (control_handle(conn, q) || intel_handle(conn, q) || nras_handle(conn, q))
        return;
    sim_stats.requests++;
    bool ours = !strncmp(q->path, server_settings.base_path, base_len);
    if (!ours || strncmp(q->path + base_len, "/plain/", 7))
        record_request(q->method, q->target, q->tls, true, &q->raw);
    for (size_t i = 0; ours && i < sizeof routes / sizeof *routes; i++) {
        if (strcmp(q->path + base_len, routes[i].path))
            continue;
        if (!strcmp(q->method, routes[i].method)) {
            routes[i].handle(conn, q);
            return;
        }
        record_violation("method", "%s on %s", q->method, routes[i].path);
        refuse(conn, 405, "invalid_request_error", "Method not allowed");
        return;
    }
    record_violation("unknown_path", "a path that is not of the API");
    refuse(conn, 404, "invalid_request_error", "Not found");
}
