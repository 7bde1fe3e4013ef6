/* Evidence kept for an auditor: whole folders, and policies that can be read again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <dirent.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/evidence.h"
#include "base/mem.h"
#include "base/text.h"
#include "fault.h"

static char dir[64];
static struct verification *v;

static int set_up(void **state)
{
    snprintf(dir, sizeof dir, "/tmp/e2ee-evidence-XXXXXX");
    assert_non_null(mkdtemp(dir));
    v = mem_alloc(sizeof *v);
    assert_non_null(v);
    verification_init(v);
    verdict_init(&v->verdict, 1790000000);
    memset(v->nonce, 0xab, sizeof v->nonce);
    buf_append_str(&v->body, "{\"not\":\"an attestation\"}");
    verdict_fail(&v->verdict, "body", "made up");
    verdict_close(&v->verdict);
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

static int tear_down(void **state)
{
    verification_free(v);
    mem_free(v);
    nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    return 0;
}

static size_t entries(const char *path)
{
    size_t count = 0;
    DIR *d = opendir(path);
    assert_non_null(d);
    for (const struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        count += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    }
    closedir(d);
    return count;
}

static void expect_file(const char *folder, const char *name, const char *content)
{
    char path[512];
    struct buf text;
    struct err err = {0};
    buf_init(&text, 1048576);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_true(text_read_file(&text, path, &err));
    assert_non_null(strstr(buf_cstr(&text), content));
    buf_free(&text);
}

static void saved(void **state)
{
    char folder[128];
    struct err err = {0};
    struct stat st;
    snprintf(folder, sizeof folder, "%s/kept", dir);
    assert_true(evidence_save(folder, "m\n\xc3\xa4", v, &err));
    assert_true(evidence_save(folder, "m\n\xc3\xa4", v, &err)); /* replaces */
    expect_file(folder, "attestation.json", "{\"not\":\"an attestation\"}");
    expect_file(folder, "nonce.txt", "abababab");
    expect_file(folder, "verdict.json", "\"verdict\":\"refused\"");
    expect_file(folder, "README.txt", "the model m???.\n");
    expect_file(folder, "README.txt", "--at 1790000000 --nonce abab");
    assert_int_equal(stat(folder, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    expect_file(folder, "model.txt", "m\n");
    assert_int_equal(entries(folder), 5);
}

static void kept(void **state)
{
    char folder[128], name[256];
    struct err err = {0};
    snprintf(folder, sizeof folder, "%s/evidence", dir);
    assert_true(evidence_keep(folder, "../a/b", v, &err));
    snprintf(name, sizeof name, "%s/20260921T141320Z-___a_b-refused-abababab", folder);
    expect_file(name, "nonce.txt", "abab");
    /* The same nonce twice, which does not happen: the name is taken, and no half stays. */
    assert_false(evidence_keep(folder, "../a/b", v, &err));
    assert_int_equal(err.kind, ERR_IO);
    assert_int_equal(entries(folder), 1);
    assert_false(evidence_keep("/dev/null/x", "m", v, &err));
}

static void kept_without_memory(void **state)
{
    char folder[128];
    struct err err = {0};
    bool ok = false;
    snprintf(folder, sizeof folder, "%s/evidence", dir);
    for (size_t n = 1; !ok; n++) {
        fault_alloc_at(n);
        ok = evidence_keep(folder, "m", v, &err);
        fault_alloc_at(0);
        assert_int_equal(entries(folder), ok ? 1 : 0);
    }
}

static void no_policy_of_a_refusal(void **state)
{
    char path[128];
    struct err err = {0};
    snprintf(path, sizeof path, "%s/policy.ini", dir);
    assert_false(evidence_write_policy(path, "m", v, &err));
    assert_int_equal(err.kind, ERR_ATTESTATION);
    assert_int_not_equal(access(path, F_OK), 0);
}

int main(void)
{
#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {CASE(saved), CASE(kept), CASE(kept_without_memory),
                                       CASE(no_policy_of_a_refusal)};
    return cmocka_run_group_tests_name("evidence", tests, NULL, NULL);
}
