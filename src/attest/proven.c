#include "attest/proven.h"

#include <pthread.h>
#include <string.h>

#define PARTS_MAX 4

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct proven entries[PROVEN_MAX];
static size_t count, next;

bool proven_name(struct proven *out, const struct proven_part *parts, size_t part_count)
{
    uint8_t digests[PARTS_MAX][SHA256_BYTES];
    memset(out, 0, sizeof *out);
    if (part_count == 0 || part_count > PARTS_MAX) {
        return false;
    }
    /* Hashes of the parts, all of one length, leave no doubt where a part ends. */
    for (size_t i = 0; i < part_count; i++) {
        if (!hash_sha256(digests[i], parts[i].data, parts[i].len)) {
            return false;
        }
    }
    return hash_sha256(out->digest, digests, part_count * SHA256_BYTES);
}

bool proven_has(const struct proven *name)
{
    bool found = false;
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < count && !found; i++) {
        found = memcmp(entries[i].digest, name->digest, sizeof name->digest) == 0;
    }
    pthread_mutex_unlock(&lock);
    return found;
}

void proven_add(const struct proven *name)
{
    pthread_mutex_lock(&lock);
    entries[next] = *name;
    next = (next + 1) % PROVEN_MAX;
    count += count < PROVEN_MAX;
    pthread_mutex_unlock(&lock);
}
