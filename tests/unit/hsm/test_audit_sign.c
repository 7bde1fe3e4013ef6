/* When the custody log is signed, what happens when it cannot be, and what a start knows of the log that it finds. The signer is a
 * stand-in: what signatures are is in other tests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <ftw.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "hsm/audit_anchor.h"
#include "hsm/audit_sign.h"

static char folder[64], path[128], text[1 << 20];
static atomic_bool refuses;
static atomic_uint asked;

static int begin(void **state)
{
    snprintf(folder, sizeof folder, "/tmp/e2ee-sign-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/custody.log", folder);
    refuses = false;
    asked = 0;
    return 0;
}

static int remove_one(const char *name, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(name);
}

static int end(void **state)
{
    return nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static bool sign(void *context, struct checkpoint *c, struct err *err)
{
    asked++;
    snprintf(c->algorithm, sizeof c->algorithm, "ecdsa-sha256");
    c->signature_len = 4;
    return !refuses || err_set(err, ERR_TOKEN, "the stand-in does not sign");
}

static void keep_awake(void *context)
{
}

static bool try_open(uint64_t max_bytes, struct err *err)
{
    const struct audit_options o = {.path = path, .max_bytes = max_bytes, .anchor_dir = folder};
    return audit_open(&o, err);
}

static void open_log(uint64_t max_bytes)
{
    struct err err = {0};
    if (!try_open(max_bytes, &err)) {
        fail_msg("%s", err.message);
    }
}

static bool start_signing(uint64_t every, struct err *err)
{
    const struct audit_signer a = {
        .sign = sign, .keep_awake = keep_awake, .instance = "e2ee-keyholder 00", .every = every};
    audit_event("start", "%s", "");
    return audit_sign_start(&a, err);
}

static void start(uint64_t every)
{
    struct err err = {0};
    open_log(1 << 20);
    if (!start_signing(every, &err)) {
        fail_msg("%s", err.message);
    }
}

static void stop(void)
{
    audit_event("stop", "%s", "");
    (void)!audit_sign_now(1000);
    audit_sign_stop();
    audit_close();
}

/* The keyholder dies: nothing is signed or kept in mind of what was written last. */
static void crash(void)
{
    audit_sign_stop();
    audit_anchor_close(); /* audit_close would write it */
    audit_close();
}

static void events(int count)
{
    struct err err = {0};
    for (int i = 0; i < count; i++) {
        audit_event("login", ",\"n\":%d", i);
    }
    assert_true(audit_flush(10000, &err));
}

static const char *read_log(void)
{
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    size_t n = fread(text, 1, sizeof text - 1, f);
    text[n] = '\0';
    fclose(f);
    return text;
}

static size_t count_of(const char *word)
{
    size_t n = 0;
    for (const char *at = read_log(); (at = strstr(at, word)) != NULL; at++) {
        n++;
    }
    return n;
}

static void await(const char *word, size_t count)
{
    for (int i = 0; i < 1000 && count_of(word) < count; i++) {
        usleep(10000);
    }
    assert_int_equal(count_of(word), count);
}

static void test_when(void **state)
{
    struct audit_sign_state s;
    audit_sign_state(&s);
    assert_false(s.on);
    assert_true(audit_sign_now(0));
    start(10);
    await("\"event\":\"checkpoint\"", 1); /* at the start */
    audit_sign_state(&s);
    assert_true(s.on && !s.failing);
    assert_int_equal(s.line, 1);
    events(5);
    usleep(50000);
    assert_int_equal(count_of("\"event\":\"checkpoint\""), 1);
    events(4); /* line 11 is the tenth after 1 */
    await("\"event\":\"checkpoint\"", 2);
    assert_true(audit_sign_now(1000)); /* nothing but the checkpoint is new */
    assert_int_equal(asked, 2);
    events(1);
    stop();
    assert_int_equal(count_of("\"event\":\"checkpoint\""), 3);
    const char *last = strstr(read_log(), "\"event\":\"stop\"");
    assert_non_null(strstr(last, "\"event\":\"checkpoint\",\"from\":1,\"line\":14,"));
    assert_null(strstr(strstr(last, "\"event\":\"checkpoint\"") + 8, "event"));
}

static void test_at_rotation(void **state)
{
    struct err err = {0};
    open_log(4096);
    assert_true(start_signing(10000, &err));
    assert_int_equal(count_of("\"event\":\"checkpoint\""), 1);
    while (count_of("\"event\":\"rotation\"") == 0) {
        events(1);
    }
    await("\"event\":\"checkpoint\"", 1); /* in the new file */
    stop();
}

