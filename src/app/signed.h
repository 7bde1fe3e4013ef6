/* Signatures of answers ([attestation] signatures): asked for when an answer is at its end, compared with the address of
 * the attested key (attest/signature.h says what that proves, which is little). On the exchange's loop; nothing blocks.
 */
#ifndef E2EE_APP_SIGNED_H
#define E2EE_APP_SIGNED_H

#include <pthread.h>
#include <stdint.h>

#include "base/err.h"
#include "crypto/point.h"
#include "session/budget.h"

struct worker;
struct signed_lookup;

enum signed_mode { SIGNED_OFF, SIGNED_REPORT, SIGNED_REQUIRE };

/* Shared by the workers: the provider answers so many questions a minute and address. */
struct signed_answers {
    enum signed_mode mode;
    pthread_mutex_t lock;
    struct budget budget;
};

/* word: off, report or require. Before any worker runs. */
void signed_init(struct signed_answers *s, const char *word);
/* Takes one question from the budget. False, ERR_BUSY: none is left for *wait_s seconds (may be NULL). Any thread. */
bool signed_take(struct signed_answers *s, uint16_t *wait_s, struct err *err) MUST_CHECK;

/* Outcome of a look-up, once: err ERR_NONE and text (one static line) when the attested key has signed, else
 * ERR_ATTESTATION and why. The look-up is gone when this is called. */
typedef void (*signed_done_cb)(void *arg, const char *text, const struct err *err);

/* Asks for the signature of the completion id; the first question is paid for (signed_take). A 404 is asked again, for
 * another node of the provider's may have answered. address is copied. NULL with ERR_ATTESTATION for an answer without
 * id, ERR_MEMORY. done comes from the loop, never from inside this. */
struct signed_lookup *signed_lookup_start(struct worker *w, const char *model, const char *id,
                                          const uint8_t address[static ETH_ADDRESS_BYTES],
                                          signed_done_cb done, void *arg, struct err *err) MUST_CHECK;
/* done will not be called. NULL is fine. */
void signed_lookup_cancel(struct signed_lookup *l);

#endif
