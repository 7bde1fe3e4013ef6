#include "app/admission.h"

#include "base/clock.h"

#define WINDOW_MAX 32 /* as many as one read from the upstream gives, about */
#define WINDOW_MIN 2  /* one that is worked on and one that waits: the token never idles */
#define WINDOW_NS CLOCK_NS_PER_S
#define RETRY_MAX_S 300

void admission_init(struct admission *a, int64_t limit_ns)
{
    atomic_init(&a->claims, 0);
    atomic_init(&a->derive_ns, 0);
    a->limit_ns = limit_ns;
}

static void hold(struct claim *claim)
{
    if (!claim->held) {
        claim->held = true;
        atomic_fetch_add_explicit(&claim->admission->claims, 1, memory_order_relaxed);
    }
}

static void release(struct claim *claim)
{
    if (claim->held) {
        claim->held = false;
        atomic_fetch_sub_explicit(&claim->admission->claims, 1, memory_order_relaxed);
    }
}

bool admission_enter(struct admission *a, struct claim *claim, int64_t derive_ns, uint16_t *retry_after_s,
                     struct err *err)
{
    *claim = (struct claim){.admission = a};
    *retry_after_s = 0;
    atomic_store_explicit(&a->derive_ns, derive_ns, memory_order_relaxed);
    hold(claim); /* first, so that many at once see each other */
    long long claims = atomic_load_explicit(&a->claims, memory_order_relaxed);
    int64_t most = derive_ns > 0 ? a->limit_ns / derive_ns : INT64_MAX; /* claims that fit the limit */
    if (claims <= most || claims <= 1) {
        return true;
    }
    release(claim);
    claim->admission = NULL;
    int64_t over_s = (claims - most) * derive_ns / CLOCK_NS_PER_S + 1;
    *retry_after_s = (uint16_t)(over_s < RETRY_MAX_S ? over_s : RETRY_MAX_S);
    return err_set(err, ERR_TOKEN,
                   "%lld answers share a token that takes %lld ms for a key: yours would wait longer than "
                   "--upstream-timeout; try later",
                   claims - 1, (long long)(derive_ns / CLOCK_NS_PER_MS));
}

void admission_asked(struct claim *claim)
{
    if (claim->asked++ == 0 && claim->admission != NULL) {
        hold(claim);
    }
}

void admission_answered(struct claim *claim)
{
    if (--claim->asked == 0 && claim->admission != NULL) {
        release(claim);
    }
}

void admission_leave(struct claim *claim)
{
    if (claim->admission != NULL) {
        release(claim);
    }
    *claim = (struct claim){0};
}

unsigned admission_window(const struct admission *a)
{
    int64_t claims = atomic_load_explicit(&a->claims, memory_order_relaxed);
    int64_t round_ns = claims * atomic_load_explicit(&a->derive_ns, memory_order_relaxed);
    if (round_ns <= WINDOW_NS / WINDOW_MAX) {
        return WINDOW_MAX;
    }
    int64_t n = WINDOW_NS / round_ns;
    return n < WINDOW_MIN ? WINDOW_MIN : (unsigned)n;
}
