/* Requests, each checked again here whatever an honest client has checked already. */
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "hsm/audit.h"
#include "hsm/audit_sign.h"
#include "hsm/record.h"
#include "hsm/server_private.h"
#include "hsm/session_key.h"

static void welcome(struct server *s, struct connection *c, struct client *client, uint32_t request_id)
{
    struct keyipc_message m = {.op = KEYIPC_HELLO | KEYIPC_ANSWER, .request_id = request_id};
    struct pool_state state;
    units_state(s->units, s->unit_count, &state);
    c->client = client;
    c->state = CONNECTION_READY;
    m.u.hello_answer.custody = client->custody;
    m.u.hello_answer.max_key_age_s = client->max_key_age_s;
    m.u.hello_answer.max_keys = (uint32_t)s->clients.max_keys;
    m.u.hello_answer.sessions = state.sessions;
    connection_answer(c, &m);
}

static void on_hello(struct server *s, struct connection *c, const struct keyipc_message *m)
{
    struct err err = {0};
    c->role = m->u.hello.role;
    if (c->role == KEYIPC_CONTROL) {
        struct client *client = client_begin(&s->clients, c->id, c->uid, &m->u.hello, s->options->custody,
                                             s->options->max_key_age_s, &err);
        if (client == NULL) {
            connection_cut(c, err.message);
            return;
        }
        log_info("client %llu: pid %ld, uid %lu", (unsigned long long)client->id, (long)c->pid,
                 (unsigned long)c->uid);
        record_client(c, client);
        welcome(s, c, client, m->request_id);
        handlers_join_waiting(s);
        return;
    }
    struct client *client = client_join(&s->clients, m->u.hello.join, c->uid);
    if (client != NULL) {
        welcome(s, c, client, m->request_id);
        return;
    }
    c->state = CONNECTION_WAITING; /* hello_due_s goes on counting */
    c->hello = m->u.hello;
    c->hello_request = m->request_id;
}

void handlers_join_waiting(struct server *s)
{
    for (size_t i = 0; i < s->connection_count; i++) {
        struct connection *c = s->connections[i];
        struct client *client =
            c->state == CONNECTION_WAITING ? client_join(&s->clients, c->hello.join, c->uid) : NULL;
        if (client != NULL) {
            secret_wipe(&c->hello, sizeof c->hello);
            welcome(s, c, client, c->hello_request);
        }
    }
}

static struct job *new_job(struct connection *c, enum job_type type, const struct keyipc_message *m,
                           struct err *err)
{
    struct job *job = job_new();
    if (job == NULL) {
        err_set(err, ERR_MEMORY, "no memory in the keyholder");
        return NULL;
    }
    job->type = type;
    job->answer = true;
    job->connection = c->id;
    job->request_id = m->request_id;
    job->client = c->client->id;
    return job;
}

static bool open_key(struct server *s, struct connection *c, const struct keyipc_message *m, struct err *err)
{
    if (!audit_admits(err)) {
        return false;
    }
    if (!point_valid(m->u.open.model_point)) {
        return err_set(err, ERR_INVALID, "the model's key is not a point of secp256k1");
    }
    if (s->clients.keys >= s->clients.max_keys) {
        return err_set(err, ERR_BUSY, "the keyholder holds %zu keys, as many as it may (--max-keys)",
                       s->clients.keys);
    }
    struct job *job = new_job(c, JOB_OPEN, m, err);
    if (job == NULL) {
        return false;
    }
    memcpy(job->point, m->u.open.model_point, POINT_BYTES);
    job->session_custody = c->client->custody == KEYIPC_CUSTODY_SESSION;
    size_t unit = units_choose(s->units, s->unit_count, s->last_unit);
    job->unit = (uint8_t)unit;
    if (!pool_submit(s->units[unit].pool, job, err)) {
        job_free(job);
        return false;
    }
    s->last_unit = unit;
    s->units[unit].held++;
    s->clients.keys++;
    c->pending++;
    return true;
}

static struct held_key *usable_key(struct server *s, struct connection *c, uint64_t id, struct err *err)
{
    struct held_key *key = client_key(c->client, id);
    struct pool_state state;
    if (key != NULL && !key->closing && key->login == s->units[key->unit].login) {
        return key;
    }
    units_state(s->units, s->unit_count, &state);
    if (state.token != KEYIPC_TOKEN_READY) {
        err_set(err, ERR_TOKEN, "the token is down, and its keys are gone");
    } else {
        err_set(err, ERR_KEY_GONE,
                "no such key: closed, past its age or its number of uses, or lost with the token");
    }
    return NULL;
}

