#include "app/status.h"

#include <inttypes.h>
#include <string.h>

#include "app/metrics.h"
#include "app/reply.h"
#include "app/verifier.h"
#include "base/clock.h"
#include "json/json.h"

#define STATUS_BYTES_MAX 1048576

static const char *custody_name(uint8_t custody)
{
    return custody == KEYIPC_CUSTODY_SESSION ? "session" : "token";
}

static const char *token_state_name(uint8_t state)
{
    return state == KEYIPC_TOKEN_READY ? "ready" : state == KEYIPC_TOKEN_PIN ? "pin refused" : "down";
}

/* Each token of the keyholder; none without a keyholder. */
static void append_tokens_json(struct buf *out, const struct keyipc_status_answer *status)
{
    buf_append_str(out, "\"tokens\":[");
    for (size_t i = 0; i < status->token_count; i++) {
        const struct keyipc_token *t = &status->tokens[i];
        buf_appendf(out, "%s{\"state\":\"%s\",\"keys\":%u,\"label\":", i > 0 ? "," : "",
                    token_state_name(t->state), t->keys);
        json_append_string(out, t->label, strlen(t->label));
        buf_append_str(out, ",\"serial\":");
        json_append_string(out, t->serial, strlen(t->serial));
        buf_append_byte(out, '}');
    }
    buf_append_byte(out, ']');
}

struct session_list {
    struct buf *out;
    int64_t now; /* clock_boot_ns; for what ends by the calendar clock_wall_s */
    bool first;
};

static void append_session_json(void *arg, const struct session *s)
{
    struct session_list *list = arg;
    buf_append_str(list->out, list->first ? "{\"model\":" : ",{\"model\":");
    list->first = false;
    json_append_string(list->out, s->model, strlen(s->model));
    buf_appendf(list->out, ",\"age_seconds\":%" PRId64 ",\"expires_in_seconds\":%" PRId64 "}",
                (list->now - s->created_ns) / CLOCK_NS_PER_S, (s->expires_ns - list->now) / CLOCK_NS_PER_S);
}

static void append_outcome_json(void *arg, const struct verifier_outcome *o)
{
    struct session_list *list = arg;
    buf_append_str(list->out, list->first ? "{\"model\":" : ",{\"model\":");
    list->first = false;
    json_append_string(list->out, o->model, strlen(o->model));
    buf_appendf(list->out, ",\"verdict\":\"%s\",\"age_seconds\":%" PRId64 ",\"level\":\"%s\",\"tcb_status\":",
                o->verified ? "verified" : "refused", (list->now - o->at_ns) / CLOCK_NS_PER_S,
                verdict_level_name(o->level));
    if (o->tcb_status == TCB_NONE) {
        buf_append_str(list->out, "null");
    } else {
        buf_appendf(list->out, "\"%s\"", tcb_status_name(o->tcb_status));
    }
    if (!o->verified) {
        buf_appendf(list->out, ",\"check\":\"%s\"", o->check);
    }
    buf_append_byte(list->out, '}');
}

void status_append_attestations(struct verifier *verifier, struct buf *out)
{
    struct session_list list = {out, clock_boot_ns(), true};
    buf_append_byte(out, '[');
    verifier_visit(verifier, append_outcome_json, &list);
    buf_append_byte(out, ']');
}

void status_reply_health(struct app *app, struct http_call *call)
{
    struct keyholder_state state;
    struct buf out;
    keyholder_control_state(app->control, &state);
    bool ready = state.generation != 0 && state.token_state == KEYIPC_TOKEN_READY;
    buf_init(&out, STATUS_BYTES_MAX);
    buf_appendf(&out, "{\"status\":\"%s\",\"version\":\"%s\",\"token\":{\"state\":\"%s\",\"custody\":\"%s\"",
                ready ? "ok" : "unavailable", E2EE_VERSION,
                token_state_name(ready                                   ? KEYIPC_TOKEN_READY
                                 : state.token_state == KEYIPC_TOKEN_PIN ? KEYIPC_TOKEN_PIN
                                                                         : KEYIPC_TOKEN_DOWN),
                custody_name(state.hello.custody));
    if (!ready) {
        const char *reason = state.reason.kind != ERR_NONE ? state.reason.message
                             : state.status.audit_state == KEYIPC_AUDIT_FAILING
                                 ? "the custody log cannot be written"
                                 : "the token is not ready";
        buf_append_str(&out, ",\"reason\":");
        json_append_string(&out, reason, strlen(reason));
    }
    buf_append_str(&out, "},");
    append_tokens_json(&out, &state.status);
    buf_append_str(&out, ",\"sessions\":[");
    struct session_list list = {&out, clock_boot_ns(), true};
    sessions_visit(app->sessions, append_session_json, &list);
    buf_append_str(&out, "],\"attestations\":");
    status_append_attestations(app->verifier, &out);
    buf_append_byte(&out, '}');
    const struct http_header retry = {"Retry-After", "5"};
    call_reply(call, ready ? 200 : 503, "application/json", &retry, ready ? 0 : 1, out.data, out.len);
    buf_free(&out);
}

