/* audit verify over files: their order, findings by file and line, heads, cuts. What a line can have is in test_chain.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "custody/verify.h"
#include "fault.h"

#define LINES 12
#define FILES 3

static char folder[64], paths[FILES][96], said[8192];
static char texts[LINES][512];
static struct chain_head heads[LINES];
static const struct custody_wanted nothing;

static void put(int file, const char *text)
{
    FILE *f = fopen(paths[file], "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

/* Lines from..to-1 into a file; skip is left out, -1 none. */
static void put_lines(int file, int from, int to, int skip)
{
    char text[LINES * 512] = "";
    for (int i = from; i < to; i++) {
        size_t len = strlen(text);
        snprintf(text + len, sizeof text - len, "%s", i != skip ? texts[i] : "");
    }
    put(file, text);
}

static int begin(void **state)
{
    struct chain_head head = {0};
    struct err err = {0};
    snprintf(folder, sizeof folder, "/tmp/e2ee-verify-XXXXXX");
    assert_non_null(mkdtemp(folder));
    for (int i = 0; i < FILES; i++) {
        snprintf(paths[i], sizeof paths[i], "%s/%c", folder, "cab"[i]);
    }
    for (int i = 0; i < LINES; i++) {
        struct buf b;
        buf_init(&b, sizeof texts[i]);
        assert_true(chain_append(&b, &head, "2026-11-24T14:00:00.000Z", i == 5 ? "gap" : "login", "", &err));
        snprintf(texts[i], sizeof texts[i], "%s", buf_cstr(&b));
        heads[i] = head;
        buf_free(&b);
    }
    put_lines(0, 0, 4, -1);
    put_lines(1, 4, 8, -1);
    put_lines(2, 8, 12, -1);
    return 0;
}

static int end(void **state)
{
    for (int i = 0; i < FILES; i++) {
        unlink(paths[i]);
    }
    return rmdir(folder);
}

/* All files, the last first. */
static struct custody_result run(const uint8_t *wanted)
{
    const char *const names[FILES] = {paths[2], paths[0], paths[1]};
    struct custody_result result;
    const struct custody_wanted w = {.head = wanted};
    struct err err = {0};
    memset(said, 0, sizeof said);
    FILE *out = fmemopen(said, sizeof said - 1, "w");
    if (!custody_verify(&result, names, FILES, &w, out, &err)) {
        fail_msg("%s", err.message);
    }
    fclose(out);
    return result;
}

static void expect(struct custody_result result, int findings, int file, int line, const char *words)
{
    char at[160];
    snprintf(at, sizeof at, "%s:%d: ", paths[file], line);
    assert_int_equal(result.check.findings, findings);
    const char *found = strstr(said, at);
    if (found == NULL || strstr(found, words) == NULL) {
        fail_msg("no %s%s in:\n%s", at, words, said);
    }
}

static void test_good(void **state)
{
    struct custody_result r = run(NULL);
    assert_string_equal(said, "");
    assert_int_equal(r.check.findings, 0);
    assert_int_equal(r.check.lines, LINES);
    assert_int_equal(r.check.first_seq, 1);
    assert_int_equal(r.gaps, 1);
    assert_memory_equal(&r.check.last, &heads[LINES - 1], sizeof heads[0]);
    for (int i = 0; i < LINES; i++) {
        r = run(heads[i].hash);
        assert_true(r.head_found);
        assert_int_equal(r.head_seq, i + 1);
    }
    uint8_t other[SHA256_BYTES] = {1};
    assert_false(run(other).head_found);
    put(0, ""); /* archived: the rest stands for itself */
    r = run(NULL);
    assert_int_equal(r.check.findings, 0);
    assert_int_equal(r.check.first_seq, 5);
}

static void test_tampered(void **state)
{
    put_lines(1, 4, 8, 6);
    expect(run(NULL), 1, 1, 3, "1 lines are missing before it: 7 to 7");
    put(1, "");
    expect(run(NULL), 1, 2, 1, "4 lines are missing before it: 5 to 8");
    put_lines(1, 4, 8, -1);
    char *name = strstr(texts[9], "login");
    name[0] = 'L';
    put_lines(2, 8, 12, -1);
    run(NULL);
    expect(run(NULL), 2, 2, 2, ""); /* and what follows an unreadable line cannot be told to follow it */
    name[0] = 'm';
    put_lines(2, 8, 12, -1);
    expect(run(NULL), 1, 2, 2, "changed");
    name[0] = 'l';
    char moved[1100];
    snprintf(moved, sizeof moved, "%s%s", texts[9], texts[8]);
    put(2, moved);
    expect(run(NULL), 2, 2, 2, "out of place");
}

static void test_cut(void **state)
{
    char cut[512];
    snprintf(cut, sizeof cut, "%.*s", (int)strlen(texts[8]) - 9, texts[8]);
    put(2, cut);
    struct custody_result r = run(NULL);
    expect(r, 1, 2, 1, "the last line is cut: a keyholder that died");
    assert_true(r.torn);
    snprintf(cut, sizeof cut, "%.*s", (int)strlen(texts[8]) - 1, texts[8]); /* but its LF */
    put(2, cut);
    expect(run(NULL), 1, 2, 1, "the last line is cut");
    put_lines(2, 8, 10, -1); /* whole lines: only a head shows it */
    assert_int_equal(run(NULL).check.findings, 0);
    assert_false(run(heads[LINES - 1].hash).head_found);
}

static void test_junk(void **state)
{
    static char junk[3 * CHAIN_LINE_BYTES_MAX];
    memset(junk, 'x', sizeof junk - 1);
    put(0, junk);
    struct custody_result r = run(NULL);
    assert_true(r.check.findings > 0);
    for (int i = 0; i < FILES; i++) {
        put(i, "");
    }
    assert_int_equal(run(NULL).check.lines, 0);
    const char *none[] = {"/no/such/file"};
    struct err err = {0};
    assert_false(custody_verify(&r, none, 1, &nothing, stdout, &err));
    assert_int_equal(err.kind, ERR_IO);
}

static void test_no_memory(void **state)
{
    const char *const names[FILES] = {paths[2], paths[0], paths[1]};
    struct custody_result r;
    for (size_t n = 1;; n++) {
        struct err err = {0};
        fault_alloc_at(n);
        bool ok = custody_verify(&r, names, FILES, &nothing, stdout, &err);
        if (!fault_alloc_hit()) {
            assert_true(ok && n > 2);
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
    const struct CMUnitTest tests[] = {EACH(test_good), EACH(test_tampered), EACH(test_cut), EACH(test_junk),
                                       EACH(test_no_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
