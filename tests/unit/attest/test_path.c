/* Paths that are remembered (attest/certs_path.c): an answer from memory is OpenSSL's, at every moment, for these bytes
 * only. */
#include <pthread.h>

#include "attest/certs.h"
#include "attest/proven.h"
#include "made.h"

#define DAY 86400

struct fixture {
    struct pki_spec spec;
    struct pki *pki;
    struct attest_root *root;
    struct certs chain;
    struct certs_crl root_crl, pck_crl;
};

static void read_crl(struct certs_crl *out, struct pki_bytes der)
{
    struct err err = {0};
    assert_true(certs_crl_parse(out, der.data, der.len, &err));
    pki_bytes_free(&der);
}

static void read_chain(struct certs *out, struct pki_bytes pem, size_t count)
{
    struct err err = {0};
    assert_true(certs_parse(out, (const char *)pem.data, pem.len, count, &err));
    pki_bytes_free(&pem);
}

static void renew_crls(struct fixture *f)
{
    certs_crl_free(&f->root_crl);
    certs_crl_free(&f->pck_crl);
    pki_renew_crls(f->pki, &f->spec);
    read_crl(&f->root_crl, pki_root_crl(f->pki));
    read_crl(&f->pck_crl, pki_pck_crl(f->pki));
}

/* A PKI of its own, so that nothing of it is remembered yet. change may be NULL. */
static void begin(struct fixture *f, void (*change)(struct pki_spec *))
{
    struct err err = {0};
    memset(f, 0, sizeof *f);
    pki_spec_good(&f->spec, MADE_NOW);
    f->spec.root_crl_from = MADE_NOW - 5 * DAY;
    f->spec.root_crl_until = MADE_NOW + 5 * DAY;
    f->spec.pck_crl_from = MADE_NOW - 4 * DAY;
    f->spec.pck_crl_until = MADE_NOW + 4 * DAY;
    if (change != NULL) {
        change(&f->spec);
    }
    f->pki = pki_new(&f->spec);
    struct pki_bytes pem = pki_root_pem(f->pki);
    f->root = root_parse(pem.data, pem.len, &err);
    assert_non_null(f->root);
    pki_bytes_free(&pem);
    read_chain(&f->chain, pki_pck_chain(f->pki), 3);
    read_crl(&f->root_crl, pki_root_crl(f->pki));
    read_crl(&f->pck_crl, pki_pck_crl(f->pki));
}

static void end(struct fixture *f)
{
    certs_free(&f->chain);
    certs_crl_free(&f->root_crl);
    certs_crl_free(&f->pck_crl);
    root_free(f->root);
    pki_free(f->pki);
}

/* 0: accepted. */
static enum err_kind answer(const struct fixture *f, int64_t at)
{
    struct err err = {0};
    bool ok = certs_verify(&f->chain, f->root, &f->root_crl, &f->pck_crl, 0, at, &err);
    return ok ? (enum err_kind)0 : err.kind;
}

static void root_ends_first(struct pki_spec *s)
{
    s->root_crl_from = MADE_NOW - 2 * DAY;
    s->root_crl_until = MADE_NOW + 2 * DAY;
}

static void leaf_ends_first(struct pki_spec *s)
{
    s->cert_until = MADE_NOW + DAY;
}

/* Moments around each date, before anything is remembered and after: the same answers, and the right ones. */
static void edges(void **state)
{
    void (*const changes[])(struct pki_spec *) = {NULL, root_ends_first, leaf_ends_first};
    const int64_t first[] = {-4 * DAY, -2 * DAY, -4 * DAY}, last[] = {4 * DAY, 2 * DAY, DAY};
    (void)state;
    for (size_t c = 0; c < sizeof changes / sizeof changes[0]; c++) {
        /* A list holds to the last second of its nextUpdate; OpenSSL ends a certificate one earlier. */
        bool list_ends = changes[c] != leaf_ends_first;
        const int64_t from = MADE_NOW + first[c], until = MADE_NOW + last[c] + list_ends;
        const int64_t outside[] = {from - 1, from - DAY, until, until + 1, until + DAY, 0, INT32_MAX};
        const int64_t inside[] = {from, from + 1, MADE_NOW, until - 2, until - 1};
        enum err_kind cold[sizeof outside / sizeof outside[0]];
        struct fixture f;
        begin(&f, changes[c]);
        for (size_t i = 0; i < sizeof outside / sizeof outside[0]; i++) {
            cold[i] = answer(&f, outside[i]);
            assert_int_equal(cold[i], ERR_EXPIRED);
        }
        for (int round = 0; round < 2; round++) {
            for (size_t i = 0; i < sizeof inside / sizeof inside[0]; i++) {
                assert_int_equal(answer(&f, inside[i]), 0);
            }
            for (size_t i = 0; i < sizeof outside / sizeof outside[0]; i++) {
                assert_int_equal(answer(&f, outside[i]), cold[i]);
            }
        }
        end(&f);
    }
}

