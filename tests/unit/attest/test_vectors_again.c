/* What is remembered changes no verdict: each vector at its own moment and around every date of its certificates and
 * lists, judged by a process that remembers nothing, must come out the same in one that has judged all the others. */
#include <dirent.h>
#include <openssl/x509.h>
#include <sys/wait.h>
#include <unistd.h>

#include "attest/certs.h"
#include "attest/quote.h"
#include "run.h"

#define CASES_MAX 4096
#ifdef E2EE_SANITIZED
#define STRIDE 11 /* of the moments; each needs a process of its own */
#else
#define STRIDE 5
#endif

struct one {
    char dir[1400];
    int64_t at, stale;
    uint8_t verdict[SHA256_BYTES]; /* of its JSON */
};

static struct one cases[CASES_MAX];
static size_t count;

static void hash_verdict(struct run *r, const struct one *c, uint8_t out[static SHA256_BYTES])
{
    struct buf json;
    buf_init(&json, VECTORS_BYTES_MAX);
    r->policy.allow_stale_s = c->stale;
    judge(r, c->dir, c->at);
    assert_true(verdict_to_json(r->v, &json, NULL));
    assert_true(hash_sha256(out, json.data, json.len));
    buf_free(&json);
}

/* In a child that has judged nothing yet. */
static void judge_cold(struct one *c)
{
    int ends[2], status;
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct run r;
        uint8_t hash[SHA256_BYTES];
        run_init(&r);
        hash_verdict(&r, c, hash);
        _exit(write(ends[1], hash, sizeof hash) == (ssize_t)sizeof hash ? 0 : 1);
    }
    close(ends[1]);
    assert_int_equal(read(ends[0], c->verdict, sizeof c->verdict), sizeof c->verdict);
    close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void add(const char *dir, int64_t at)
{
    static unsigned moments;
    for (int64_t d = -1; d <= 1; d++) {
        for (int64_t stale = 0; stale <= 86400; stale += 86400) {
            if (moments++ % STRIDE == 0) {
                assert_true(count < CASES_MAX);
                struct one *c = &cases[count++];
                snprintf(c->dir, sizeof c->dir, "%s", dir);
                c->at = at + d;
                c->stale = stale;
            }
        }
    }
}

static void add_certs(const char *dir, const char *pem, size_t len, size_t n)
{
    struct certs certs;
    int64_t date;
    if (certs_parse(&certs, pem, len, n, NULL)) {
        for (size_t i = 0; i + 1 < n; i++) {
            assert_true(certs_time(X509_get0_notBefore(certs.cert[i]), &date));
            add(dir, date);
            assert_true(certs_time(X509_get0_notAfter(certs.cert[i]), &date));
            add(dir, date);
        }
        certs_free(&certs);
    }
}

static void add_crl(const char *dir, const struct buf *der)
{
    struct certs_crl crl;
    if (certs_crl_parse(&crl, der->data, der->len, NULL)) {
        add(dir, crl.from);
        add(dir, crl.until);
        certs_crl_free(&crl);
    }
}

static void add_folder(const char *dir)
{
    struct vector_expectation e;
    struct collateral c;
    struct buf quote;
    struct quote q;
    assert_true(vectors_expectation(&e, dir));
    add(dir, e.has_at ? e.at : 1781056027);
    collateral_init(&c);
    if (collateral_load_folder(&c, dir, NULL)) {
        add_crl(dir, &c.root_crl);
        add_crl(dir, &c.pck_crl);
        add_certs(dir, (const char *)c.tcb_info_chain.data, c.tcb_info_chain.len, 2);
        if (vectors_read(&quote, dir, "quote.bin") && quote_parse(&q, quote.data, quote.len, NULL)) {
            add_certs(dir, q.pck_pem, q.pck_pem_len, 3);
        }
        buf_free(&quote);
    }
    collateral_free(&c);
}

static void add_all(const char *vectors)
{
    static const char *const groups[] = {"pos", "neg", "policy", "sigonly"};
    for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++) {
        char dir[1100], path[1400];
        snprintf(dir, sizeof dir, "%s/%s", vectors, groups[i]);
        DIR *d = opendir(dir);
        for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
            snprintf(path, sizeof path, "%s/%s/quote.bin", dir, e->d_name);
            if (e->d_name[0] != '.' && access(path, F_OK) == 0) {
                *strrchr(path, '/') = '\0';
                add_folder(path);
            }
        }
        if (d != NULL) {
            closedir(d);
        }
    }
}

static void again(void **state)
{
    const char *shared = vectors_shared();
    unsigned seed = 1;
    struct run r;
    (void)state;
    add_all(shared != NULL ? shared : OWN_VECTORS);
    assert_true(count > 40);
    for (size_t i = 0; i < count; i++) {
        judge_cold(&cases[i]);
    }
    run_init(&r);
    for (int round = 0; round < 2; round++) {
        for (size_t i = count - 1; i > 0; i--) { /* shuffled, the same way each time */
            seed = seed * 1103515245U + 12345U;
            size_t j = (seed >> 8) % (i + 1);
            struct one swap = cases[i];
            cases[i] = cases[j];
            cases[j] = swap;
        }
        for (size_t i = 0; i < count; i++) {
            uint8_t hash[SHA256_BYTES];
            hash_verdict(&r, &cases[i], hash);
            if (memcmp(hash, cases[i].verdict, sizeof hash) != 0) {
                fail_msg("%s at %lld, stale %lld: another verdict than at first", cases[i].dir,
                         (long long)cases[i].at, (long long)cases[i].stale);
            }
        }
    }
    print_message("%zu judgements, each three times\n", count);
    run_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(again)};
    return cmocka_run_group_tests_name("vectors again", tests, NULL, NULL);
}
