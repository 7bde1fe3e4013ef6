/* Stop sequences over the events of one answer: every choice's content through its own stop_state, the event changed
 * so that rendering or gathering it gives what the client should see. reasoning is not touched.
 *
 * Order for each event: answer_open of all fields, stop_filter_apply, then answer_render or gather_add before the
 * next apply. Once filter->stopped equals the n of the request the upstream transfer may be ended: the client then
 * gets [DONE] (answer_render_done) or the gathered answer, without usage. At the upstream's own [DONE] call
 * stop_filter_done first. One thread. */
#ifndef E2EE_WIRE_STOP_FILTER_H
#define E2EE_WIRE_STOP_FILTER_H

#include <stddef.h>
#include <stdint.h>

#include "wire/answer.h"
#include "wire/gather.h"
#include "wire/stop.h"

struct stop_filter_choice;

struct stop_filter {
    const struct stop_set *set; /* the caller's, outlives the filter */
    struct stop_filter_choice *choices;
    size_t choice_count, choice_cap;
    size_t stopped;   /* choices that met a stop sequence */
    struct buf texts; /* what the changed fields of the last event point into */
    struct buf head;  /* answer_head of the first chunk */
};

void stop_filter_init(struct stop_filter *f, const struct stop_set *set);
void stop_filter_free(struct stop_filter *f);
/* Replaces the texts of the event's content fields; a choice that just stopped gets finish_reason "stop", one that
 * had stopped before is dropped, one that finishes gets what was held back. The event refers to the filter's memory
 * until the next call. ERR_MEMORY. */
bool stop_filter_apply(struct stop_filter *f, struct answer_event *event, struct err *err) MUST_CHECK;
/* The answer ended: what choices without finish_reason still hold goes into gather, or when that is NULL into out
 * as chunks. */
bool stop_filter_done(struct stop_filter *f, struct gather *gather, struct buf *out,
                      struct err *err) MUST_CHECK;

#endif
