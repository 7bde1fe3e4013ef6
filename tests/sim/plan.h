/*
 * What one answer will be: from the request, the simulator's defaults and the prompt's own words (README.md):
 *   sim:chunks=200,delay_ms=20   sim:fault=bad-tag,at=3   sim:kind=unicode   sim:reply=all the rest of the prompt
 */
#ifndef SIM_PLAN_H
#define SIM_PLAN_H

#include "check.h"

enum key_mode { KEY_BY_FLAVOUR, KEY_PER_FIELD, KEY_PER_RESPONSE };

struct plan_defaults {
    long delay_ms, first_ms, piece;
    enum key_mode key;
    bool prepared;
};
extern struct plan_defaults plan_defaults;

struct plan {
    struct fault_use fault, asked; /* asked: only the prompt's at and value, -1 when not given */
    struct bytes text, reasoning;  /* of choice 0; the others get a prefix */
    long chunks, size;             /* chunks > 0: that many synthetic pieces of size bytes instead of text */
    long delay_ms, first_ms, piece;
    const char *reasoning_field; /* reasoning_content, reasoning, or both */
    char finish[32];
    enum key_mode key; /* never KEY_BY_FLAVOUR */
    int n;
    bool usage, echo_limit;
};

void plan_make(struct plan *plan, const struct chat *chat);
void plan_free(struct plan *plan);

#endif