static void append_session_metric(void *arg, const struct session *s)
{
    struct session_list *list = arg;
    buf_append_str(list->out, "e2ee_proxy_session_age_seconds{model=");
    json_append_string(list->out, s->model, strlen(s->model));
    buf_appendf(list->out, "} %" PRId64 "\n", (list->now - s->created_ns) / CLOCK_NS_PER_S);
}

static void append_label(struct session_list *list, const char *name, const struct verifier_outcome *o)
{
    buf_appendf(list->out, "e2ee_proxy_attestation_%s{model=", name);
    json_append_string(list->out, o->model, strlen(o->model));
}

static void append_verified(void *arg, const struct verifier_outcome *o)
{
    struct session_list *list = arg;
    append_label(list, "verified", o);
    buf_appendf(list->out, ",tcb_status=\"%s\",level=\"%s\"} %d\n", tcb_status_name(o->tcb_status),
                verdict_level_name(o->level), o->verified);
}

static void append_age(void *arg, const struct verifier_outcome *o)
{
    struct session_list *list = arg;
    append_label(list, "age_seconds", o);
    buf_appendf(list->out, "} %" PRId64 "\n", (list->now - o->at_ns) / CLOCK_NS_PER_S);
}

static void append_gpus(void *arg, const struct verifier_outcome *o)
{
    struct session_list *list = arg;
    append_label(list, "gpus", o);
    buf_appendf(list->out, "} %d\n", o->gpus);
}

static void append_expiry(void *arg, const struct verifier_outcome *o)
{
    struct session_list *list = arg;
    if (o->collateral_expires != 0) {
        append_label(list, "collateral_seconds_left", o);
        buf_appendf(list->out, "} %" PRId64 "\n", o->collateral_expires - list->now);
    }
}

void status_append_verdict_metrics(struct verifier *verifier, struct buf *out)
{
    struct session_list list = {out, clock_boot_ns(), true};
    buf_append_str(
        out, "# HELP e2ee_proxy_attestation_verified 1 when the last verdict on the model was verified\n"
             "# TYPE e2ee_proxy_attestation_verified gauge\n");
    verifier_visit(verifier, append_verified, &list);
    buf_append_str(out, "# HELP e2ee_proxy_attestation_age_seconds age of that verdict\n"
                        "# TYPE e2ee_proxy_attestation_age_seconds gauge\n");
    verifier_visit(verifier, append_age, &list);
    buf_append_str(out, "# HELP e2ee_proxy_attestation_gpus 1 when GPUs showed evidence that holds\n"
                        "# TYPE e2ee_proxy_attestation_gpus gauge\n");
    verifier_visit(verifier, append_gpus, &list);
    buf_append_str(
        out, "# HELP e2ee_proxy_attestation_collateral_seconds_left until a piece of its collateral ends\n"
             "# TYPE e2ee_proxy_attestation_collateral_seconds_left gauge\n");
    list.now = clock_wall_s(); /* that end is a date */
    verifier_visit(verifier, append_expiry, &list);
}