/* Lists may be stale by a policy, certificates never; what passes by that is not remembered for those without it. */
static void stale_lists(void **state)
{
    const int64_t late = MADE_NOW + 3 * DAY; /* the root's list ended a day ago */
    struct err err = {0};
    struct fixture f;
    (void)state;
    begin(&f, root_ends_first);
    for (int i = 0; i < 2; i++) {
        assert_true(certs_verify(&f.chain, f.root, &f.root_crl, &f.pck_crl, DAY, late, &err));
        assert_false(certs_verify(&f.chain, f.root, &f.root_crl, &f.pck_crl, DAY - 1, late, &err));
        assert_int_equal(err.kind, ERR_EXPIRED);
        assert_int_equal(answer(&f, late), ERR_EXPIRED);
        assert_int_equal(answer(&f, MADE_NOW), 0);
    }
    end(&f);
    begin(&f, leaf_ends_first);
    for (int i = 0; i < 2; i++) {
        assert_false(
            certs_verify(&f.chain, f.root, &f.root_crl, &f.pck_crl, 9 * DAY, MADE_NOW + DAY + 1, &err));
        assert_int_equal(err.kind, ERR_EXPIRED);
        assert_int_equal(answer(&f, MADE_NOW), 0);
    }
    end(&f);
}

/* A newer list counts from its first use on; the older one stays what it was (the rollback guard is who refuses it). */
static void revocation_arrives(void **state)
{
    struct fixture f;
    struct certs_crl old_root, old_pck;
    struct err err = {0};
    (void)state;
    begin(&f, NULL);
    assert_int_equal(answer(&f, MADE_NOW), 0);
    read_crl(&old_root, pki_root_crl(f.pki));
    read_crl(&old_pck, pki_pck_crl(f.pki));
    f.spec.crl_number++;
    f.spec.revoke_pck = true;
    renew_crls(&f);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(answer(&f, MADE_NOW), ERR_FORBIDDEN);
        assert_true(certs_verify(&f.chain, f.root, &old_root, &old_pck, 0, MADE_NOW, &err));
    }
    f.spec.revoke_pck = false;
    f.spec.revoke_ca = true;
    renew_crls(&f);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(answer(&f, MADE_NOW), ERR_FORBIDDEN);
    }
    f.spec.revoke_ca = false;
    renew_crls(&f);
    assert_int_equal(answer(&f, MADE_NOW), 0);
    certs_crl_free(&old_root);
    certs_crl_free(&old_pck);
    end(&f);
}

/* Every input counts: another root, another machine, without a list, the lists of another PKI. */
static void every_input_counts(void **state)
{
    struct fixture f, g;
    struct err err = {0};
    struct certs other;
    (void)state;
    begin(&f, NULL);
    begin(&g, NULL);
    assert_int_equal(answer(&f, MADE_NOW), 0);
    assert_false(certs_verify(&f.chain, g.root, &f.root_crl, &f.pck_crl, 0, MADE_NOW, &err));
    assert_false(certs_verify(&f.chain, f.root, &g.root_crl, &f.pck_crl, 0, MADE_NOW, &err));
    assert_false(certs_verify(&f.chain, f.root, &f.root_crl, &g.pck_crl, 0, MADE_NOW, &err));
    assert_false(certs_verify(&f.chain, f.root, &f.root_crl, NULL, 0, MADE_NOW, &err));
    assert_false(certs_verify(&f.chain, f.root, &f.pck_crl, &f.pck_crl, 0, MADE_NOW, &err));
    assert_true(certs_verify(&f.chain, f.root, NULL, NULL, 0, MADE_NOW, &err));
    assert_false(certs_verify(&f.chain, g.root, NULL, NULL, 0, MADE_NOW, &err));
    pki_renew_pck(f.pki, &f.spec, 7); /* the same CA, another key and serial */
    f.spec.revoke_pck = true;
    renew_crls(&f);
    assert_int_equal(answer(&f, MADE_NOW), 0); /* serial 3 is not in this list */
    read_chain(&other, pki_pck_chain(f.pki), 3);
    assert_false(certs_verify(&other, f.root, &f.root_crl, &f.pck_crl, 0, MADE_NOW, &err));
    assert_int_equal(err.kind, ERR_FORBIDDEN);
    certs_free(&other);
    end(&f);
    end(&g);
}

