/* Made-up evidence, judged: the PKI of tests/pki in front of attest_verify. */
#ifndef E2EE_TESTS_ATTEST_MADE_H
#define E2EE_TESTS_ATTEST_MADE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>

#include "attest/attest.h"
#include "base/mem.h"
#include "pki/pki.h"

#define MADE_NOW 1790000000

struct made {
    struct attest_policy policy;
    struct attest_verdict *v;
    struct attest_floor floor;
    int64_t at;
    bool intel_root;             /* judge by Intel's root instead of the made one */
    size_t flip;                 /* byte of the quote that is changed behind its signature; 0: none */
    const char *members, *model; /* of a body around the quote; what was asked for. NULL: a bare quote */
};

__attribute__((unused)) static void made_init(struct made *m)
{
    memset(m, 0, sizeof *m);
    policy_init(&m->policy);
    m->policy.pins = POLICY_PINS_OFF;
    m->at = MADE_NOW;
    m->v = mem_alloc(sizeof *m->v);
    assert_non_null(m->v);
}

__attribute__((unused)) static void made_free(struct made *m)
{
    policy_free(&m->policy);
    mem_free(m->v);
}

static void made_take(struct buf *out, struct pki_bytes bytes)
{
    assert_true(buf_append(out, bytes.data, bytes.len));
    pki_bytes_free(&bytes);
}

/* Makes evidence of spec and judges it into m->v. */
__attribute__((unused)) static void made_judge(struct made *m, const struct pki_spec *spec)
{
    struct err err = {0};
    struct collateral c;
    struct pki *pki = pki_new(spec);
    struct pki_bytes quote = pki_quote(pki, spec), pem = pki_root_pem(pki);
    struct attest_root *root = root_parse(pem.data, pem.len, &err);
    assert_non_null(root);
    collateral_init(&c);
    made_take(&c.tcb_info, pki_tcb_info(pki, spec));
    made_take(&c.qe_identity, pki_qe_identity(pki, spec));
    made_take(&c.tcb_info_chain, pki_signer_chain(pki));
    made_take(&c.pck_crl, pki_pck_crl(pki));
    made_take(&c.root_crl, pki_root_crl(pki));
    struct buf body;
    buf_init(&body, 65536);
    quote.data[m->flip] ^= m->flip > 0;
    if (m->members != NULL) {
        buf_append_str(&body, "{\"intel_quote\":\"");
        buf_append_hex(&body, quote.data, quote.len);
        assert_true(buf_appendf(&body, "\"%s}", m->members));
    }
    struct attest_input in = {.quote = quote.data,
                              .quote_len = quote.len,
                              .body = m->members != NULL ? buf_cstr(&body) : NULL,
                              .body_len = body.len,
                              .model = m->model,
                              .collateral = &c,
                              .floor = m->floor,
                              .root = m->intel_root ? NULL : root};
    if (!attest_verify(&in, &m->policy, m->at, m->v, &err)) {
        fail_msg("%s", err.message);
    }
    buf_free(&body);
    collateral_free(&c);
    root_free(root);
    pki_bytes_free(&quote);
    pki_bytes_free(&pem);
    pki_free(pki);
}

/* check NULL: verified; else refused first by that check. */
__attribute__((unused)) static void made_expect(const struct made *m, const char *name, const char *check)
{
    const char *reason = m->v->reason;
    if (check == NULL
            ? !m->v->verified
            : m->v->verified || strncmp(reason, check, strlen(check)) != 0 || reason[strlen(check)] != ':') {
        fail_msg("%s: %s %s, expected %s", name, m->v->verified ? "verified" : "refused", reason,
                 check != NULL ? check : "verified");
    }
}

#endif
