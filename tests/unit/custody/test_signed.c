/* audit verify with a key: rewriting, cuts, another key, repeated checkpoints, lines that were signed as found. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "custody/verify.h"
#include "fault.h"

static char path[64], said[8192];
static EVP_PKEY *pkeys[2];
static struct signature_key *keys[2];

/* The log that is made. */
static struct buf text;
static struct chain_head head;
static struct chain_head heads[64]; /* by number */

static int begin_all(void **state)
{
    for (int i = 0; i < 2; i++) {
        struct err err = {0};
        char pem[512];
        pkeys[i] = EVP_EC_gen("P-256");
        BIO *bio = BIO_new(BIO_s_mem());
        assert_int_equal(PEM_write_bio_PUBKEY(bio, pkeys[i]), 1);
        int n = BIO_read(bio, pem, sizeof pem);
        BIO_free(bio);
        keys[i] = signature_key_pem(pem, (size_t)n, &err);
        assert_non_null(keys[i]);
    }
    return 0;
}

static int end_all(void **state)
{
    for (int i = 0; i < 2; i++) {
        EVP_PKEY_free(pkeys[i]);
        signature_key_free(keys[i]);
    }
    return 0;
}

static int begin(void **state)
{
    snprintf(path, sizeof path, "/tmp/e2ee-signed-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    buf_init(&text, 1 << 20);
    head = (struct chain_head){0};
    return 0;
}

static int end(void **state)
{
    buf_free(&text);
    return unlink(path);
}

/* Another log within a test. */
static void anew(void)
{
    end(NULL);
    begin(NULL);
}

static void add(const char *event, const char *members)
{
    struct err err = {0};
    assert_true(chain_append(&text, &head, "2026-11-28T14:00:00.000Z", event, members, &err));
    heads[head.seq] = head;
}

static void lines(int count)
{
    for (int i = 0; i < count; i++) {
        add("login", ",\"token\":\"e2ee\"");
    }
}

static void sign(struct checkpoint *c, int key)
{
    char signed_text[CHECKPOINT_TEXT_BYTES];
    snprintf(c->instance, sizeof c->instance, "e2ee-keyholder 00");
    snprintf(c->algorithm, sizeof c->algorithm, "%s", signature_algorithm(keys[key]));
    memcpy(c->key, signature_fingerprint(keys[key]), sizeof c->key);
    size_t len = checkpoint_text(signed_text, c);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    c->signature_len = sizeof c->signature;
    assert_int_equal(EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, pkeys[key]), 1);
    assert_int_equal(EVP_DigestSign(ctx, c->signature, &c->signature_len, (const uint8_t *)signed_text, len),
                     1);
    EVP_MD_CTX_free(ctx);
}

static struct checkpoint checkpoint(uint64_t from, uint64_t line, int key)
{
    char members[CHECKPOINT_MEMBERS_BYTES];
    struct checkpoint c = {.from = from, .line = line};
    memcpy(c.hash, heads[line].hash, sizeof c.hash);
    sign(&c, key);
    checkpoint_members(members, &c);
    add(CHECKPOINT_EVENT, members);
    return c;
}

static struct custody_result run(size_t key_count)
{
    struct custody_result result;
    struct err err = {0};
    const char *const names[] = {path};
    const struct custody_wanted wanted = {.keys = (const struct signature_key *const *)keys,
                                          .key_count = key_count};
    FILE *f = fopen(path, "w");
    assert_int_equal(fwrite(text.data, 1, text.len, f), text.len);
    fclose(f);
    memset(said, 0, sizeof said);
    f = fmemopen(said, sizeof said - 1, "w");
    if (!custody_verify(&result, names, 1, &wanted, f, &err)) {
        fail_msg("%s", err.message);
    }
    fclose(f);
    return result;
}

static void expect(uint64_t findings, const char *word)
{
    struct custody_result r = run(1);
    if (r.check.findings != findings || strstr(said, word) == NULL) {
        fail_msg("%d findings, and said: %s", (int)r.check.findings, said);
    }
}

static void test_good(void **state)
{
    lines(5);
    checkpoint(1, 5, 0);
    lines(7);
    checkpoint(1, 12, 0); /* not its own line before: others came meanwhile */
    lines(2);
    struct custody_result r = run(1);
    assert_string_equal(said, "");
    assert_int_equal(r.check.findings, 0);
    assert_int_equal(r.sealed.checkpoints, 2);
    assert_int_equal(r.sealed.last_signed, 12);
    assert_int_equal(r.sealed.known_to, 12);
    assert_int_equal(r.check.last.seq, 16);
    assert_false(r.stopped);
    add("stop", "");
    checkpoint(1, 17, 0);
    r = run(1);
    assert_int_equal(r.check.findings, 0);
    assert_true(r.stopped);
    assert_int_equal(r.sealed.known_to, r.check.last.seq);
    r = run(0); /* without a key only what needs none */
    assert_int_equal(r.check.findings, 0);
    assert_int_equal(r.sealed.checkpoints, 3);
}