/* The PCK certificate with any byte changed, key and names the same or not. */
static void leaf_changed(void **state)
{
    struct fixture f;
    (void)state;
    begin(&f, NULL);
    struct pki_bytes pem = pki_pck_chain(f.pki);
    size_t end_of_leaf = (size_t)(strstr((char *)pem.data, "-----END") - (char *)pem.data), parsed = 0;
    assert_int_equal(answer(&f, MADE_NOW), 0);
    for (size_t i = strlen("-----BEGIN CERTIFICATE-----\n"); i < end_of_leaf; i++) {
        const uint8_t was = pem.data[i];
        struct certs changed;
        struct err err = {0};
        pem.data[i] = was == 'A' ? 'B' : 'A';
        if (was != '\n' && was != '=' && certs_parse(&changed, (char *)pem.data, pem.len, 3, &err)) {
            parsed++;
            assert_false(certs_verify(&changed, f.root, &f.root_crl, &f.pck_crl, 0, MADE_NOW, &err));
            certs_free(&changed);
        }
        pem.data[i] = was;
    }
    assert_true(parsed > 100);
    assert_int_equal(answer(&f, MADE_NOW), 0);
    pki_bytes_free(&pem);
    end(&f);
}

struct job {
    const struct fixture *good, *revoked;
    unsigned seed, wrong;
};

static void *work(void *arg)
{
    struct job *job = arg;
    for (unsigned i = 0; i < 80; i++) {
        struct proven name;
        struct err err = {0};
        unsigned junk[2] = {job->seed, i};
        const struct hash_part part = {junk, sizeof junk};
        job->wrong += answer(job->good, MADE_NOW) != 0;
        job->wrong += answer(job->good, MADE_NOW + 4 * DAY + 1) != ERR_EXPIRED;
        job->wrong += i % 20 == 0 && answer(job->revoked, MADE_NOW) != ERR_FORBIDDEN;
        struct pki_bytes pem = pki_pck_chain(job->good->pki);
        struct certs chain;
        job->wrong += !certs_parse(&chain, (const char *)pem.data, pem.len, 3, &err);
        certs_free(&chain);
        pki_bytes_free(&pem);
        if (proven_name(&name, &part, 1)) { /* makes room again and again */
            proven_add(&name);
            (void)proven_has(&name); /* or another thread has made room since */
        }
    }
    return NULL;
}

static void many_threads(void **state)
{
    struct fixture good, revoked;
    struct job jobs[4];
    pthread_t threads[4];
    (void)state;
    begin(&good, NULL);
    begin(&revoked, NULL);
    assert_int_equal(answer(&revoked, MADE_NOW), 0);
    revoked.spec.revoke_pck = true;
    renew_crls(&revoked);
    for (unsigned i = 0; i < 4; i++) {
        jobs[i] = (struct job){&good, &revoked, i, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, work, &jobs[i]), 0);
    }
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(jobs[i].wrong, 0);
    }
    end(&good);
    end(&revoked);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(edges),
        cmocka_unit_test(stale_lists),
        cmocka_unit_test(revocation_arrives),
        cmocka_unit_test(every_input_counts),
        cmocka_unit_test(leaf_changed),
        cmocka_unit_test(many_threads),
    };
    return cmocka_run_group_tests_name("path", tests, NULL, NULL);
}
