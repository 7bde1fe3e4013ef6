/* Microseconds of CPU that one verification takes, its collateral in memory as bytes.
 *
 * bench_verify N DIR: DIR's quote again and again, as serve gets quotes of the same machine at each rotation: what is
 * remembered (attest/proven.h) is known.
 * bench_verify N --first: the same kind of quote, each from a machine that is not remembered. Only what is said of the
 * collateral is known.
 * bench_verify N --new: each with collateral, CA and root of its own, so that nothing at all is known. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "attest/attest.h"
#include "attest/proven.h"
#include "base/mem.h"
#include "base/text.h"
#include "pki/pki.h"

#define AT 1790000000
#define MACHINES (PROVEN_MAX + 32) /* more than are remembered, so that a round later each is new again */

struct set {
    struct buf quote[MACHINES];
    size_t count;
    struct collateral collateral;
    struct attest_root *root;
};

static bool load(struct set *s, const char *dir, struct err *err)
{
    char path[1024];
    struct buf pem;
    buf_init(&pem, 65536);
    buf_init(&s->quote[0], 65536);
    s->count = 1;
    snprintf(path, sizeof path, "%s/quote.bin", dir);
    bool ok = text_read_file(&s->quote[0], path, err);
    snprintf(path, sizeof path, "%s/root.pem", dir);
    ok = ok && text_read_file(&pem, path, err) && collateral_load_folder(&s->collateral, dir, err) &&
         (s->root = root_parse(pem.data, pem.len, err)) != NULL;
    buf_free(&pem);
    return ok;
}

static void clear(struct set *s)
{
    for (size_t i = 0; i < s->count; i++) {
        buf_free(&s->quote[i]);
    }
    root_free(s->root);
    collateral_free(&s->collateral);
    s->root = NULL;
    s->count = 0;
}

static void take(struct buf *out, struct pki_bytes bytes)
{
    buf_append(out, bytes.data, bytes.len);
    pki_bytes_free(&bytes);
}

/* Anew, with quotes of so many machines. */
static bool make(struct set *s, size_t machines, struct err *err)
{
    struct pki_spec spec;
    pki_spec_good(&spec, AT);
    struct pki *pki = pki_new(&spec);
    struct pki_bytes pem = pki_root_pem(pki);
    s->root = root_parse(pem.data, pem.len, err);
    pki_bytes_free(&pem);
    take(&s->collateral.tcb_info, pki_tcb_info(pki, &spec));
    take(&s->collateral.qe_identity, pki_qe_identity(pki, &spec));
    take(&s->collateral.tcb_info_chain, pki_signer_chain(pki));
    take(&s->collateral.pck_crl, pki_pck_crl(pki));
    take(&s->collateral.root_crl, pki_root_crl(pki));
    for (s->count = 0; s->count < machines; s->count++) {
        pki_renew_pck(pki, &spec, 100 + (long)s->count);
        buf_init(&s->quote[s->count], 65536);
        take(&s->quote[s->count], pki_quote(pki, &spec));
    }
    pki_free(pki);
    return s->root != NULL;
}

static bool verify(const struct set *s, const struct attest_policy *policy, size_t i, struct err *err)
{
    static struct attest_verdict v;
    const struct buf *quote = &s->quote[i % s->count];
    struct attest_input input = {
        .quote = quote->data, .quote_len = quote->len, .collateral = &s->collateral, .root = s->root};
    return attest_verify(&input, policy, AT, &v, err) &&
           (v.verified || err_set(err, ERR_ATTESTATION, "%s", v.reason));
}

static double cpu_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

int main(int argc, char **argv)
{
    static struct set s;
    struct attest_policy policy;
    struct err err = {0};
    double took = 0;
    size_t count = argc == 3 ? strtoul(argv[1], NULL, 10) : 0;
    if (count == 0) {
        fprintf(stderr, "usage: bench_verify N DIR|--first|--new\n");
        return 2;
    }
    bool fresh = strcmp(argv[2], "--new") == 0, first = strcmp(argv[2], "--first") == 0;
    policy_init(&policy);
    policy.pins = POLICY_PINS_OFF;
    collateral_init(&s.collateral);
    bool ok = fresh || first ? make(&s, fresh ? 1 : MACHINES, &err) : load(&s, argv[2], &err);
    ok = ok && verify(&s, &policy, s.count - 1, &err); /* OpenSSL sets itself up, and the set is known then */
    for (size_t i = 0; ok && i < count; i++) {
        if (fresh) {
            clear(&s);
            ok = make(&s, 1, &err);
        }
        double began = cpu_us();
        ok = ok && verify(&s, &policy, i, &err);
        took += cpu_us() - began;
    }
    if (ok) {
        printf("%.1f\n", took / (double)count);
    } else {
        fprintf(stderr, "%s\n", err.message);
    }
    clear(&s);
    policy_free(&policy);
    return ok ? 0 : 1;
}
