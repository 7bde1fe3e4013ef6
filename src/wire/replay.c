#include "wire/replay.h"

#include <pthread.h>
#include <string.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/secret.h"
#include "crypto/hash.h"

#define RESPONSE_FIRST 64

/* A ring position, counted from 1 (0: empty, so that memory which no mark has reached is not touched), and the lowest bits of the
 * mark there: what is looked for is told from its neighbours without a look at the ring, which is in no cache. */
struct slot {
    uint32_t place, tag;
};

/* The last fields marks in a ring; slots find them, by linear probing at a load of at most 1/2. */
struct replay {
    pthread_mutex_t lock;
    struct replay_mark *ring;
    struct slot *slots;
    size_t size, count, next; /* of the ring */
    size_t mask;              /* slots - 1 */
};

static pthread_mutex_t key_lock = PTHREAD_MUTEX_INITIALIZER;
static bool key_made;
static uint8_t process_key[16]; /* written once, before any set exists */

bool replay_key_init(struct err *err)
{
    pthread_mutex_lock(&key_lock);
    bool ok = key_made || hash_random(process_key, sizeof process_key, err);
    key_made = ok;
    pthread_mutex_unlock(&key_lock);
    return ok;
}

static uint64_t read_le(const uint8_t *p, size_t len)
{
    uint64_t v = 0;
    for (size_t i = len; i-- > 0;) {
        v = v << 8 | p[i];
    }
    return v;
}

static uint64_t rotate(uint64_t x, int bits)
{
    return x << bits | x >> (64 - bits);
}

static void sip_rounds(uint64_t v[static 4], int rounds)
{
    for (int i = 0; i < rounds; i++) {
        v[0] += v[1];
        v[2] += v[3];
        v[1] = rotate(v[1], 13) ^ v[0];
        v[3] = rotate(v[3], 16) ^ v[2];
        v[0] = rotate(v[0], 32);
        v[2] += v[1];
        v[0] += v[3];
        v[1] = rotate(v[1], 17) ^ v[2];
        v[3] = rotate(v[3], 21) ^ v[0];
        v[2] = rotate(v[2], 32);
    }
}

/* Aumasson and Bernstein, "SipHash: a fast short-input PRF", with the 128-bit output of its reference code. */
struct replay_mark replay_siphash(const uint8_t key[static 16], const void *data, size_t len)
{
    uint64_t k0 = read_le(key, 8), k1 = read_le(key + 8, 8);
    uint64_t v[4] = {k0 ^ UINT64_C(0x736f6d6570736575), k1 ^ UINT64_C(0x646f72616e646f6d) ^ 0xee,
                     k0 ^ UINT64_C(0x6c7967656e657261), k1 ^ UINT64_C(0x7465646279746573)};
    const uint8_t *p = data;
    size_t left = len;
    for (; left >= 8; left -= 8, p += 8) {
        uint64_t m = read_le(p, 8);
        v[3] ^= m;
        sip_rounds(v, 2);
        v[0] ^= m;
    }
    uint64_t last = (uint64_t)len << 56 | read_le(p, left);
    v[3] ^= last;
    sip_rounds(v, 2);
    v[0] ^= last;
    struct replay_mark mark;
    v[2] ^= 0xee;
    sip_rounds(v, 4);
    mark.low = v[0] ^ v[1] ^ v[2] ^ v[3];
    v[1] ^= 0xdd;
    sip_rounds(v, 4);
    mark.high = v[0] ^ v[1] ^ v[2] ^ v[3];
    return mark;
}

struct replay_mark replay_mark(const uint8_t point[static POINT_BYTES],
                               const uint8_t nonce[static AEAD_NONCE_BYTES])
{
    uint8_t pair[POINT_BYTES + AEAD_NONCE_BYTES];
    memcpy(pair, point, POINT_BYTES);
    memcpy(pair + POINT_BYTES, nonce, AEAD_NONCE_BYTES);
    return replay_siphash(process_key, pair, sizeof pair);
}

struct replay *replay_new(size_t fields, struct err *err)
{
    if (fields == 0 || fields > UINT32_MAX / 4) {
        err_set(err, ERR_INTERNAL, "a memory of %zu fields", fields);
        return NULL;
    }
    if (!replay_key_init(err)) {
        return NULL;
    }
    struct replay *r = mem_calloc(1, sizeof *r);
    size_t slots = 2;
    while (slots < 2 * fields) {
        slots *= 2;
    }
    if (r == NULL || (r->ring = mem_alloc(fields * sizeof *r->ring)) == NULL ||
        (r->slots = mem_calloc(slots, sizeof *r->slots)) == NULL) {
        err_set(err, ERR_MEMORY, "no memory to remember %zu fields", fields);
        if (r != NULL) {
            mem_free(r->ring);
        }
        mem_free(r);
        return NULL;
    }
    pthread_mutex_init(&r->lock, NULL);
    r->size = fields;
    r->mask = slots - 1;
    return r;
}