static void append_token_metrics(const struct keyholder_state *state, struct buf *out)
{
    static const char *const ops[KEYIPC_TIMED_COUNT] = {[KEYIPC_TIMED_GENERATE] = "op=\"generate\"",
                                                        [KEYIPC_TIMED_DERIVE] = "op=\"derive\"",
                                                        [KEYIPC_TIMED_DESTROY] = "op=\"destroy\"",
                                                        [KEYIPC_TIMED_SOFTWARE] = "op=\"software\""};
    buf_appendf(out,
                "# HELP e2ee_proxy_token_ready 1 when the token can be used\n"
                "# TYPE e2ee_proxy_token_ready gauge\ne2ee_proxy_token_ready %d\n"
                "# HELP e2ee_proxy_token_keys key pairs of ours in the token\n"
                "# TYPE e2ee_proxy_token_keys gauge\ne2ee_proxy_token_keys %u\n"
                "# HELP e2ee_proxy_token_queue operations that wait for the token\n"
                "# TYPE e2ee_proxy_token_queue gauge\ne2ee_proxy_token_queue %u\n"
                "# HELP e2ee_proxy_session_custody 1 with --custody session, 0 with token\n"
                "# TYPE e2ee_proxy_session_custody gauge\ne2ee_proxy_session_custody %d\n"
                "# HELP e2ee_proxy_token_seconds time of each operation, as the keyholder measured it, "
                "without the queue\n"
                "# TYPE e2ee_proxy_token_seconds histogram\n",
                state->generation != 0 && state->token_state == KEYIPC_TOKEN_READY, state->status.keys_live,
                state->status.queue, state->hello.custody == KEYIPC_CUSTODY_SESSION);
    for (size_t op = 0; op < KEYIPC_TIMED_COUNT; op++) {
        metrics_append_histogram(out, "token_seconds", ops[op], &state->status.times[op]);
    }
}

static void append_log_metrics(const struct keyipc_status_answer *status, struct buf *out)
{
    buf_appendf(
        out,
        "# HELP e2ee_proxy_custody_log_lines number of the custody log's last line\n"
        "# TYPE e2ee_proxy_custody_log_lines gauge\ne2ee_proxy_custody_log_lines %" PRIu64 "\n"
        "# HELP e2ee_proxy_custody_log_failing 1 while the custody log cannot be written\n"
        "# TYPE e2ee_proxy_custody_log_failing gauge\ne2ee_proxy_custody_log_failing %d\n"
        "# HELP e2ee_proxy_custody_log_lost_total events that the custody log does not have\n"
        "# TYPE e2ee_proxy_custody_log_lost_total counter\ne2ee_proxy_custody_log_lost_total %" PRIu64 "\n"
        "# HELP e2ee_proxy_custody_log_signed_lines number of the last line that a checkpoint signs\n"
        "# TYPE e2ee_proxy_custody_log_signed_lines gauge\ne2ee_proxy_custody_log_signed_lines %" PRIu64 "\n"
        "# HELP e2ee_proxy_custody_log_signing_failing 1 while checkpoints cannot be signed\n"
        "# TYPE e2ee_proxy_custody_log_signing_failing gauge\ne2ee_proxy_custody_log_signing_failing %d\n"
        "# HELP e2ee_proxy_custody_log_info hash of the custody log's last line\n"
        "# TYPE e2ee_proxy_custody_log_info gauge\n",
        status->audit_lines, status->audit_state == KEYIPC_AUDIT_FAILING, status->audit_lost,
        status->audit_signed, status->sign_state == KEYIPC_AUDIT_FAILING);
    if (status->audit_lines > 0) {
        buf_append_str(out, "e2ee_proxy_custody_log_info{head=\"");
        buf_append_hex(out, status->audit_head, sizeof status->audit_head);
        buf_append_str(out, "\"} 1\n");
    }
}

void status_reply_metrics(struct app *app, struct http_call *call)
{
    struct keyholder_state state;
    struct buf out;
    keyholder_control_state(app->control, &state);
    buf_init(&out, STATUS_BYTES_MAX);
    metrics_append(&out);
    append_token_metrics(&state, &out);
    append_log_metrics(&state.status, &out);
    buf_appendf(&out,
                "# HELP e2ee_proxy_inflight_bytes bodies, sealed copies and queues\n"
                "# TYPE e2ee_proxy_inflight_bytes gauge\ne2ee_proxy_inflight_bytes %zu\n"
                "# HELP e2ee_proxy_session_age_seconds age of each model's key\n"
                "# TYPE e2ee_proxy_session_age_seconds gauge\n",
                inflight_used(&app->inflight));
    struct session_list list = {&out, clock_boot_ns(), true};
    sessions_visit(app->sessions, append_session_metric, &list);
    status_append_verdict_metrics(app->verifier, &out);
    call_reply(call, 200, "text/plain; version=0.0.4; charset=utf-8", NULL, 0, out.data, out.len);
    buf_free(&out);
}
