/* Shared by the files of the verifier. */
#ifndef E2EE_APP_VERIFIER_INTERNAL_H
#define E2EE_APP_VERIFIER_INTERNAL_H

#include <pthread.h>

#include "app/verifier.h"
#include "session/collateral_keeper.h"
#include "session/quota.h"

#define VERIFIER_OUTCOMES_MAX 256

/* A policy in force; counted, for verifications go on by theirs while SIGHUP brings the next. */
struct policy_ref {
    unsigned refs; /* under the verifier's lock */
    struct attest_policy policy;
};

struct verifier {
    const struct config *config;
    struct upstream_config *upstream;
    struct attest_root *root;
    struct seen *seen;
    struct collateral_source *source;
    struct collateral_keeper *keeper;  /* NULL: not started */
    struct quota *quota;               /* of requests for evidence, this machine's */
    struct nras_fetch *nras;           /* NULL: off */
    pthread_mutex_t pins_lock;         /* of the next, and around what we store; taken before nothing else */
    uint8_t pins_digest[SHA256_BYTES]; /* of the stored pins that our sessions were accepted by */
    pthread_mutex_t lock;              /* of what follows */
    struct policy_ref *policy;
    struct verifier_outcome outcomes[VERIFIER_OUTCOMES_MAX];
    size_t outcome_count;
};

/* The policy in force now, with a reference. */
struct policy_ref *verifier_policy_get(struct verifier *v);
void verifier_policy_put(struct verifier *v, struct policy_ref *ref);

/* Judges out's body by the collateral that belongs to it and by the stored pins. False when no verdict was reached. */
bool verifier_judge(struct verifier *v, const char *model, struct verification *out,
                    struct err *err) MUST_CHECK;
/* Stores what is verified for the first time. */
bool verifier_first_use(struct verifier *v, const char *model, struct verification *out,
                        struct err *err) MUST_CHECK;
/* Remembers the outcome for verifier_visit, and logs what passed with a warning. */
void verifier_note(struct verifier *v, const char *model, const struct attest_verdict *verdict);

#endif
