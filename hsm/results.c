/* What the pool gives back, and the end of keys, connections and clients. */
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "hsm/record.h"
#include "hsm/server_private.h"

/* A place for a key is free again. */
static void give_place_back(struct server *s, size_t unit)
{
    s->clients.keys--;
    s->units[unit].held--;
}

/* The pair of an OPEN that nobody waits for any more is destroyed in the token, and has its place until then. The OPEN's own
 * job does it: there may be no memory for another. */
static bool destroy_orphan(struct server *s, struct job *job)
{
    struct err err = {0};
    secret_free(&job->key);
    secret_free(&job->scalar);
    memset(job->took_ns, 0, sizeof job->took_ns);
    job->type = JOB_DESTROY;
    job->answer = false;
    job->client = 0;
    job->private_key = job->pair.private_key;
    return pool_submit(s->units[job->unit].pool, job,
                       &err); /* else the token is down, and the pair gone with it */
}

static void key_is_gone(struct server *s, struct client *client, struct held_key *key)
{
    struct connection *c = key->closed_by != 0 ? server_connection(s, key->closed_by) : NULL;
    if (c != NULL) {
        connection_answer_empty(c, KEYIPC_CLOSE, key->close_request);
        c->pending--;
    }
    record_key_use(client, key, key->ending != NULL ? key->ending : "login lost");
    s->units[key->unit].held--;
    client_remove_key(&s->clients, client, key);
}

static void destroy_key(struct server *s, struct client *client, struct held_key *key)
{
    struct err err = {0};
    struct job *job = job_new();
    if (job == NULL) {
        return; /* tried again by the next tick */
    }
    job->type = JOB_DESTROY;
    job->client = client->id;
    job->key_id = key->id;
    job->unit = key->unit;
    job->login = key->login;
    job->private_key = key->private_key;
    key->destroying = true;
    if (!pool_submit(s->units[job->unit].pool, job, &err)) {
        job_free(job);
        key_is_gone(s, client, key); /* the token is down: its keys are */
    }
}

void results_close_key(struct server *s, struct client *client, struct held_key *key, const char *why)
{
    key->ending = key->ending != NULL ? key->ending : why;
    key->closing = true;
    if (key->running == 0 && !key->destroying) {
        destroy_key(s, client, key);
    }
}

/* Takes the job's share of its key back. */
static void release_key(struct server *s, const struct job *job)
{
    struct client *client = client_find(&s->clients, job->client);
    struct held_key *key = client != NULL ? client_key(client, job->key_id) : NULL;
    if (key == NULL) {
        return;
    }
    if (key->running > 0) {
        key->running--;
    }
    if (key->closing) {
        results_close_key(s, client, key, key->ending);
    }
}

/* True when the job has another task now. */
static bool finish_open(struct server *s, struct connection *c, struct job *job)
{
    struct client *client = client_find(&s->clients, job->client);
    struct held_key *key = NULL;
    bool made = job->ok;
    if (!made || client == NULL || client->control == 0 || c == NULL ||
        (key = client_add_key(client, job, &job->err)) == NULL) {
        if (c != NULL) {
            connection_answer_error(c, job->request_id, &job->err);
        }
        bool goes_on = made && destroy_orphan(s, job);
        if (!goes_on) {
            give_place_back(s, job->unit);
        }
        return goes_on;
    }
    struct keyipc_message m = {.op = KEYIPC_OPEN | KEYIPC_ANSWER, .request_id = job->request_id};
    m.u.open_answer.key_id = key->id;
    m.u.open_answer.request_key = job->key;
    memcpy(m.u.open_answer.client_point, job->pair.point, POINT_BYTES);
    memcpy(m.u.open_answer.response_point, job->response_point, POINT_BYTES);
    connection_answer(c, &m);
    return false;
}

/* Is the job's key lost with its token, while another token can make a new one? */
static bool key_moved_on(struct server *s, const struct job *job)
{
    struct pool_state own, all;
    pool_state(s->units[job->unit].pool, &own);
    units_state(s->units, s->unit_count, &all);
    return own.login != job->login && all.token == KEYIPC_TOKEN_READY && own.token != KEYIPC_TOKEN_READY;
}

static void finish_derive(struct server *s, struct connection *c, struct job *job)
{
    if (!job->ok && job->err.kind == ERR_TOKEN && key_moved_on(s, job)) {
        job->err.kind = ERR_KEY_GONE; /* the client need not wait for the token to come back */
    }
    if (c != NULL && job->ok) {
        struct keyipc_message m = {.op = KEYIPC_DERIVE | KEYIPC_ANSWER, .request_id = job->request_id};
        m.u.derive_answer.response_key = job->key;
        connection_answer(c, &m);
    } else if (c != NULL) {
        connection_answer_error(c, job->request_id, &job->err);
    }
    release_key(s, job);
}

