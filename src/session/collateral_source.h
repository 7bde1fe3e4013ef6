/* Where collateral comes from, and when it is fetched anew (docs/ATTESTATION.md): from Intel's service or a mirror, by way
 * of the cache on disk; or from a file or folder, which is then all there is.
 *
 * A cached set is used until half of its life is over, then fetched anew, at most once an hour. When that fails, what is
 * cached goes on being used; whether it is still valid is for attest_verify to say, by the policy. What was fetched gets
 * into the cache only after evidence was judged by it: a mirror cannot spoil the cache. Blocking; any thread but a loop. */
#ifndef E2EE_SESSION_COLLATERAL_SOURCE_H
#define E2EE_SESSION_COLLATERAL_SOURCE_H

#include "session/seen.h"

#define COLLATERAL_RETRY_S 3600 /* between two attempts to renew what is still valid */

struct collateral_source;

struct collateral_source_options {
    const char *where; /* --collateral: URL, file or folder; NULL: Intel's service. Copied */
    bool unsafe_http;
    const struct seen *seen; /* outlives the source */
    /* For tests: instead of the network. NULL otherwise. */
    bool (*fetch)(void *arg, const struct collateral_key *key, struct collateral *out, struct err *err);
    void *arg;
    int64_t retry_s; /* instead of COLLATERAL_RETRY_S, for tests; 0: that */
    /* After each attempt to fetch; any thread. NULL: nobody counts. */
    void (*on_fetch)(bool ok);
};

enum collateral_origin { COLLATERAL_NONE, COLLATERAL_FILE, COLLATERAL_CACHED, COLLATERAL_FETCHED };

/* What evidence is to be judged by. */
struct collateral_got {
    struct collateral collateral;
    enum collateral_origin origin; /* COLLATERAL_NONE: there is none, problem says why */
    struct err problem;            /* of an attempt to fetch or read; also beside a cached set */
};

struct collateral_source *collateral_source_new(const struct collateral_source_options *options,
                                                struct err *err) MUST_CHECK;
void collateral_source_free(struct collateral_source *source);
/* Whether there is anything to renew: false for files and folders. */
bool collateral_source_online(const struct collateral_source *source);
int64_t collateral_source_retry_s(const struct collateral_source *source);
/* Running and later fetches fail: for shutdown. Any thread. */
void collateral_source_abort(struct collateral_source *source);
/* "Intel's service", "a mirror", "a file" or "a folder", for messages. */
const char *collateral_source_name(const struct collateral_source *source);

void collateral_got_init(struct collateral_got *got);
void collateral_got_free(struct collateral_got *got);
/* Collateral for key at the moment now. again: what was got before does not hold, so fetch whatever its age (but not
 * within a minute of the last attempt). A failure is logged once, until a fetch succeeds. */
void collateral_source_get(struct collateral_source *source, const struct collateral_key *key, int64_t now,
                           bool again, struct collateral_got *got);

/* After *try_other: puts the other set into got. False when there is none. */
bool collateral_source_other(struct collateral_source *source, const struct collateral_key *key, int64_t now,
                             struct collateral_got *got) MUST_CHECK;

/* What a verdict says of the collateral it was made by. */
enum collateral_judgement {
    COLLATERAL_UNJUDGED,  /* an earlier check failed */
    COLLATERAL_AUTHENTIC, /* every piece */
    COLLATERAL_REVOKES, /* the revocation lists are authentic and revoke the platform; the rest was not looked at */
    COLLATERAL_BROKEN /* a piece is forged, foreign, outdated or older than the floor */
};
enum collateral_judgement collateral_judge(const struct attest_verdict *v);

/* After a verdict: raises the floor to what was authenticated, and caches what was fetched and holds. *try_other is
 * set when the collateral is broken and another try is worth while: cached after fetched, fetched after cached.
 * False: the floor could not be kept, and the evidence must not be used. */
bool collateral_source_judged(struct collateral_source *source, const struct collateral_key *key,
                              struct collateral_got *got, const struct attest_verdict *v, bool *try_other,
                              struct err *err) MUST_CHECK;

#endif
