/* What `--check` found; internal to it. */
#ifndef E2EE_HSM_CHECK_REPORT_H
#define E2EE_HSM_CHECK_REPORT_H

#include "base/buf.h"
#include "hsm/grade.h"
#include "hsm/key.h"

#define CHECK_STEPS_MAX 12
#define CHECK_DETAIL_BYTES 480
#define CHECK_RATES_MAX 8

struct check_step {
    const char *id;
    const char *result;              /* pass, warn, fail */
    char detail[CHECK_DETAIL_BYTES]; /* why, when not pass; else what was found, or "" */
};

struct check_report {
    struct token token; /* with token.known */
    struct instance instance;
    struct key_set keys;
    struct key_attributes attributes;
    struct check_step steps[CHECK_STEPS_MAX];
    size_t step_count;
    struct rate generate, derive[CHECK_RATES_MAX];
    size_t derive_count;
    double software_per_second;
    struct grade grade;
    bool ok;
};

/* About a second for each rate. sessions: as many as the keyholder would use. False with err when the token failed; what was
 * measured until then is in r. */
bool check_measure(struct check_report *r, unsigned sessions, struct err *err) MUST_CHECK;
void check_put_json(struct buf *out, const struct check_report *r);
void check_put_text(struct buf *out, const struct check_report *r);

#endif