/* Who has not the key makes the chain anew: with checkpoints of the old one, of his own, or none. */
static void test_rewritten(void **state)
{
    char members[CHECKPOINT_MEMBERS_BYTES];
    lines(5);
    struct checkpoint c = checkpoint(1, 5, 0);
    anew();
    add("login", ",\"token\":\"other\"");
    lines(4);
    checkpoint_members(members, &c);
    add(CHECKPOINT_EVENT, members);
    expect(1, ":6: it signs another line 5 than the one that is here");
    anew();
    add("login", ",\"token\":\"other\"");
    lines(4);
    memcpy(c.hash, heads[5].hash, sizeof c.hash);
    checkpoint_members(members, &c);
    add(CHECKPOINT_EVENT, members);
    expect(1, ":6: its signature is wrong");
    anew();
    lines(5);
    checkpoint(1, 5, 1);
    expect(1, ":6: it is signed by another key");
    assert_int_equal(run(2).check.findings, 0); /* which may be a known one: after a change of keys */
    anew();
    lines(6);
    assert_int_equal(run(1).sealed.last_signed, 0);
    assert_int_equal(run(1).check.findings, 0); /* the report's to say */
}

static void test_every_member_is_signed(void **state)
{
    lines(5);
    struct checkpoint good = checkpoint(2, 5, 0);
    for (int what = 0; what < 5; what++) {
        char members[CHECKPOINT_MEMBERS_BYTES];
        struct checkpoint c = good;
        anew();
        lines(5);
        c.from -= what == 0;
        c.signature[9] ^= what == 1;
        c.instance[15] ^= what == 2 ? 1 : 0;
        snprintf(c.algorithm, sizeof c.algorithm, what == 3 ? "ecdsa-sha384" : "ecdsa-sha256");
        c.line -= what == 4;
        memcpy(c.hash, heads[c.line].hash, sizeof c.hash);
        checkpoint_members(members, &c);
        add(CHECKPOINT_EVENT, members);
        expect(1, "its signature is wrong");
    }
}

static void test_order(void **state)
{
    char members[CHECKPOINT_MEMBERS_BYTES];
    lines(5);
    struct checkpoint c = checkpoint(1, 5, 0);
    lines(1);
    checkpoint_members(members, &c);
    add(CHECKPOINT_EVENT, members);
    expect(1, ":8: it signs line 5, as an earlier one: it was repeated");
    c = (struct checkpoint){.from = 1, .line = 50};
    sign(&c, 0);
    checkpoint_members(members, &c);
    add(CHECKPOINT_EVENT, members);
    expect(2, ":9: it signs line 50, which is not before it");
    add(CHECKPOINT_EVENT, ",\"over\":1");
    expect(3, ":10: it is no checkpoint that this version knows");
}

/* A crash, and a key that came later: the next start knows nothing of the lines before it. */
static void test_as_found(void **state)
{
    lines(5);
    checkpoint(3, 5, 0);
    lines(4);
    checkpoint(9, 10, 0);
    struct custody_result r = run(1);
    assert_int_equal(r.check.findings, 0);
    assert_int_equal(r.sealed.as_found, 2 + 2);
    assert_non_null(strstr(said, ":6: lines 1 to 2 were signed only as"));
    assert_non_null(strstr(said, ":11: lines 7 to 8 were signed only as"));
}

/* The first lines are in an archive: what a checkpoint signs there is not judged, the others are. */
static void test_archived(void **state)
{
    lines(5);
    size_t cut = text.len;
    lines(3);
    checkpoint(1, 4, 0);
    lines(2);
    checkpoint(1, 10, 0);
    buf_consume(&text, cut);
    struct custody_result r = run(1);
    assert_int_equal(r.check.findings, 0);
    assert_int_equal(r.check.first_seq, 6);
    assert_int_equal(r.sealed.last_signed, 10);
    assert_int_equal(r.sealed.as_found, 0);
}

static void test_no_memory(void **state)
{
    struct err err = {0};
    struct custody_result r;
    const char *const names[] = {path};
    const struct custody_wanted wanted = {.keys = (const struct signature_key *const *)keys, .key_count = 1};
    lines(3);
    checkpoint(1, 3, 0);
    run(1);
    for (size_t n = 1;; n++) {
        fault_alloc_at(n);
        bool ok = custody_verify(&r, names, 1, &wanted, stdout, &err);
        if (!fault_alloc_hit()) {
            assert_true(ok && n > 3);
            break;
        }
        assert_false(ok);
        assert_int_equal(err.kind, ERR_MEMORY);
    }
    fault_alloc_at(0);
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        EACH(test_good),      EACH(test_rewritten), EACH(test_every_member_is_signed),
        EACH(test_order),     EACH(test_as_found),  EACH(test_archived),
        EACH(test_no_memory),
    };
    return cmocka_run_group_tests(tests, begin_all, end_all);
}
