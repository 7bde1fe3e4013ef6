#include "session/collateral_keeper.h"

#include <pthread.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#define TURN_S 60          /* a clock that was set is noticed within this */
#define JITTER_DIVISOR 20u /* up to a twentieth of the life later, so that not all machines ask at once */

struct kept {
    struct collateral_key key;
    uint8_t *quote;
    size_t quote_len;
    uint32_t jitter;    /* of 2^32 */
    int64_t not_before; /* the next look */
    int64_t looked;     /* the last one */
};

struct collateral_keeper {
    struct collateral_keeper_options options;
    pthread_t thread;
    pthread_mutex_t lock; /* of what follows; never held during a fetch */
    pthread_cond_t wake;
    bool stopping;
    struct kept kept[COLLATERAL_KEPT_MAX]; /* entries stay once they are there */
    size_t count;
};

static struct kept *find(struct collateral_keeper *k, const struct collateral_key *key)
{
    for (size_t i = 0; i < k->count; i++) {
        const struct collateral_key *there = &k->kept[i].key;
        if (memcmp(there->fmspc, key->fmspc, FMSPC_BYTES) == 0 && there->processor_ca == key->processor_ca &&
            there->evaluation == key->evaluation) {
            return &k->kept[i];
        }
    }
    return NULL;
}

bool collateral_keeper_knows(struct collateral_keeper *k, const struct collateral_key *key)
{
    pthread_mutex_lock(&k->lock);
    bool known = k->count == COLLATERAL_KEPT_MAX || find(k, key) != NULL;
    pthread_mutex_unlock(&k->lock);
    return known;
}

void collateral_keeper_note(struct collateral_keeper *k, const struct collateral_key *key,
                            const uint8_t *quote, size_t len)
{
    struct err ignored = {0};
    struct kept fresh = {.key = *key, .quote = mem_alloc(len), .quote_len = len};
    if (fresh.quote == NULL || !hash_random((uint8_t *)&fresh.jitter, sizeof fresh.jitter, &ignored)) {
        mem_free(fresh.quote); /* handshakes renew it all the same */
        return;
    }
    memcpy(fresh.quote, quote, len);
    pthread_mutex_lock(&k->lock);
    if (k->count < COLLATERAL_KEPT_MAX && find(k, key) == NULL) {
        k->kept[k->count++] = fresh;
        fresh.quote = NULL;
        pthread_cond_signal(&k->wake);
    }
    pthread_mutex_unlock(&k->lock);
    mem_free(fresh.quote);
}

static int64_t jittered(const struct kept *kept, int64_t span)
{
    return (int64_t)((uint64_t)(span / JITTER_DIVISOR) * kept->jitter >> 32);
}

/* When the cached set is to be renewed; now when there is none or it cannot be read. */
static int64_t due_at(const struct collateral_keeper *k, const struct kept *kept, int64_t now)
{
    struct collateral cached;
    struct err ignored = {0};
    int64_t written, from, until, due = now;
    collateral_init(&cached);
    if (seen_cache_load(k->options.seen, &kept->key, &cached, &written, &ignored) &&
        collateral_validity(&cached, &from, &until, &ignored)) {
        due = from + (until - from) / 2 + jittered(kept, until - from);
    }
    collateral_free(&cached);
    return due;
}

/* What was fetched before its judge. False when it does not hold, or nothing was reached. */
static bool judge(const struct collateral_keeper *k, const struct kept *kept, struct collateral_got *got,
                  struct attest_verdict *verdict, int64_t now, struct err *err)
{
    struct attest_policy policy;
    struct attest_input input = {.quote = kept->quote,
                                 .quote_len = kept->quote_len,
                                 .collateral = &got->collateral,
                                 .root = k->options.root};
    bool try_other;
    policy_init(&policy);
    policy.pins = POLICY_PINS_OFF;
    policy.min_evaluation = kept->key.evaluation;
    bool ok = seen_floor(k->options.seen, &kept->key, &input.floor, err) &&
              attest_verify(&input, &policy, now, verdict, err) &&
              collateral_source_judged(k->options.source, &kept->key, got, verdict, &try_other, err);
    policy_free(&policy);
    enum collateral_judgement said = ok ? collateral_judge(verdict) : COLLATERAL_UNJUDGED;
    if (ok && said != COLLATERAL_AUTHENTIC && said != COLLATERAL_REVOKES) {
        ok = err_set(err, ERR_INVALID, "%s", verdict->reason);
    }
    return ok;
}

