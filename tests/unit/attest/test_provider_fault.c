/* Evidence while one allocation of OpenSSL's fails, each in turn: what is not good is not accepted, and nothing of the lack stays. */
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <openssl/crypto.h>

#include "attest/certs.h"
#include "made.h"

static size_t countdown; /* 0: off */

static void *fault_malloc(size_t size, const char *file, int line)
{
    return countdown > 0 && --countdown == 0 ? NULL : malloc(size);
}

static void *fault_realloc(void *p, size_t size, const char *file, int line)
{
    return countdown > 0 && --countdown == 0 ? NULL : realloc(p, size);
}

static void fault_free(void *p, const char *file, int line)
{
    free(p);
}

/* A process for each takes its time. */
#ifdef E2EE_SANITIZED
#define STEP 41
#else
#define STEP 3
#endif

struct evidence {
    struct pki_bytes root, chain, root_crl, pck_crl;
};

static bool accepted(const struct evidence *e)
{
    struct err err = {0};
    struct certs chain = {0};
    struct certs_crl root_crl = {0}, pck_crl = {0};
    struct attest_root *root = root_parse(e->root.data, e->root.len, &err);
    bool ok =
        root != NULL && certs_parse(&chain, (const char *)e->chain.data, e->chain.len, PCK_CHAIN, &err) &&
        certs_end_in(&chain, root) && certs_crl_parse(&root_crl, e->root_crl.data, e->root_crl.len, &err) &&
        certs_crl_parse(&pck_crl, e->pck_crl.data, e->pck_crl.len, &err) &&
        certs_crl_issued_by(&root_crl, root_certificate(root), &err) &&
        certs_crl_issued_by(&pck_crl, chain.cert[1], &err) &&
        certs_verify(&chain, root, &root_crl, &pck_crl, 0, MADE_NOW, &err);
    certs_free(&chain);
    certs_crl_free(&root_crl);
    certs_crl_free(&pck_crl);
    root_free(root);
    return ok;
}

/* In a process of its own, where nothing is made or remembered yet. 0 as it should be, 1 the fault was not reached, else what. */
static int judge(const struct evidence *e, bool good, size_t nth)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        countdown = nth;
        bool once = accepted(e);
        bool reached = countdown == 0;
        countdown = 0;
        int code = !reached ? 1 : 0;
        code = once && !good ? 2 : code;
        code = accepted(e) != good ? 3 : code;
        _exit(code);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 100 + WTERMSIG(status);
}

static struct evidence make(void (*change)(struct pki_spec *))
{
    struct pki_spec spec;
    pki_spec_good(&spec, MADE_NOW);
    if (change != NULL) {
        change(&spec);
    }
    struct pki *pki = pki_new(&spec);
    struct evidence e = {pki_root_pem(pki), pki_pck_chain(pki), pki_root_crl(pki), pki_pck_crl(pki)};
    pki_free(pki);
    return e;
}

static void unmake(struct evidence *e)
{
    pki_bytes_free(&e->root);
    pki_bytes_free(&e->chain);
    pki_bytes_free(&e->root_crl);
    pki_bytes_free(&e->pck_crl);
}

static void each_allocation(struct evidence e, bool good, size_t step)
{
    int code = 0;
    size_t nth = 1;
    for (; code == 0; nth += step) {
        code = judge(&e, good, nth);
        if (code > 1) {
            print_message("allocation %zu: %d\n", nth, code);
            if (getenv("GO_ON"))
                code = 0;
            else
                fail();
        }
    }
    assert_true(nth > 1000);
    unmake(&e);
}

static void revoke_leaf(struct pki_spec *s)
{
    s->revoke_pck = true;
}

static void of_good_evidence(void **state)
{
    each_allocation(make(NULL), true, STEP);
}

static void revoked(void **state)
{
    each_allocation(make(revoke_leaf), false, 7 * STEP);
}

/* The last byte is of the signature, under a valid length. */
static void forged(void **state)
{
    struct evidence e = make(NULL);
    e.pck_crl.data[e.pck_crl.len - 1] ^= 1;
    each_allocation(e, false, 7 * STEP);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(of_good_evidence), cmocka_unit_test(revoked),
                                       cmocka_unit_test(forged)};
    if (CRYPTO_set_mem_functions(fault_malloc, fault_realloc, fault_free) != 1) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
