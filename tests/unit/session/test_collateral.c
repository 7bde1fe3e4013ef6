/* Collateral from where it comes: when it is fetched, what is kept, and what no mirror can do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utime.h>

#include "base/mem.h"
#include "base/text.h"
#include "fault.h"
#include "pki/pki.h"
#include "session/collateral_fetch.h"
#include "session/collateral_source.h"

#define NOW 1790000000
#define DAY 86400

/* A mirror that serves what spec says, or fails. */
struct world {
    struct pki_spec spec;
    struct pki *pki;
    struct attest_root *root;
    struct seen *seen;
    struct collateral_source *source;
    struct attest_policy policy;
    struct attest_verdict *v;
    struct collateral_key key;
    struct collateral_got got;
    char dir[64];
    bool down, garbage;
    unsigned fetches;
};

static void take(struct buf *out, struct pki_bytes bytes)
{
    buf_append(out, bytes.data, bytes.len); /* whoever uses it sees that it failed */
    pki_bytes_free(&bytes);
}

static void make(struct world *w, struct collateral *c)
{
    collateral_free(c);
    take(&c->tcb_info, pki_tcb_info(w->pki, &w->spec));
    take(&c->qe_identity, pki_qe_identity(w->pki, &w->spec));
    take(&c->tcb_info_chain, pki_signer_chain(w->pki));
    take(&c->pck_crl, pki_pck_crl(w->pki));
    take(&c->root_crl, pki_root_crl(w->pki));
}

static bool fetch(void *arg, const struct collateral_key *key, struct collateral *out, struct err *err)
{
    struct world *w = arg;
    w->fetches++;
    if (w->down) {
        return err_set(err, ERR_UNREACHABLE, "no connection");
    }
    make(w, out);
    if (out->tcb_info.failed || out->qe_identity.failed || out->tcb_info_chain.failed ||
        out->pck_crl.failed || out->root_crl.failed) {
        collateral_free(out);
        return err_set(err, ERR_MEMORY, "no memory");
    }
    if (w->garbage) {
        buf_reset(&out->tcb_info);
        buf_append_str(&out->tcb_info, "{\"tcbInfo\":{},\"signature\":\"00\"}");
    }
    return true;
}

static void open_source(struct world *w, const char *where)
{
    struct err err = {0};
    const struct collateral_source_options options = {
        .where = where, .seen = w->seen, .fetch = where == NULL ? fetch : NULL, .arg = w};
    collateral_source_free(w->source);
    w->source = collateral_source_new(&options, &err);
    if (w->source == NULL) {
        fail_msg("%s", err.message);
    }
}

