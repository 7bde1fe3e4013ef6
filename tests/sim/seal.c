#include "seal.h"

#include <stdlib.h>
#include <string.h>

#include "record.h"

#define POOLS 16

struct pooled {
    uint8_t point[SIM_POINT], k[32];
};
struct seal_pool {
    uint8_t client[SIM_POINT];
    struct pooled *entries;
    size_t len, next;
};
static struct seal_pool pools[POOLS];
static size_t pool_entries = 4096, next_pool;

void seal_pool_size(size_t entries)
{
    pool_entries = entries ? entries : 1;
}

void seal_forget(void)
{
    for (size_t i = 0; i < POOLS; i++) {
        free(pools[i].entries);
        memset(&pools[i], 0, sizeof pools[i]);
    }
}

static void agree(const uint8_t client[SIM_POINT], uint8_t point[SIM_POINT], uint8_t k[32])
{
    struct sim_key key;
    do
        sim_key_new(&key);
    while (!sim_agree(key.priv, client, SIM_INFO, NULL, k));
    memcpy(point, key.pub, SIM_POINT);
}

static struct seal_pool *pool_of(const uint8_t client[SIM_POINT])
{
    for (size_t i = 0; i < POOLS; i++)
        if (pools[i].entries && !memcmp(pools[i].client, client, SIM_POINT))
            return &pools[i];
    struct seal_pool *p = &pools[next_pool++ % POOLS];
    free(p->entries);
    *p = (struct seal_pool){.len = pool_entries};
    p->entries = sim_alloc(p->len * sizeof *p->entries);
    memcpy(p->client, client, SIM_POINT);
    for (size_t i = 0; i < p->len; i++)
        agree(client, p->entries[i].point, p->entries[i].k);
    return p;
}

void sealer_init(struct sealer *s, enum seal_mode mode, const uint8_t client[static SIM_POINT], bool prepared)
{
    memset(s, 0, sizeof *s);
    s->mode = mode;
    memcpy(s->client, client, SIM_POINT);
    if (prepared && mode == SEAL_PER_FIELD)
        s->pool = pool_of(client);
}

void sealer_new_key(struct sealer *s)
{
    s->ready = false;
}

/* 4 random bytes of this process and a counter: no pair of point and nonce ever comes twice, pool or not. */
static void next_nonce(uint8_t nonce[12])
{
    static uint8_t prefix[4];
    static uint64_t counter;
    if (!counter)
        random_bytes(prefix, sizeof prefix);
    counter++;
    memcpy(nonce, prefix, 4);
    memcpy(nonce + 4, &counter, 8);
}

/* A pool may have been given to another client key meanwhile: then a fresh key does. */
static const struct pooled *from_pool(struct sealer *s)
{
    struct seal_pool *p = s->pool;
    if (!p || !p->entries || memcmp(p->client, s->client, SIM_POINT))
        return NULL;
    if (!s->cursor)
        s->cursor = p->next += 7;
    return &p->entries[s->cursor++ % p->len];
}

void sealer_add(struct sealer *s, struct bytes *out, const void *text, size_t len)
{
    uint8_t nonce[12];
    if (s->mode == SEAL_PLAIN) {
        bytes_add(out, text, len);
        return;
    }
    if (s->mode == SEAL_SAME_SIZE) {
        bytes_str(out, "04");
        for (size_t i = 2; i < SIM_FIELD_MIN_HEX + 2 * len; i += 2)
            bytes_add(out, "5a", 2);
        return;
    }
    next_nonce(nonce);
    sim_stats.fields_sealed++;
    const struct pooled *entry = from_pool(s);
    if (entry) {
        sim_field_seal(out, entry->point, entry->k, nonce, text, len);
        return;
    }
    if (!s->ready || s->mode == SEAL_PER_FIELD)
        agree(s->client, s->point, s->k);
    s->ready = true;
    sim_field_seal(out, s->point, s->k, nonce, text, len);
}
