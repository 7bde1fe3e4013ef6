/* One judgement of a folder's quote by the built-in policy, for the tests over vectors. */
#ifndef E2EE_TESTS_ATTEST_RUN_H
#define E2EE_TESTS_ATTEST_RUN_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "attest/attest.h"
#include "base/mem.h"
#include "vectors.h"

#define OWN_VECTORS E2EE_SOURCE_DIR "/tests/vectors"

struct run {
    struct collateral collateral;
    struct buf quote;
    struct attest_policy policy;
    struct attest_verdict *v;
};

__attribute__((unused)) static void run_init(struct run *r)
{
    collateral_init(&r->collateral);
    buf_init(&r->quote, VECTORS_BYTES_MAX);
    policy_init(&r->policy);
    r->policy.pins = POLICY_PINS_OFF;
    r->v = mem_alloc(sizeof *r->v);
    assert_non_null(r->v);
}

__attribute__((unused)) static void run_free(struct run *r)
{
    collateral_free(&r->collateral);
    buf_free(&r->quote);
    policy_free(&r->policy);
    mem_free(r->v);
}

/* Judges the folder's bare quote. */
__attribute__((unused)) static void judge(struct run *r, const char *dir, int64_t at)
{
    struct err err = {0};
    bool has = collateral_load_folder(&r->collateral, dir, &err);
    assert_true(has || err.kind == ERR_NOT_FOUND);
    buf_free(&r->quote);
    assert_true(vectors_read(&r->quote, dir, "quote.bin"));
    struct attest_input in = {.quote = r->quote.data != NULL ? r->quote.data : (const uint8_t *)"",
                              .quote_len = r->quote.len,
                              .collateral = has ? &r->collateral : NULL};
    if (!attest_verify(&in, &r->policy, at, r->v, &err)) {
        fail_msg("%s: %s", dir, err.message);
    }
}

#endif