static int set_up(void **state)
{
    struct err err = {0};
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    snprintf(w->dir, sizeof w->dir, "/tmp/e2ee-collateral-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    pki_spec_good(&w->spec, NOW);
    w->pki = pki_new(&w->spec);
    struct pki_bytes pem = pki_root_pem(w->pki);
    w->root = root_parse(pem.data, pem.len, &err);
    pki_bytes_free(&pem);
    assert_non_null(w->root);
    w->seen = seen_open(w->dir, w->root, &err);
    assert_non_null(w->seen);
    open_source(w, NULL);
    policy_init(&w->policy);
    w->policy.pins = POLICY_PINS_OFF;
    w->v = mem_alloc(sizeof *w->v);
    assert_non_null(w->v);
    memcpy(w->key.fmspc, w->spec.fmspc, FMSPC_BYTES);
    collateral_got_init(&w->got);
    *state = w;
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

static int tear_down(void **state)
{
    struct world *w = *state;
    collateral_got_free(&w->got);
    collateral_source_free(w->source);
    seen_close(w->seen);
    root_free(w->root);
    policy_free(&w->policy);
    mem_free(w->v);
    pki_free(w->pki);
    nftw(w->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(w);
    return 0;
}

/* Judges a quote by w->got at the moment now. */
static void judge(struct world *w, int64_t now, bool *try_other)
{
    struct err err = {0};
    struct pki_bytes quote = pki_quote(w->pki, &w->spec);
    struct attest_input in = {.quote = quote.data,
                              .quote_len = quote.len,
                              .collateral = w->got.origin != COLLATERAL_NONE ? &w->got.collateral : NULL,
                              .root = w->root};
    assert_true(seen_floor(w->seen, &w->key, &in.floor, &err));
    assert_true(attest_verify(&in, &w->policy, now, w->v, &err));
    if (!collateral_source_judged(w->source, &w->key, &w->got, w->v, try_other, &err)) {
        fail_msg("%s", err.message);
    }
    pki_bytes_free(&quote);
}

/* Gets and judges as the verifier does. */
static void attest(struct world *w, int64_t now)
{
    bool try_other;
    collateral_source_get(w->source, &w->key, now, false, &w->got);
    judge(w, now, &try_other);
    if (try_other && collateral_source_other(w->source, &w->key, now, &w->got)) {
        judge(w, now, &try_other);
    }
}

static void expect(const struct world *w, enum collateral_origin origin, const char *refused)
{
    assert_int_equal(w->got.origin, origin);
    if (refused == NULL ? !w->v->verified : strncmp(w->v->reason, refused, strlen(refused)) != 0) {
        fail_msg("%s, expected %s", w->v->reason, refused != NULL ? refused : "verified");
    }
}

/* Sets the dates of what the mirror serves from now on. */
static void reissue(struct world *w, int64_t from)
{
    w->spec.root_crl_from = w->spec.pck_crl_from = w->spec.tcb_from = w->spec.qe_from = from;
    w->spec.root_crl_until = w->spec.pck_crl_until = w->spec.tcb_until = w->spec.qe_until = from + 30 * DAY;
    pki_renew_crls(w->pki, &w->spec);
}

static void cache_path(const struct world *w, char path[static 256])
{
    char hash[33];
    for (int i = 0; i < 16; i++) {
        snprintf(hash + 2 * i, 3, "%02x", root_sha256(w->root)[i]);
    }
    snprintf(path, 256, "%s/attestation-%s/90c06f000000-platform.json", w->dir, hash);
}

static void set_cache_age(const struct world *w, int64_t written)
{
    char path[256];
    struct utimbuf times = {(time_t)written, (time_t)written};
    cache_path(w, path);
    assert_int_equal(utime(path, &times), 0);
}

static void test_fetched_once_then_cached(void **state)
{
    struct world *w = *state;
    attest(w, NOW);
    expect(w, COLLATERAL_FETCHED, NULL);
    set_cache_age(w, NOW);
    attest(w, NOW + 60);
    expect(w, COLLATERAL_CACHED, NULL);
    open_source(w, NULL); /* another process */
    attest(w, NOW + DAY);
    expect(w, COLLATERAL_CACHED, NULL);
    assert_int_equal(w->fetches, 1);
    /* Half of the life, from a day before NOW to 29 days after it, is over. */
    reissue(w, NOW + 14 * DAY);
    attest(w, NOW + 14 * DAY + 1);
    expect(w, COLLATERAL_FETCHED, NULL);
    assert_int_equal(w->fetches, 2);
}

static void test_used_while_valid(void **state)
{
    struct world *w = *state;
    attest(w, NOW);
    set_cache_age(w, NOW);
    w->down = true;
    for (int day = 15; day < 29; day++) {
        attest(w, NOW + day * DAY);
        expect(w, COLLATERAL_CACHED, NULL);
        assert_int_equal(w->got.problem.kind, ERR_UNREACHABLE);
        attest(w, NOW + day * DAY + 600); /* not asked again within the hour */
        assert_int_equal(w->fetches, 2 + day - 15);
    }
    attest(w, NOW + 29 * DAY + 10);
    expect(w, COLLATERAL_CACHED, "root.crl: root CRL is outside its validity: it ended 10 s ago");
    w->policy.allow_stale_s = 3600;
    attest(w, NOW + 29 * DAY + 20);
    expect(w, COLLATERAL_CACHED, NULL);
    const struct verdict_check *age = verdict_find(w->v, "collateral.age");
    assert_int_equal(age->result, CHECK_FAIL);
    assert_non_null(strstr(age->detail, "STALE"));
    attest(w, NOW + 29 * DAY + 3700);
    expect(w, COLLATERAL_CACHED, "root.crl:");
    w->down = false; /* past its end it is asked for each time */
    reissue(w, NOW + 29 * DAY);
    attest(w, NOW + 29 * DAY + 3701);
    expect(w, COLLATERAL_FETCHED, NULL);
}

/* A day forward and back: what ends within the day is refused there, and holds again behind it; an hour between two
 * attempts is never a day. */
static void test_clock_that_jumps(void **state)
{
    struct world *w = *state;
    const int64_t due = NOW + 16 * DAY, last = NOW + 29 * DAY - 3600; /* an hour before everything ends */
    const struct {
        int64_t at;
        unsigned fetches;
    } turns[] = {{due, 2},        {due + DAY, 3},        {due + 120, 4},
                 {due + 1800, 4}, {due + 120 + 3599, 4}, {due + 120 + 3600, 5}};
    attest(w, NOW);
    set_cache_age(w, NOW);
    w->down = true;
    for (size_t i = 0; i < sizeof turns / sizeof turns[0]; i++) {
        attest(w, turns[i].at);
        expect(w, COLLATERAL_CACHED, NULL);
        assert_int_equal(w->fetches, turns[i].fetches);
    }
    attest(w, last);
    expect(w, COLLATERAL_CACHED, NULL);
    assert_int_equal(w->v->not_after, NOW + 29 * DAY);
    attest(w, last + DAY);
    expect(w, COLLATERAL_CACHED, "root.crl: root CRL is outside its validity: it ended");
    attest(w, last + 60);
    expect(w, COLLATERAL_CACHED, NULL);
    w->down = false;
    reissue(w, NOW + 28 * DAY);
    attest(w, last + 3600);
    expect(w, COLLATERAL_FETCHED, NULL);
    set_cache_age(w, last + DAY);
    attest(w, last + 3700); /* written "tomorrow" */
    expect(w, COLLATERAL_CACHED, NULL);
    attest(w, NOW + 27 * DAY); /* before it was issued no set holds */
    expect(w, COLLATERAL_CACHED, "root.crl: root CRL is outside its validity: it begins");
}

static void test_nothing_at_all(void **state)
{
    struct world *w = *state;
    w->down = true;
    attest(w, NOW);
    expect(w, COLLATERAL_NONE, "collateral:");
    assert_int_equal(w->got.problem.kind, ERR_UNREACHABLE);
    w->down = false;
    attest(w, NOW + 1);
    expect(w, COLLATERAL_FETCHED, NULL);
}

static void test_rollback(void **state)
{
    struct world *w = *state;
    attest(w, NOW);
    set_cache_age(w, NOW);
    reissue(w, NOW + 14 * DAY);
    w->spec.tcb_evaluation = w->spec.qe_evaluation = 18;
    attest(w, NOW + 15 * DAY);
    expect(w, COLLATERAL_CACHED, NULL); /* the older set was fetched and put aside */
    assert_int_equal(w->fetches, 2);
    w->spec.tcb_evaluation = w->spec.qe_evaluation = 20;
    attest(w, NOW + 16 * DAY);
    expect(w, COLLATERAL_FETCHED, NULL);
    set_cache_age(w, NOW + 16 * DAY);
    /* The floor outlives the cache. */
    w->spec.crl_number = 6;
    reissue(w, NOW + 17 * DAY);
    char path[256];
    cache_path(w, path);
    assert_int_equal(unlink(path), 0);
    attest(w, NOW + 17 * DAY);
    expect(w, COLLATERAL_FETCHED, "rollback:");
    w->spec.crl_number = 8;
    reissue(w, NOW + 17 * DAY);
    attest(w, NOW + 17 * DAY + 100);
    expect(w, COLLATERAL_FETCHED, NULL);
}

static void test_revoked_stays_revoked(void **state)
{
    struct world *w = *state;
    attest(w, NOW);
    set_cache_age(w, NOW);
    w->spec.revoke_pck = true;
    w->spec.crl_number = 8;
    reissue(w, NOW + 14 * DAY);
    attest(w, NOW + 15 * DAY);
    expect(w, COLLATERAL_FETCHED, "pck.chain: revoked by Intel");
    w->down = true;
    for (int i = 1; i < 4; i++) {
        attest(w, NOW + 15 * DAY + 60 * i);
        expect(w, COLLATERAL_CACHED, "pck.chain: revoked by Intel");
    }
}

/* The signer, revoked by a newer root CRL, does not come back with the older one. */
static void test_revoked_signer_stays_revoked(void **state)
{
    struct world *w = *state;
    attest(w, NOW);
    set_cache_age(w, NOW);
    w->spec.revoke_signer = true;
    w->spec.crl_number = 8;
    reissue(w, NOW + 14 * DAY);
    for (int i = 0; i < 3; i++) {
        attest(w, NOW + 15 * DAY + 60 * i);
        assert_false(w->v->verified);
    }
}

static void test_garbage_is_not_cached(void **state)
{
    struct world *w = *state;
    w->garbage = true;
    attest(w, NOW);
    expect(w, COLLATERAL_FETCHED, "tcb_info.signature:");
    w->garbage = false;
    attest(w, NOW + 1);
    expect(w, COLLATERAL_FETCHED, NULL);
    set_cache_age(w, NOW);
    w->garbage = true;
    attest(w, NOW + 15 * DAY);
    expect(w, COLLATERAL_CACHED, NULL);
}

/* A file that was cut by a full disk, or written by somebody else, is as good as none. */
static void test_damaged_cache(void **state)
{
    static const char *const texts[] = {"", "{", "{}", "{\"tcb_info\":\"x\"}"};
    struct world *w = *state;
    struct err err = {0};
    char path[256];
    attest(w, NOW);
    cache_path(w, path);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        assert_true(text_write_file_atomic(path, texts[i], strlen(texts[i]), &err));
        attest(w, NOW + 1 + (int64_t)i);
        expect(w, COLLATERAL_FETCHED, NULL);
    }
    attest(w, NOW + 100);
    expect(w, COLLATERAL_CACHED, NULL);
}

/* A platform made up together with its revocation lists raises no floor. */
static void test_forged_numbers_raise_nothing(void **state)
{
    struct world *w = *state;
    struct world forged = *w;
    struct attest_floor floor;
    struct err err = {0};
    bool try_other;
    forged.spec.crl_number = 1000000;
    forged.spec.tcb_evaluation = forged.spec.qe_evaluation = 1000000;
    forged.pki = pki_new(&forged.spec);
    collateral_got_init(&forged.got);
    collateral_source_get(w->source, &w->key, NOW, false, &forged.got);
    make(&forged, &forged.got.collateral);
    judge(&forged, NOW, &try_other);
    assert_false(w->v->verified);
    assert_true(seen_floor(w->seen, &w->key, &floor, &err));
    assert_int_equal(floor.tcb_evaluation + floor.pck_crl_number + floor.root_crl_number, 0);
    collateral_got_free(&forged.got);
    pki_free(forged.pki);
    attest(w, NOW);
    expect(w, COLLATERAL_FETCHED, NULL);
}

static void test_files_and_folders(void **state)
{
    struct world *w = *state;
    char path[128], cache[256];
    struct err err = {0};
    struct collateral c;
    struct buf text;
    collateral_init(&c);
    buf_init(&text, 1048576);
    make(w, &c);
    assert_true(collateral_write_json(&c, &text, &err));
    snprintf(path, sizeof path, "%s/set.json", w->dir);
    assert_true(text_write_file_atomic(path, text.data, text.len, &err));
    open_source(w, path);
    attest(w, NOW);
    expect(w, COLLATERAL_FILE, NULL);
    attest(w, NOW + 30 * DAY);
    expect(w, COLLATERAL_FILE, "root.crl:");
    snprintf(path, sizeof path, "%s/set", w->dir);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_true(collateral_save_folder(&c, path, &err));
    open_source(w, path);
    attest(w, NOW);
    expect(w, COLLATERAL_FILE, NULL);
    /* The cache's own file in a folder: what a machine without network is given. */
    snprintf(path, sizeof path, "%s/carried", w->dir);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(cache, sizeof cache, "%s/90c06f000000-platform.json", path);
    assert_true(text_write_file_atomic(cache, text.data, text.len, &err));
    open_source(w, path);
    attest(w, NOW);
    expect(w, COLLATERAL_FILE, NULL);
    w->key.processor_ca = true; /* not there */
    collateral_source_get(w->source, &w->key, NOW, false, &w->got);
    assert_int_equal(w->got.origin, COLLATERAL_NONE);
    assert_int_equal(w->got.problem.kind, ERR_NOT_FOUND);
    assert_int_equal(w->fetches, 0);
    buf_free(&text);
    collateral_free(&c);
    const struct collateral_source_options none = {.where = "/nonexistent/set", .seen = w->seen};
    assert_null(collateral_source_new(&none, &err));
    assert_int_equal(err.kind, ERR_CONFIG);
    const struct collateral_source_options plain = {.where = "http://203.0.113.1/", .seen = w->seen};
    assert_null(collateral_source_new(&plain, &err));
    assert_int_equal(err.kind, ERR_CONFIG);
}

/* The cache's form keeps what Intel signed byte for byte: genuine sets come back as they were, and verify. */
static void test_genuine_sets_survive_the_cache(void **state)
{
    static const struct {
        const char *name;
        int64_t at;
    } sets[] = {{"01-v4-b0c06f-dcap-qvl", 1751241600},
                {"03-v4-venice-gemma_3_27b_p", 1780598249},
                {"07-v4-venice-live_evidence", 1784573023},
                {"14-v5-td15-go-tdx-guest", 1771977600}};
    struct world *w = *state;
    for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++) {
        char dir[512], path[600];
        struct collateral before, after;
        struct buf text, quote;
        struct err err = {0};
        snprintf(dir, sizeof dir, "%s/tests/vectors/pos/%s", E2EE_SOURCE_DIR, sets[i].name);
        snprintf(path, sizeof path, "%s/quote.bin", dir);
        collateral_init(&before);
        collateral_init(&after);
        buf_init(&text, 4 * COLLATERAL_ITEM_BYTES_MAX);
        buf_init(&quote, 65536);
        assert_true(text_read_file(&quote, path, &err));
        assert_true(collateral_load_folder(&before, dir, &err));
        assert_true(collateral_write_json(&before, &text, &err));
        assert_true(collateral_parse_json(&after, (const char *)text.data, text.len, &err));
        assert_int_equal(after.pck_crl.len, before.pck_crl.len);
        assert_memory_equal(after.pck_crl.data, before.pck_crl.data, before.pck_crl.len);
        assert_memory_equal(after.root_crl.data, before.root_crl.data, before.root_crl.len);
        const struct attest_input in = {.quote = quote.data, .quote_len = quote.len, .collateral = &after};
        assert_true(attest_verify(&in, &w->policy, sets[i].at, w->v, &err));
        if (!w->v->quote_verified) {
            fail_msg("%s: %s", sets[i].name, w->v->reason);
        }
        buf_free(&text);
        buf_free(&quote);
        collateral_free(&before);
        collateral_free(&after);
    }
}

static void test_chain_decode(void **state)
{
    struct buf out;
    struct err err = {0};
    buf_init(&out, 64);
    assert_true(collateral_chain_decode(&out, "-----BEGIN%20X-----%0Aab%2Bc+/%3D%0a", &err));
    assert_string_equal(buf_cstr(&out), "-----BEGIN X-----\nab+c+/=\n");
    static const char *const bad[] = {"a%", "a%2", "a%2x", "%00", "%gg"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(collateral_chain_decode(&out, bad[i], &err));
        assert_int_equal(out.len, 0);
    }
    buf_free(&out);
}

/* Each allocation fails once: nothing is accepted that should not be, and the next attempt finds everything whole. */
static void test_everything_without_memory(void **state)
{
    struct world *w = *state;
    struct pki_bytes quote = pki_quote(w->pki, &w->spec);
    struct err err = {0};
    bool try_other, hit = true;
    for (size_t n = 1; hit; n++) {
        const struct collateral_source_options options = {.seen = w->seen, .fetch = fetch, .arg = w};
        err_clear(&err);
        w->down = n % 2 == 0; /* with a network, and without */
        fault_alloc_at(n);
        struct collateral_source *source = collateral_source_new(&options, &err);
        if (source != NULL) {
            struct attest_input in = {.quote = quote.data, .quote_len = quote.len, .root = w->root};
            collateral_source_get(source, &w->key, NOW, false, &w->got);
            in.collateral = w->got.origin != COLLATERAL_NONE ? &w->got.collateral : NULL;
            bool ok = seen_floor(w->seen, &w->key, &in.floor, &err) &&
                      attest_verify(&in, &w->policy, NOW, w->v, &err) &&
                      collateral_source_judged(source, &w->key, &w->got, w->v, &try_other, &err);
            assert_true(ok || err.kind != ERR_NONE);
        }
        hit = fault_alloc_hit();
        fault_alloc_at(0);
        collateral_source_free(source);
    }
    pki_bytes_free(&quote);
    w->down = false;
    attest(w, NOW + 1);
    assert_true(w->v->verified);
    w->down = true;
    attest(w, NOW + 2);
    expect(w, COLLATERAL_CACHED, NULL);
}

static void test_write_json_without_memory(void **state)
{
    struct world *w = *state;
    struct collateral c;
    struct buf text;
    struct err err = {0};
    bool ok = false;
    collateral_init(&c);
    make(w, &c);
    for (size_t n = 1; !ok; n++) {
        buf_init(&text, 1048576);
        fault_alloc_at(n);
        ok = collateral_write_json(&c, &text, &err);
        fault_alloc_at(0);
        assert_true(ok || text.len == 0);
        buf_free(&text);
    }
    collateral_free(&c);
}

int main(void)
{
#define WORLD(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WORLD(test_fetched_once_then_cached),
        WORLD(test_used_while_valid),
        WORLD(test_clock_that_jumps),
        WORLD(test_nothing_at_all),
        WORLD(test_rollback),
        WORLD(test_revoked_stays_revoked),
        WORLD(test_revoked_signer_stays_revoked),
        WORLD(test_garbage_is_not_cached),
        WORLD(test_damaged_cache),
        WORLD(test_forged_numbers_raise_nothing),
        WORLD(test_files_and_folders),
        WORLD(test_genuine_sets_survive_the_cache),
        WORLD(test_chain_decode),
        WORLD(test_everything_without_memory),
        WORLD(test_write_json_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
