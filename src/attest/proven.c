#include "attest/proven.h"

#include <pthread.h>
#include <string.h>

#define PARTS_MAX 4

static const struct proven_interval always = {INT64_MIN, INT64_MAX};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    struct proven name;
    struct proven_interval interval;
    uint64_t used; /* tick of the last use; 0: an empty place */
} entries[PROVEN_MAX];
static uint64_t tick;

bool proven_name(struct proven *out, const struct hash_part *parts, size_t count)
{
    memset(out, 0, sizeof *out);
    return count > 0 && count <= PARTS_MAX && hash_sha256_parts(out->digest, parts, count);
}

/* The place of a name, or PROVEN_MAX. */
static size_t find(const struct proven *name)
{
    size_t i = 0;
    while (i < PROVEN_MAX &&
           (entries[i].used == 0 || memcmp(entries[i].name.digest, name->digest, sizeof name->digest) != 0)) {
        i++;
    }
    return i;
}

bool proven_has_at(const struct proven *name, int64_t at)
{
    pthread_mutex_lock(&lock);
    size_t i = find(name);
    bool found = i < PROVEN_MAX && entries[i].interval.from <= at && at < entries[i].interval.until;
    if (found) {
        entries[i].used = ++tick;
    }
    pthread_mutex_unlock(&lock);
    return found;
}

bool proven_has(const struct proven *name)
{
    return proven_has_at(name, 0);
}

void proven_add_for(const struct proven *name, struct proven_interval interval)
{
    if (interval.from >= interval.until) {
        return;
    }
    pthread_mutex_lock(&lock);
    size_t at = find(name);
    if (at == PROVEN_MAX) {
        at = 0;
        for (size_t i = 1; i < PROVEN_MAX; i++) {
            at = entries[i].used < entries[at].used ? i : at;
        }
    }
    entries[at].name = *name;
    entries[at].interval = interval;
    entries[at].used = ++tick;
    pthread_mutex_unlock(&lock);
}

void proven_add(const struct proven *name)
{
    proven_add_for(name, always);
}
