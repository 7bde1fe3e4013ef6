#include "keyholder/slots.h"

#include <string.h>

#include "base/mem.h"
#include "keyholder/control_internal.h"

#define SLOT_BITS 12
#define SLOTS_FIRST 64
#define NONE UINT16_MAX

_Static_assert(LIMIT_KEYIPC_PENDING == 1 << SLOT_BITS, "a request id holds its slot");
_Static_assert(KEYHOLDER_ID_FIRST == 1 << SLOT_BITS, "round 0 is not a derive's");

static void push(struct slots *s, struct slot_list *l, uint16_t i)
{
    s->all[i].prev = l->tail;
    s->all[i].next = NONE;
    *(l->tail != NONE ? &s->all[l->tail].next : &l->head) = i;
    l->tail = i;
    l->count++;
}

static void take(struct slots *s, struct slot_list *l, uint16_t i)
{
    struct slot *slot = &s->all[i];
    *(slot->prev != NONE ? &s->all[slot->prev].next : &l->head) = slot->next;
    *(slot->next != NONE ? &s->all[slot->next].prev : &l->tail) = slot->prev;
    l->count--;
}

static void put(struct slots *s, struct slot_list *l, uint16_t i, enum slot_state state)
{
    s->all[i].state = (uint8_t)state;
    push(s, l, i);
}

static bool grow(struct slots *s, struct err *err)
{
    size_t count = s->count == 0 ? SLOTS_FIRST : s->count * 2;
    if (count > LIMIT_KEYIPC_PENDING) {
        return err_set(err, ERR_BUSY, "%d keys are being derived already", LIMIT_KEYIPC_PENDING);
    }
    struct slot *all = mem_calloc(count, sizeof *all);
    if (all == NULL) {
        return err_set(err, ERR_MEMORY, "no memory for a derivation");
    }
    if (s->count > 0) {
        memcpy(all, s->all, s->count * sizeof *all);
    }
    mem_free(s->all);
    s->all = all;
    for (size_t i = s->count; i < count; i++) {
        push(s, &s->free, (uint16_t)i);
    }
    s->count = count;
    return true;
}

bool slots_init(struct slots *s, struct err *err)
{
    memset(s, 0, sizeof *s);
    s->free = s->live = s->failed = (struct slot_list){NONE, NONE, 0};
    return grow(s, err);
}

void slots_free(struct slots *s)
{
    mem_free(s->all);
    memset(s, 0, sizeof *s);
}

struct slot *slots_next(struct slots *s, struct err *err)
{
    if (s->free.count == 0 && !grow(s, err)) {
        return NULL;
    }
    struct slot *slot = &s->all[s->free.head];
    s->round = (s->round + 1) & (UINT32_MAX >> SLOT_BITS);
    s->round = s->round == 0 ? 1 : s->round;
    slot->request_id = s->round << SLOT_BITS | s->free.head;
    return slot;
}

void slots_start(struct slots *s, struct slot *slot)
{
    uint16_t i = (uint16_t)(slot - s->all);
    take(s, &s->free, i);
    put(s, &s->live, i, SLOT_LIVE);
}

bool slots_take_answered(struct slots *s, uint32_t request_id, struct slot *out)
{
    uint16_t i = (uint16_t)(request_id & (LIMIT_KEYIPC_PENDING - 1));
    if (i >= s->count || s->all[i].request_id != request_id ||
        (s->all[i].state != SLOT_LIVE && s->all[i].state != SLOT_SILENT)) {
        return false;
    }
    *out = s->all[i];
    if (out->state == SLOT_LIVE) {
        take(s, &s->live, i);
    }
    put(s, &s->free, i, SLOT_FREE);
    return true;
}

bool slots_take_expired(struct slots *s, int64_t started_until_ns, struct slot *out)
{
    uint16_t i = s->live.head;
    if (i == NONE || s->all[i].start_ns > started_until_ns) {
        return false;
    }
    *out = s->all[i];
    take(s, &s->live, i);
    s->all[i].state = SLOT_SILENT;
    return true;
}

bool slots_take_failed(struct slots *s, struct slot *out)
{
    uint16_t i = s->failed.head;
    if (i == NONE) {
        return false;
    }
    *out = s->all[i];
    take(s, &s->failed, i);
    put(s, &s->free, i, SLOT_FREE);
    return true;
}

void slots_fail_all(struct slots *s, enum err_kind kind)
{
    while (s->live.head != NONE) {
        uint16_t i = s->live.head;
        take(s, &s->live, i);
        s->all[i].failure = (uint8_t)kind;
        put(s, &s->failed, i, SLOT_FAILED);
    }
    for (size_t i = 0; i < s->count; i++) {
        if (s->all[i].state == SLOT_SILENT) {
            put(s, &s->free, (uint16_t)i, SLOT_FREE);
        }
    }
}

bool slots_silence(struct slots *s, uint64_t stream_id)
{
    bool expected = false;
    for (uint16_t i = s->live.head, next; i != NONE; i = next) {
        next = s->all[i].next;
        if (s->all[i].stream_id == stream_id) {
            take(s, &s->live, i);
            s->all[i].state = SLOT_SILENT;
            expected = true;
        }
    }
    for (uint16_t i = s->failed.head, next; i != NONE; i = next) {
        next = s->all[i].next;
        if (s->all[i].stream_id == stream_id) {
            take(s, &s->failed, i);
            put(s, &s->free, i, SLOT_FREE);
        }
    }
    return expected;
}
