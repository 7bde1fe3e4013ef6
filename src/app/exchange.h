/* One chat completion: from the client's body to the last byte of the answer. A state machine on its worker's loop:
 *
 *   parse -> catalogue (wait) -> session (wait) -> seal, send -> answer events -> end
 *                                    ^------------------'  once, when the enclave's key had changed and nothing was
 *                                                          given to the client yet
 *
 * Whatever fails before the first byte becomes an HTTP status, afterwards a last event with OpenAI's error object. */
#ifndef E2EE_APP_EXCHANGE_H
#define E2EE_APP_EXCHANGE_H

#include "app/worker.h"

/* Takes the call and the contents of body; answers sooner or later. */
void exchange_start(struct worker *w, struct http_call *call, struct buf *body);
/* Ends the exchanges whose session is past its grace. */
void exchange_expire(struct worker *w, int64_t now_ns);

#endif
