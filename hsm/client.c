#include "hsm/client.h"

#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "crypto/hash.h"

void client_table_init(struct client_table *table, size_t max_keys)
{
    *table = (struct client_table){.max_keys = max_keys};
}

static void free_client(struct client *client)
{
    for (size_t i = 0; i < client->key_count; i++) {
        secret_free(&client->keys[i].scalar);
    }
    mem_free(client->keys);
    mem_free_wipe(client);
}

void client_table_free(struct client_table *table)
{
    while (table->first != NULL) {
        struct client *client = table->first;
        table->first = client->next;
        free_client(client);
    }
    table->keys = 0;
}

struct client *client_begin(struct client_table *table, uint64_t control, uid_t uid,
                            const struct keyipc_hello *hello, uint8_t custody, uint32_t max_key_age_s,
                            struct err *err)
{
    for (struct client *other = table->first; other != NULL; other = other->next) {
        if (secret_bytes_equal(other->join, hello->join, KEYIPC_JOIN_BYTES)) {
            err_set(err, ERR_FORBIDDEN, "another client has this join secret");
            return NULL;
        }
    }
    struct client *client = mem_calloc(1, sizeof *client);
    if (client == NULL || (client->keys = mem_calloc(table->max_keys, sizeof *client->keys)) == NULL) {
        mem_free(client);
        err_set(err, ERR_MEMORY, "no memory for another client");
        return NULL;
    }
    client->id = ++table->last_id;
    client->control = control;
    client->uid = uid;
    client->custody = hello->custody < custody ? hello->custody : custody; /* token is the lower number */
    client->max_key_age_s = hello->max_key_age_s > 0 && hello->max_key_age_s < max_key_age_s
                                ? hello->max_key_age_s
                                : max_key_age_s;
    memcpy(client->join, hello->join, sizeof client->join);
    client->next = table->first;
    table->first = client;
    return client;
}

struct client *client_join(const struct client_table *table, const uint8_t join[static KEYIPC_JOIN_BYTES],
                           uid_t uid)
{
    struct client *found = NULL;
    for (struct client *client = table->first; client != NULL; client = client->next) {
        if (secret_bytes_equal(client->join, join, KEYIPC_JOIN_BYTES) && client->control != 0 &&
            client->uid == uid) {
            found = client;
        }
    }
    return found;
}

struct client *client_find(const struct client_table *table, uint64_t id)
{
    struct client *client = table->first;
    while (client != NULL && client->id != id) {
        client = client->next;
    }
    return client;
}

void client_reap(struct client_table *table)
{
    for (struct client **at = &table->first; *at != NULL;) {
        struct client *client = *at;
        if (client->control == 0 && client->key_count == 0) {
            *at = client->next;
            free_client(client);
        } else {
            at = &client->next;
        }
    }
}

struct held_key *client_key(struct client *client, uint64_t key_id)
{
    for (size_t i = 0; i < client->key_count; i++) {
        if (client->keys[i].id == key_id) {
            return &client->keys[i];
        }
    }
    return NULL;
}

struct held_key *client_add_key(struct client *client, struct job *job, struct err *err)
{
    uint64_t id = 0;
    while (id == 0 || client_key(client, id) != NULL) {
        if (!hash_random(&id, sizeof id, err)) {
            return NULL;
        }
    }
    struct held_key *key = &client->keys[client->key_count++];
    *key = (struct held_key){
        .id = id, .private_key = job->pair.private_key, .expires_s = clock_boot_s() + client->max_key_age_s};
    key->unit = job->unit;
    key->login = job->login;
    memcpy(key->own_point, job->pair.point, POINT_BYTES);
    memcpy(key->response_point, job->response_point, POINT_BYTES);
    memcpy(key->model_point, job->point, POINT_BYTES);
    secret_move(&key->scalar, &job->scalar);
    return key;
}

void client_remove_key(struct client_table *table, struct client *client, struct held_key *key)
{
    secret_free(&key->scalar);
    *key = client->keys[--client->key_count];
    client->keys[client->key_count] = (struct held_key){0};
    table->keys--;
}
