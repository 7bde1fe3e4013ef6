/* Inside src/keyholder only: the requests of one worker's connection that await their answer. Pooled records, found
 * by request id at once. A request id is round << 12 | slot; a slot is used again only after its answer, so that an
 * answer that fits no slot in use is nobody's. */
#ifndef E2EE_KEYHOLDER_SLOTS_H
#define E2EE_KEYHOLDER_SLOTS_H

#include "base/err.h"
#include "base/limits.h"
#include "keyholder/worker.h"

enum slot_state {
    SLOT_FREE,
    SLOT_LIVE,
    SLOT_SILENT, /* cancelled or too late: its answer is still to come, and nobody waits */
    SLOT_FAILED  /* its callback is still to come */
};

struct slot {
    keyholder_derive_cb cb;
    void *arg;
    uint64_t stream_id;
    int64_t start_ns;
    uint32_t request_id;
    uint16_t prev, next; /* of its list */
    uint8_t state;
    uint8_t failure; /* enum err_kind */
};

struct slot_list {
    uint16_t head, tail;
    size_t count;
};

struct slots {
    struct slot *all; /* moves when it grows */
    size_t count;
    struct slot_list free, live, failed; /* live: oldest first */
    uint32_t round;
};

bool slots_init(struct slots *s, struct err *err) MUST_CHECK;
void slots_free(struct slots *s);
/* A free slot with its request id set; it stays free until slots_start. ERR_BUSY at LIMIT_KEYIPC_PENDING,
 * ERR_MEMORY. */
struct slot *slots_next(struct slots *s, struct err *err) MUST_CHECK;
void slots_start(struct slots *s, struct slot *slot);
/* Each takes one slot out and copies it; false when there is none. An answered or failed one is free then, an
 * expired one silent. */
bool slots_take_answered(struct slots *s, uint32_t request_id, struct slot *out) MUST_CHECK;
bool slots_take_expired(struct slots *s, int64_t started_until_ns, struct slot *out) MUST_CHECK;
bool slots_take_failed(struct slots *s, struct slot *out) MUST_CHECK;
/* The connection is gone: live ones fail, silent ones are free. */
void slots_fail_all(struct slots *s, enum err_kind kind);
/* Silences a stream. True when an answer of it is still to come. */
bool slots_silence(struct slots *s, uint64_t stream_id);

#endif