void replay_free(struct replay *r)
{
    if (r != NULL) {
        pthread_mutex_destroy(&r->lock);
        mem_free(r->ring);
        mem_free(r->slots);
        mem_free(r);
    }
}

static bool same(struct replay_mark a, struct replay_mark b)
{
    return a.low == b.low && a.high == b.high;
}

/* The slot that holds mark, or the empty one where it belongs. */
static size_t find_slot(const struct replay *r, struct replay_mark mark)
{
    size_t at = mark.low & r->mask;
    while (r->slots[at].place != 0 &&
           (r->slots[at].tag != (uint32_t)mark.low || !same(r->ring[r->slots[at].place - 1], mark))) {
        at = (at + 1) & r->mask;
    }
    return at;
}

/* Empties a slot and moves up what probing would no longer reach behind the gap. */
static void remove_slot(struct replay *r, size_t gap)
{
    for (size_t at = (gap + 1) & r->mask; r->slots[at].place != 0; at = (at + 1) & r->mask) {
        size_t home = r->slots[at].tag & r->mask;
        if (((at - home) & r->mask) >= ((at - gap) & r->mask)) {
            r->slots[gap] = r->slots[at];
            gap = at;
        }
    }
    r->slots[gap] = (struct slot){0, 0};
}

static bool repeated(struct err *err, const char *where)
{
    return err_set(err, ERR_DECRYPT, "the upstream repeated a sealed field that this %s has had already",
                   where);
}

bool replay_add(struct replay *r, struct replay_mark mark, struct err *err)
{
    pthread_mutex_lock(&r->lock);
    bool fresh = r->slots[find_slot(r, mark)].place == 0;
    if (fresh) {
        if (r->count == r->size) {
            remove_slot(r, find_slot(r, r->ring[r->next]));
        } else {
            r->count++;
        }
        r->slots[find_slot(r, mark)] = (struct slot){(uint32_t)r->next + 1, (uint32_t)mark.low};
        r->ring[r->next] = mark;
        r->next = r->next + 1 < r->size ? r->next + 1 : 0;
        if (r->count == r->size) {
            /* What the next call forgets: a miss of every cache for each chunk otherwise. */
            __builtin_prefetch(&r->slots[r->ring[r->next].low & r->mask]);
        }
    }
    pthread_mutex_unlock(&r->lock);
    return fresh || repeated(err, "session");
}

/* The slot that holds value (never 0, which means empty), or the empty one where it belongs. */
static size_t find_value(const uint64_t *slots, size_t cap, uint64_t value)
{
    size_t at = value & (cap - 1);
    while (slots[at] != 0 && slots[at] != value) {
        at = (at + 1) & (cap - 1);
    }
    return at;
}

static bool grow(struct replay_response *r, struct err *err)
{
    size_t cap = r->cap > 0 ? 2 * r->cap : RESPONSE_FIRST;
    uint64_t *slots = mem_calloc(cap, sizeof *slots);
    if (slots == NULL) {
        return err_set(err, ERR_MEMORY, "no memory to remember %zu fields", cap);
    }
    for (size_t i = 0; i < r->cap; i++) {
        if (r->slots[i] != 0) {
            slots[find_value(slots, cap, r->slots[i])] = r->slots[i];
        }
    }
    mem_free(r->slots);
    r->slots = slots;
    r->cap = cap;
    return true;
}

bool replay_response_add(struct replay_response *r, struct replay_mark mark, struct err *err)
{
    uint64_t value = mark.low != 0 ? mark.low : 1;
    if (r->count == LIMIT_ANSWER_FIELDS) {
        return err_set(err, ERR_UPSTREAM, "the answer has more than %d sealed fields", LIMIT_ANSWER_FIELDS);
    }
    if (r->count >= r->cap / 4 * 3 && !grow(r, err)) {
        return false;
    }
    size_t at = find_value(r->slots, r->cap, value);
    if (r->slots[at] != 0) {
        return repeated(err, "answer");
    }
    r->slots[at] = value;
    r->count++;
    return true;
}

void replay_response_free(struct replay_response *r)
{
    mem_free(r->slots);
    *r = (struct replay_response){NULL, 0, 0};
}

bool replay_check(struct replay *session, struct replay_response *response,
                  const uint8_t point[static POINT_BYTES], const uint8_t nonce[static AEAD_NONCE_BYTES],
                  struct err *err)
{
    struct replay_mark mark = replay_mark(point, nonce);
    if (session != NULL) {
        __builtin_prefetch(&session->slots[mark.low & session->mask]); /* both never change */
    }
    return replay_response_add(response, mark, err) && (session == NULL || replay_add(session, mark, err));
}