static void test_fails_at_start(void **state)
{
    struct err err = {0};
    refuses = true;
    open_log(1 << 20);
    assert_false(start_signing(10, &err));
    assert_string_equal(err.message, "the stand-in does not sign");
    assert_int_equal(asked, 1);
    stop();
    assert_int_equal(count_of("\"event\":\"checkpoint\""), 0);
    refuses = false;
    start(10); /* the end was in order: all is known */
    stop();
    assert_int_equal(count_of("\"event\":\"checkpoint\",\"from\":1,"), 2);
}

static void test_fails(void **state)
{
    struct audit_sign_state s;
    start(5);
    refuses = true;
    events(20);
    await("\"event\":\"checkpoint_failed\"", 1);
    events(20);
    assert_int_equal(count_of("\"event\":\"checkpoint_failed\""), 1);
    audit_sign_state(&s);
    assert_true(s.failing);
    assert_int_equal(s.line, 1);
    assert_false(audit_sign_now(1000));
    refuses = false;
    int64_t began = clock_boot_s();
    await("\"event\":\"checkpoint\"", 2); /* by itself */
    assert_true(clock_boot_s() - began < 15);
    do { /* told when the line is on the disk */
        usleep(1000);
        audit_sign_state(&s);
    } while (s.failing && clock_boot_s() - began < 15);
    assert_false(s.failing);
    refuses = true;
    events(1);
    stop(); /* ends all the same */
    assert_int_equal(count_of("\"event\":\"checkpoint\""), 2);
    refuses = false;
    start(5);
    stop();
    assert_int_equal(count_of("\"event\":\"checkpoint\",\"from\":1,"), 4);
}

static void test_crash(void **state)
{
    start(1000);
    events(3);
    crash();
    start(1000); /* start and its checkpoint were kept in mind, the three lines are as found */
    stop();
    assert_int_equal(count_of("\"event\":\"checkpoint\",\"from\":1,\"line\":1,"), 1);
    assert_int_equal(count_of("\"event\":\"checkpoint\",\"from\":6,\"line\":6,"), 1);
    start(1000);
    stop();
    assert_int_equal(count_of("\"event\":\"checkpoint\",\"from\":6,"), 4);
}

static void must_refuse(void)
{
    struct err err = {0};
    assert_false(try_open(1 << 20, &err));
    assert_int_equal(err.kind, ERR_CONFIG);
    if (strstr(err.message, "it was cut, rewritten or replaced") == NULL) {
        fail_msg("%s", err.message);
    }
}

static void put(const char *lines, size_t len)
{
    FILE *f = fopen(path, "w");
    assert_int_equal(fwrite(lines, 1, len, f), len);
    fclose(f);
}

/* What was done to the log between two runs. */
static void test_tampered_meanwhile(void **state)
{
    static char good[1 << 20];
    struct buf made;
    struct err err = {0};
    start(1000);
    events(3);
    stop();
    snprintf(good, sizeof good, "%s", read_log());
    size_t cut = (size_t)(strstr(good, "{\"seq\":6,") - good);
    put(good, cut);
    must_refuse();
    put("", 0);
    must_refuse();
    for (int count = 4; count < 40; count += 5) { /* rewritten, shorter and longer */
        struct chain_head head = {0};
        buf_init(&made, 1 << 20);
        for (int i = 0; i < count; i++) {
            assert_true(chain_append(&made, &head, "2026-11-28T14:00:00.000Z", "login", "", &err));
        }
        put((const char *)made.data, made.len);
        buf_free(&made);
        must_refuse();
    }
    put(good, strlen(good));
    start(1000);
    stop();
}

/* A log that is older than its key, and state that was lost. */
static void test_unknown(void **state)
{
    const struct audit_options plain = {.path = path, .max_bytes = 1 << 20};
    struct err err = {0};
    assert_true(audit_open(&plain, &err));
    events(4);
    audit_close();
    start(1000);
    stop();
    assert_int_equal(count_of("\"event\":\"checkpoint\",\"from\":5,\"line\":5,"), 1);
    assert_true(audit_open(&plain, &err)); /* a run without the key */
    events(2);
    audit_close();
    start(1000);
    stop();
    assert_int_equal(count_of("\"event\":\"checkpoint\",\"from\":11,\"line\":11,"), 1);
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        EACH(test_when),  EACH(test_at_rotation),        EACH(test_fails_at_start), EACH(test_fails),
        EACH(test_crash), EACH(test_tampered_meanwhile), EACH(test_unknown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
