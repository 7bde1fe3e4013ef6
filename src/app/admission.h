/* Who may ask the token for keys. Answers share the token by turns (hsm/queue.h), so that a key comes after about as
 * many derivations as answers claim the token: those that wait for a key now, and those whose first key is still to
 * come. A request that would wait longer than the upstream's time-out is refused at once instead of ending in one. */
#ifndef E2EE_APP_ADMISSION_H
#define E2EE_APP_ADMISSION_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"

/* Shared by all workers. */
struct admission {
    atomic_llong claims;
    atomic_llong
        derive_ns; /* what one derivation costs when many wait, by the keyholder's last word; 0: unknown */
    int64_t limit_ns;
};

/* One answer's claim. Loop thread. */
struct claim {
    struct admission *admission; /* NULL: not admitted (yet) */
    unsigned asked;              /* keys that are awaited */
    bool held;
};

void admission_init(struct admission *a, int64_t limit_ns);
/* False (ERR_TOKEN): *retry_after_s is when it may go better. derive_ns is the keyholder's last word. */
bool admission_enter(struct admission *a, struct claim *claim, int64_t derive_ns, uint16_t *retry_after_s,
                     struct err *err) MUST_CHECK;
/* A key is asked for; one has come or failed. */
void admission_asked(struct claim *claim);
void admission_answered(struct claim *claim);
/* The answer is over. */
void admission_leave(struct claim *claim);
/* How many keys one answer may await: few when the token is slow and shared by many, so that what waits in the keyholder
 * stays about a second's work. */
unsigned admission_window(const struct admission *a);

#endif