static bool derive_in_token(struct server *s, struct connection *c, const struct keyipc_message *m,
                            struct held_key *key, struct err *err)
{
    struct job *job = new_job(c, JOB_DERIVE, m, err);
    if (job == NULL) {
        return false;
    }
    job->key_id = key->id;
    job->stream = m->u.derive.stream_id;
    job->unit = key->unit;
    job->login = key->login;
    job->private_key = key->private_key;
    memcpy(job->point, m->u.derive.server_point, POINT_BYTES);
    if (!pool_submit(s->units[key->unit].pool, job, err)) {
        struct pool_state all;
        units_state(s->units, s->unit_count, &all);
        /* Lost a moment ago, with its key: where another token works the client need not wait for this one. */
        err->kind = err->kind == ERR_TOKEN && all.token == KEYIPC_TOKEN_READY ? ERR_KEY_GONE : err->kind;
        job_free(job);
        return false;
    }
    key->running++;
    c->pending++;
    return true;
}

/* Session custody: 40 microseconds on this thread are less than what handing it to another costs. */
static bool derive_here(struct server *s, struct connection *c, const struct keyipc_message *m,
                        const struct held_key *key, struct err *err)
{
    struct keyipc_message answer = {.op = KEYIPC_DERIVE | KEYIPC_ANSWER, .request_id = m->request_id};
    int64_t began = clock_boot_ns();
    if (!session_key_derive(&answer.u.derive_answer.response_key, &key->scalar, m->u.derive.server_point,
                            err)) {
        return false;
    }
    connection_answer(c, &answer);
    secret_free(&answer.u.derive_answer.response_key);
    histogram_add(&s->software, clock_boot_ns() - began);
    s->software_derives++;
    return true;
}

static bool derive(struct server *s, struct connection *c, const struct keyipc_message *m, struct err *err)
{
    const uint8_t *point = m->u.derive.server_point;
    struct held_key *key = usable_key(s, c, m->u.derive.key_id, err);
    if (key == NULL || !audit_admits(err)) {
        return false;
    }
    if (!point_valid(point)) {
        return err_set(err, ERR_INVALID, "the server's key is not a point of secp256k1");
    }
    if (point_same_x(point, key->model_point) || point_same_x(point, key->own_point) ||
        point_same_x(point, key->response_point)) {
        return err_set(
            err, ERR_INVALID,
            "the server's key is the model's or the client's own: a request was sent back as an answer");
    }
    if (!(key->scalar.len > 0 ? derive_here(s, c, m, key, err) : derive_in_token(s, c, m, key, err))) {
        return false;
    }
    key->derives++;
    if (s->options->max_derives != 0 && key->derives >= s->options->max_derives) {
        log_info("a key of client %llu has done its %llu derivations", (unsigned long long)c->client->id,
                 (unsigned long long)key->derives);
        results_close_key(s, c->client, key, "its number of uses");
    }
    return true;
}

static bool cancel(struct server *s, struct connection *c, const struct keyipc_message *m, struct err *err)
{
    struct job_list cancelled = {NULL, NULL, 0};
    for (size_t i = 0; i < s->unit_count; i++) {
        pool_cancel_stream(s->units[i].pool, c->id, m->u.stream_id, &cancelled);
    }
    results_cancelled(s, &cancelled);
    connection_answer_empty(c, KEYIPC_CANCEL, m->request_id);
    return true;
}

static bool close_key(struct server *s, struct connection *c, const struct keyipc_message *m, struct err *err)
{
    struct held_key *key = client_key(c->client, m->u.key_id);
    if (key == NULL || key->closed_by != 0) {
        connection_answer_empty(c, KEYIPC_CLOSE, m->request_id); /* gone already: what was wanted */
        return true;
    }
    key->closed_by = c->id;
    key->close_request = m->request_id;
    c->pending++;
    results_close_key(s, c->client, key, "its client asked");
    return true;
}