static void finish_destroy(struct server *s, const struct job *job)
{
    struct client *client = client_find(&s->clients, job->client);
    struct held_key *key = client != NULL ? client_key(client, job->key_id) : NULL;
    if (key != NULL) {
        key_is_gone(s, client, key);
    } else if (job->client == 0) {
        give_place_back(s, job->unit);
    }
}

/* Answers and books it; the job is freed, or has another task. */
static void finish(struct server *s, struct job *job)
{
    bool goes_on = false;
    struct connection *c = job->answer ? server_connection(s, job->connection) : NULL;
    if (c != NULL) {
        c->pending--;
    }
    switch (job->type) {
    case JOB_OPEN:
        goes_on = finish_open(s, c, job);
        break;
    case JOB_DERIVE:
        finish_derive(s, c, job);
        break;
    case JOB_DESTROY:
        finish_destroy(s, job);
        break;
    }
    if (!goes_on) {
        job_free(job);
    }
}

/* Keys of a login that is over: nothing is left of them in the token, or the sweep after the next login takes it. */
static void drop_lost_keys(struct server *s, size_t unit)
{
    for (struct client *client = s->clients.first; client != NULL; client = client->next) {
        for (size_t i = client->key_count; i-- > 0;) {
            if (client->keys[i].unit == unit && client->keys[i].login != s->units[unit].login) {
                key_is_gone(s, client, &client->keys[i]);
            }
        }
    }
}

static void collect(struct server *s, size_t unit)
{
    struct unit *u = &s->units[unit];
    struct job_list done = {NULL, NULL, 0};
    struct pool_state state;
    pool_results(u->pool, &done);
    for (struct job *job; (job = job_list_take(&done)) != NULL;) {
        finish(s, job);
    }
    pool_state(u->pool, &state);
    if (state.login != u->login) {
        u->login = state.login;
        drop_lost_keys(s, unit);
    }
}

void results_collect(struct server *s)
{
    for (size_t i = 0; i < s->unit_count; i++) {
        collect(s, i);
    }
    client_reap(&s->clients);
}

void results_cancelled(struct server *s, struct job_list *list)
{
    for (struct job *job; (job = job_list_take(list)) != NULL;) {
        err_set(&job->err, ERR_CANCELLED, "cancelled");
        finish(s, job);
    }
}

static void end_client(struct server *s, struct client *client)
{
    log_info("client %llu is gone; its %zu keys are destroyed", (unsigned long long)client->id,
             client->key_count);
    record_client_gone(client);
    client->control = 0;
    for (size_t i = 0; i < s->connection_count; i++) {
        if (s->connections[i]->client == client) {
            s->connections[i]->client = NULL;
            s->connections[i]->state = CONNECTION_DEAD;
        }
    }
    for (size_t i = client->key_count; i-- > 0;) {
        results_close_key(s, client, &client->keys[i], "its client is gone");
    }
}

void results_connection_gone(struct server *s, struct connection *c)
{
    struct job_list dropped = {NULL, NULL, 0};
    for (size_t i = 0; i < s->unit_count; i++) {
        pool_cancel_connection(s->units[i].pool, c->id, &dropped);
    }
    results_cancelled(s, &dropped);
    if (c->client != NULL && c->client->control == c->id) {
        end_client(s, c->client);
    }
    c->client = NULL;
    client_reap(&s->clients);
}

static void note_uses(struct server *s, int64_t now)
{
    if (now < s->uses_due_s) {
        return;
    }
    s->uses_due_s = now + RECORD_USES_S;
    for (struct client *client = s->clients.first; client != NULL; client = client->next) {
        for (size_t i = 0; i < client->key_count; i++) {
            record_key_use(client, &client->keys[i], NULL);
        }
    }
}

void results_tick(struct server *s)
{
    int64_t now = clock_boot_s();
    for (struct client *client = s->clients.first; client != NULL; client = client->next) {
        for (size_t i = client->key_count; i-- > 0;) {
            struct held_key *key = &client->keys[i];
            if (!key->closing && now >= key->expires_s) {
                log_info("a key of client %llu is %u s old: destroyed", (unsigned long long)client->id,
                         client->max_key_age_s);
                results_close_key(s, client, key, "its age");
            } else if (key->closing && key->running == 0 && !key->destroying) {
                destroy_key(s, client, key);
            }
        }
    }
    note_uses(s, now);
    record_tick(now);
    for (size_t i = 0; i < s->connection_count; i++) {
        struct connection *c = s->connections[i];
        if ((c->state == CONNECTION_NEW || c->state == CONNECTION_WAITING) && now >= c->hello_due_s) {
            connection_cut(c, c->state == CONNECTION_NEW ? "no HELLO came" : "no client has its join secret");
        }
    }
    client_reap(&s->clients);
}
