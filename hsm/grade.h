/* What a token's measured rates mean: custody, streams, models. Pure arithmetic. */
#ifndef E2EE_HSM_GRADE_H
#define E2EE_HSM_GRADE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GRADE_STREAM_CHUNKS 50  /* sealed chunks a second of one fast answer; each is one derivation */
#define GRADE_FAST_STREAMS 4    /* so many at once, and the token is fast */
#define GRADE_ROTATION_SHARE 10 /* per cent of the token's time that new keys may take */

struct rate {
    unsigned sessions;
    double per_second;
    unsigned p50_us, p99_us;
};

struct grade_input {
    bool fit;                  /* every check passed */
    const struct rate *derive; /* by ascending number of sessions; without one nothing is graded */
    size_t derive_count;
    double pairs_per_second;    /* made and destroyed */
    double software_per_second; /* derivations by libsecp256k1 on one core: custody session */
    bool keys_on_token;         /* it keeps them in its storage, whatever is asked */
    size_t room;                /* pairs that it holds, 0: not known */
};

struct grade {
    const char *verdict; /* "fast", "moderate" (some streams), "slow" (less than one), "unfit" */
    const char *custody; /* "token", "session"; NULL when unfit */
    double chunks_per_second;
    unsigned sessions;                       /* the fewest that come within 5 % of the best rate */
    uint64_t streams_token, streams_session; /* at GRADE_STREAM_CHUNKS each; the latter for one core */
    uint64_t models;                         /* in use at a time */
    const char *models_limit;                /* what sets it */
    uint64_t pairs_per_year;                 /* for one model in use all the time */
    bool keys_on_token;
};

void grade_token(struct grade *out, const struct grade_input *in);

#endif