static void put_tokens(const struct server *s, struct keyipc_status_answer *out)
{
    out->token_count = (uint8_t)s->unit_count;
    for (size_t i = 0; i < s->unit_count; i++) {
        struct keyipc_token *t = &out->tokens[i];
        struct pool_state state;
        pool_state(s->units[i].pool, &state);
        t->state = (uint8_t)state.token;
        t->keys = (uint32_t)s->units[i].held;
        memcpy(t->label, state.label, sizeof t->label);
        memcpy(t->serial, state.serial, sizeof t->serial);
    }
}

static void put_audit(struct keyipc_status_answer *out)
{
    struct audit_state log;
    audit_state(&log);
    out->audit_state = (uint8_t)log.state;
    out->audit_lines = log.head.seq;
    out->audit_lost = log.lost;
    memcpy(out->audit_head, log.head.hash, sizeof out->audit_head);
    struct audit_sign_state sign;
    audit_sign_state(&sign);
    out->sign_state = !sign.on       ? KEYIPC_AUDIT_NONE
                      : sign.failing ? KEYIPC_AUDIT_FAILING
                                     : KEYIPC_AUDIT_WRITTEN;
    out->audit_signed = sign.line;
}

static bool status(struct server *s, struct connection *c, const struct keyipc_message *m, struct err *err)
{
    struct keyipc_message answer = {.op = KEYIPC_STATUS | KEYIPC_ANSWER, .request_id = m->request_id};
    struct keyipc_status_answer *out = &answer.u.status_answer;
    struct pool_state state;
    units_state(s->units, s->unit_count, &state);
    bool admits = audit_admits(&(struct err){0});
    out->token_state = (uint8_t)(admits || state.token == KEYIPC_TOKEN_PIN ? state.token : KEYIPC_TOKEN_DOWN);
    out->custody = c->client->custody;
    out->keys_live = (uint32_t)s->clients.keys;
    out->queue = (uint32_t)state.queued;
    out->derives = state.derives + s->software_derives;
    out->generates = state.generates;
    out->failures = state.failures;
    /* Streams wait for the token only where it derives for each chunk. */
    out->derive_ns = c->client->custody == KEYIPC_CUSTODY_TOKEN ? (uint64_t)state.derive_ns : 0;
    put_audit(out);
    put_tokens(s, out);
    memcpy(out->times, state.times, sizeof out->times);
    out->times[KEYIPC_TIMED_SOFTWARE] = s->software;
    connection_answer(c, &answer);
    return true;
}

static const struct {
    uint8_t op;
    const char *name;
    bool (*handle)(struct server *s, struct connection *c, const struct keyipc_message *m, struct err *err);
} handlers[] = {
    {KEYIPC_OPEN, "OPEN", open_key},    {KEYIPC_DERIVE, "DERIVE", derive}, {KEYIPC_CANCEL, "CANCEL", cancel},
    {KEYIPC_CLOSE, "CLOSE", close_key}, {KEYIPC_STATUS, "STATUS", status},
};

static void handle(struct server *s, struct connection *c, const struct keyipc_message *m)
{
    struct err err = {0};
    if (!keyipc_permitted(m->op, c->role, c->state == CONNECTION_READY)) {
        connection_cut(c, "it asked for what it may not");
        return;
    }
    if (m->op == KEYIPC_HELLO) {
        on_hello(s, c, m);
        return;
    }
    for (size_t i = 0; i < sizeof handlers / sizeof *handlers; i++) {
        if (handlers[i].op == m->op && !handlers[i].handle(s, c, m, &err)) {
            record_refusal(c->client->id, handlers[i].name, &err);
            connection_answer_error(c, m->request_id, &err);
        }
    }
}

bool handlers_run(struct server *s, struct connection *c)
{
    size_t at = 0;
    bool whole = true; /* there may be another frame */
    while (connection_may_handle(c)) {
        struct keyipc_message m;
        struct err err = {0};
        size_t used;
        if (!keyipc_decode(&m, &used, c->in.data + at, c->in.len - at, false, &err)) {
            connection_cut(c, err.message);
            break;
        }
        if (used == 0) {
            whole = false;
            break;
        }
        at += used;
        handle(s, c, &m);
        keyipc_message_clear(&m);
    }
    if (at > 0) {
        buf_consume(&c->in, at);
    }
    return whole && c->in.len > 0;
}
