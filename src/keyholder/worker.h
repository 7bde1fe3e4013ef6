/* One loop's connection to the keyholder: derives response keys without waiting. The loop's thread only, apart from
 * what the control object does inside.
 *
 * All requests of one turn of the loop leave in one write; answers come in any order. Records are pooled: no heap
 * allocation for a derive in steady state, save the key itself on the secure heap. */
#ifndef E2EE_KEYHOLDER_WORKER_H
#define E2EE_KEYHOLDER_WORKER_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/secret.h"
#include "crypto/point.h"
#include "keyholder/control.h"

struct event_base;
struct keyholder_worker;

/* One answer. key is the response key (AEAD_KEY_BYTES), to be moved from (secret_move) or left to be wiped, and
 * err NULL; or key is NULL and err says why: ERR_TOKEN, ERR_KEY_GONE, ERR_BUSY, ERR_PIN, ERR_INVALID (point refused).
 * ns is the time since keyholder_derive, for the latency histogram. Called from the event loop, never from inside
 * keyholder_derive or keyholder_cancel; may call both. */
typedef void (*keyholder_derive_cb)(void *arg, struct secret *key, const struct err *err, int64_t ns);

/* index is the worker's number, 0 upwards and below LIMIT_KEYHOLDER_WORKERS: over a channel it gets that descriptor.
 * Connects in the background and again whenever a keyholder comes back. */
struct keyholder_worker *keyholder_worker_new(struct event_base *base, struct keyholder_control *control,
                                              unsigned index, struct err *err) MUST_CHECK;
/* Drops what is pending (no callback is called) and closes. Not from inside a callback. NULL is fine. */
void keyholder_worker_free(struct keyholder_worker *worker);

/* Asks for the response key of server_point under key. stream_id names the caller's request (64 bits, unique in the
 * worker, not 0) for keyholder_cancel. False, and no callback: ERR_KEY_GONE (past generation), ERR_TOKEN (no
 * keyholder), ERR_BUSY (LIMIT_KEYIPC_PENDING reached), ERR_MEMORY. True: exactly one callback, unless cancelled; after
 * the options' wait_ms without an answer it is ERR_TOKEN, or after LIMIT_TOKEN_CALL_S when the keyholder answered nothing
 * at all for so long, which is reported as hung. A lost connection fails all that is pending: ERR_TOKEN, or ERR_KEY_GONE when the keyholder is
 * gone too. */
bool keyholder_derive(struct keyholder_worker *worker, struct keyholder_key key, uint64_t stream_id,
                      const uint8_t server_point[static POINT_BYTES], keyholder_derive_cb cb, void *arg,
                      struct err *err) MUST_CHECK;
/* No callback of stream_id comes any more; what the keyholder has queued for it is dropped there too. */
void keyholder_cancel(struct keyholder_worker *worker, uint64_t stream_id);
/* Derives that await their callback. */
size_t keyholder_worker_pending(const struct keyholder_worker *worker);

#endif
