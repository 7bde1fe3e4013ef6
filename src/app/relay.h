/* The answer of one exchange: upstream bytes in, events to the client or one gathered completion out. Writes through the
 * call, never ends it unless it says so. Loop thread. */
#ifndef E2EE_APP_RELAY_H
#define E2EE_APP_RELAY_H

#include "app/queue.h"
#include "app/worker.h"
#include "wire/openai_error.h"
#include "wire/request.h"

struct relay;

enum relay_state {
    RELAY_GOES_ON,
    RELAY_COMPLETE,        /* call relay_finish; the upstream's further bytes are not needed. Stays so */
    RELAY_FAILED,          /* err says why */
    RELAY_UPSTREAM_FAILED, /* *upstream is the upstream's own error; valid until relay_free */
};

/* info, session and claim are kept by reference. on_key is called from the loop when a key came (err NULL: call
 * relay_advance) or could not be had. */
struct relay *relay_new(struct worker *w, struct http_call *call, struct session *session,
                        const struct request_info *info, uint64_t stream_id, struct claim *claim,
                        void (*on_key)(void *arg, const struct err *err), void *arg,
                        struct err *err) MUST_CHECK;
/* Cancels what is asked of the keyholder, wipes. NULL is fine. */
void relay_free(struct relay *r);
/* Bytes of the upstream's 200 answer. Where they break a rule, relay_advance fails once all events before that place have
 * left. False: they did, and no more is wanted. What follows [DONE] is ignored. */
bool relay_feed(struct relay *r, const uint8_t *data, size_t len) MUST_CHECK;
/* No more bytes come. why: ERR_NONE at the answer's regular end; else relay_advance fails with it once all that came before
 * has left. */
void relay_end_of_stream(struct relay *r, const struct err *why);
/* Opens and writes whatever is ready. */
enum relay_state relay_advance(struct relay *r, const struct upstream_error **upstream, struct err *err);
/* True when client or token are too slow for more bytes from the upstream. */
bool relay_should_pause(const struct relay *r);
/* When every choice has met a stop sequence, reads on to the upstream's [DONE]. Before the first byte. */
void relay_read_to_the_end(struct relay *r);
/* True when the upstream sent its [DONE], false when only stop sequences have ended the answer. */
bool relay_upstream_finished(const struct relay *r);
/* The completion's id as the upstream gave it, "" before it did. */
const char *relay_answer_id(const struct relay *r);
/* Writes what can be written before the call is ended, so that a client need not wait for it. */
void relay_flush(struct relay *r);
/* Ends the call with the rest of the stream or the gathered completion. comment, one line, stands before a stream's
 * [DONE]; may be NULL. On failure the call is not ended. */
bool relay_finish(struct relay *r, const char *comment, struct err *err) MUST_CHECK;

#endif