/* The moment of the next look at it. */
static int64_t renew(const struct collateral_keeper *k, const struct kept *kept, int64_t now)
{
    struct collateral_got got;
    struct err err = {0};
    int64_t retry = collateral_source_retry_s(k->options.source), due = due_at(k, kept, now);
    if (due > now) {
        return due;
    }
    struct attest_verdict *verdict = mem_alloc(sizeof *verdict);
    if (verdict == NULL) {
        return now + retry;
    }
    collateral_got_init(&got);
    collateral_source_get(k->options.source, &kept->key, now, false, &got);
    if (got.origin == COLLATERAL_FETCHED) {
        if (judge(k, kept, &got, verdict, now, &err)) {
            log_info("collateral was renewed in the background");
        } else {
            log_warn("collateral that was fetched in the background does not hold: %s", err.message);
        }
    }
    collateral_got_free(&got);
    mem_free(verdict);
    due = due_at(k, kept, now);
    return due > now + retry ? due : now + retry + jittered(kept, retry);
}

void collateral_keeper_turn(struct collateral_keeper *k, int64_t now)
{
    pthread_mutex_lock(&k->lock);
    for (size_t i = 0; i < k->count && !k->stopping; i++) {
        struct kept *kept = &k->kept[i];
        /* A clock that was set back by a day must not make an hour's pause one of a day. */
        if (now < kept->not_before && now >= kept->looked - TURN_S) {
            continue;
        }
        pthread_mutex_unlock(&k->lock);
        int64_t next = renew(k, kept, now);
        pthread_mutex_lock(&k->lock);
        kept->not_before = next;
        kept->looked = now;
    }
    pthread_mutex_unlock(&k->lock);
}

static void *run(void *arg)
{
    struct collateral_keeper *k = arg;
    pthread_mutex_lock(&k->lock);
    while (!k->stopping) {
        int64_t now = clock_wall_s(), wait = TURN_S;
        struct timespec until;
        pthread_mutex_unlock(&k->lock);
        collateral_keeper_turn(k, now);
        pthread_mutex_lock(&k->lock);
        for (size_t i = 0; i < k->count; i++) {
            int64_t left = k->kept[i].not_before - now;
            wait = left < wait ? left : wait;
        }
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += wait > 0 ? wait : 1;
        if (!k->stopping) {
            pthread_cond_timedwait(&k->wake, &k->lock, &until);
        }
    }
    pthread_mutex_unlock(&k->lock);
    return NULL;
}

struct collateral_keeper *collateral_keeper_new(const struct collateral_keeper_options *options,
                                                struct err *err)
{
    struct collateral_keeper *k = mem_calloc(1, sizeof *k);
    pthread_condattr_t monotonic;
    if (k == NULL) {
        err_set(err, ERR_MEMORY, "no memory to renew collateral");
        return NULL;
    }
    k->options = *options;
    pthread_mutex_init(&k->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&k->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    if (options->thread && pthread_create(&k->thread, NULL, run, k) != 0) {
        k->options.thread = false;
        collateral_keeper_free(k);
        err_set(err, ERR_INTERNAL, "no thread to renew collateral");
        return NULL;
    }
    return k;
}

void collateral_keeper_free(struct collateral_keeper *k)
{
    if (k == NULL) {
        return;
    }
    pthread_mutex_lock(&k->lock);
    k->stopping = true;
    pthread_cond_signal(&k->wake);
    pthread_mutex_unlock(&k->lock);
    if (k->options.thread) {
        pthread_join(k->thread, NULL);
    }
    for (size_t i = 0; i < k->count; i++) {
        mem_free(k->kept[i].quote);
    }
    pthread_cond_destroy(&k->wake);
    pthread_mutex_destroy(&k->lock);
    mem_free(k);
}
