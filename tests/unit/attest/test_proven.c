/* Signatures that are remembered: the same bytes only, and nothing else about them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>

#include "attest/attest.h"
#include "attest/proven.h"
#include "base/mem.h"
#include "pki/pki.h"

#define NOW 1790000000

static struct proven name_of(const char *a, size_t a_len, const char *b, size_t b_len)
{
    const struct hash_part parts[] = {{a, a_len}, {b, b_len}};
    struct proven name;
    assert_true(proven_name(&name, parts, 2));
    return name;
}

static void only_the_same(void **state)
{
    struct proven one = name_of("ab", 2, "c", 1), other = name_of("a", 1, "bc", 2), more;
    assert_false(proven_has(&one));
    proven_add(&one);
    assert_true(proven_has(&one));
    assert_false(proven_has(&other)); /* the same bytes, cut elsewhere */
    proven_add(&other);
    for (int i = 0; i < PROVEN_MAX; i++) {
        char text[4] = {(char)i, (char)(i >> 8), 2, 3};
        assert_true(proven_has(&one));
        more = name_of(text, 4, "x", 1);
        proven_add(&more);
        assert_true(proven_has(&more));
    }
    assert_true(proven_has(&one));    /* asked for all the time */
    assert_false(proven_has(&other)); /* made room */
    const struct hash_part parts[5] = {{"", 0}};
    assert_false(proven_name(&more, parts, 0));
    assert_false(proven_name(&more, parts, 5));
}

static void while_it_holds(void **state)
{
    struct proven name = name_of("interval", 8, "", 0), empty = name_of("empty", 5, "", 0);
    proven_add_for(&name, (struct proven_interval){100, 200});
    proven_add_for(&empty, (struct proven_interval){100, 100});
    assert_false(proven_has_at(&name, 99));
    assert_true(proven_has_at(&name, 100));
    assert_true(proven_has_at(&name, 199));
    assert_false(proven_has_at(&name, 200));
    assert_false(proven_has_at(&name, INT64_MIN));
    assert_false(proven_has_at(&name, INT64_MAX));
    assert_false(proven_has_at(&empty, 100));
}

static void take(struct buf *out, struct pki_bytes bytes)
{
    buf_reset(out);
    assert_true(buf_append(out, bytes.data, bytes.len));
    pki_bytes_free(&bytes);
}

static void expect(const struct attest_input *in, int64_t now, struct attest_verdict *v, const char *refused)
{
    struct attest_policy policy;
    struct err err = {0};
    policy_init(&policy);
    policy.pins = POLICY_PINS_OFF;
    assert_true(attest_verify(in, &policy, now, v, &err));
    if (refused == NULL ? !v->verified : strncmp(v->reason, refused, strlen(refused)) != 0) {
        fail_msg("%s, expected %s", v->reason, refused != NULL ? refused : "verified");
    }
    policy_free(&policy);
}

/* After a set has verified, and its signatures are known: dates, revocation, signer and every byte count as before. */
static void nothing_else_is_remembered(void **state)
{
    struct pki_spec spec;
    struct collateral c;
    struct err err = {0};
    pki_spec_good(&spec, NOW);
    struct pki *pki = pki_new(&spec), *stranger = pki_new(&spec);
    struct pki_bytes pem = pki_root_pem(pki), other_pem = pki_root_pem(stranger),
                     quote = pki_quote(pki, &spec);
    struct attest_root *root = root_parse(pem.data, pem.len, &err);
    struct attest_root *other = root_parse(other_pem.data, other_pem.len, &err);
    struct attest_verdict *v = mem_alloc(sizeof *v);
    collateral_init(&c);
    take(&c.tcb_info, pki_tcb_info(pki, &spec));
    take(&c.qe_identity, pki_qe_identity(pki, &spec));
    take(&c.tcb_info_chain, pki_signer_chain(pki));
    take(&c.pck_crl, pki_pck_crl(pki));
    take(&c.root_crl, pki_root_crl(pki));
    struct attest_input in = {.quote = quote.data, .quote_len = quote.len, .collateral = &c, .root = root};
    for (int i = 0; i < 3; i++) {
        expect(&in, NOW, v, NULL);
    }
    expect(&in, spec.tcb_until + 1, v, "root.crl: root CRL is outside its validity");
    in.root = other;
    expect(&in, NOW, v, "pck.format");
    in.root = root;
    c.tcb_info.data[c.tcb_info.len - 5] ^= 1; /* a digit of the signature */
    expect(&in, NOW, v, "tcb_info.signature");
    c.tcb_info.data[c.tcb_info.len - 5] ^= 1;
    expect(&in, NOW, v, NULL);
    c.pck_crl.data[c.pck_crl.len - 1] ^= 1;
    expect(&in, NOW, v, "pck.crl: PCK CRL");
    c.pck_crl.data[c.pck_crl.len - 1] ^= 1;
    take(&c.tcb_info_chain, pki_signer_chain(stranger));
    expect(&in, NOW, v, "tcb_info.signature");
    take(&c.tcb_info_chain, pki_signer_chain(pki));
    spec.revoke_signer = true; /* the documents are the same bytes, the list is newer */
    spec.crl_number++;
    pki_renew_crls(pki, &spec);
    take(&c.root_crl, pki_root_crl(pki));
    expect(&in, NOW, v, "tcb_info.signature: the signer was revoked by Intel");
    collateral_free(&c);
    mem_free(v);
    root_free(root);
    root_free(other);
    pki_bytes_free(&pem);
    pki_bytes_free(&other_pem);
    pki_bytes_free(&quote);
    pki_free(pki);
    pki_free(stranger);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_the_same),
        cmocka_unit_test(while_it_holds),
        cmocka_unit_test(nothing_else_is_remembered),
    };
    return cmocka_run_group_tests_name("proven", tests, NULL, NULL);
}
