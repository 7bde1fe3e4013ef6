/* Every captured and tampered quote of the vectors, each at its own moment, against what expected.json says. */
#include <dirent.h>

#include "run.h"

/* Which check refuses a vector, by the start of the folder's name: the kind of reason that expected.json gives in words
 * of its own. */
static const struct {
    const char *name, *check;
} reasons[] = {
    {"neg/01", "pck.format"},
    {"neg/02", "quote.signature"},
    {"neg/03", "quote.signature"},
    {"neg/04", "quote.signature"},
    {"neg/05", "quote.signature"},
    {"neg/06", "qe.binding"},
    {"neg/07", "qe.signature"},
    {"neg/08", "qe.signature"},
    {"neg/09", "qe.binding"},
    {"neg/10", "quote.format"},
    {"neg/11", "quote.format"},
    {"neg/12", "quote.format"},
    {"neg/13", "quote.format"},
    {"neg/14", "quote.format"},
    {"neg/15", "quote.format"},
    {"neg/16", "quote.format"},
    {"neg/17", "quote.format"},
    {"neg/18", "qe.signature"},
    {"neg/19", "tcb_info.signature"},
    {"neg/20", "tcb_info.signature"},
    {"neg/21", "qe_identity"},
    {"neg/22", "pck.crl"},
    {"neg/23", "pck.crl"},
    {"neg/24", "quote.format"},
    {"neg/25", "quote.format"},
    {"policy/01", "tcb.status"},
    {"policy/02", "tcb.status"},
    {"policy/03", "tcb.level"},
    {"policy/04", "collateral"},
    {"policy/05", "collateral"},
    {"policy/06", "pck.crl"},
    {"policy/07", "pck.crl"},
    {"policy/08", "tcb_info.platform"},
    {"policy/09", "tcb.level"},
    {"sigonly/", "collateral"},
};

static void passed(const struct attest_verdict *v, const char *id)
{
    const struct verdict_check *c = verdict_find(v, id);
    if (c == NULL || c->result != CHECK_PASS) {
        fail_msg("%s did not pass: %s", id, c != NULL ? c->detail : "absent");
    }
}

static void check_reference(const struct attest_verdict *v, const char *dir)
{
    struct buf text;
    struct json_doc doc;
    char hex[2 * MEASUREMENT_BYTES + 1], expected[128];
    json_doc_init(&doc);
    assert_true(vectors_read(&text, dir, "expected.json"));
    assert_true(json_parse(&doc, (const char *)text.data, text.len, LIMIT_JSON_NODES, NULL));
    const struct json_node *ref = json_present(&doc, json_root(&doc), "reference_verifier");
    if (v->tcb_status != TCB_NONE) {
        const struct json_node *list = json_present(&doc, ref, "advisories");
        assert_non_null(list);
        assert_int_equal(list->count, v->advisory_count);
        for (const struct json_node *n = json_first(&doc, list); n != NULL; n = json_next(&doc, n)) {
            bool found = false;
            assert_true(json_string_copy(&doc, n, expected, sizeof expected));
            for (size_t i = 0; i < v->advisory_count; i++) {
                found = found || strcmp(v->advisories[i], expected) == 0;
            }
            assert_true(found);
        }
        assert_true(json_string_copy(&doc, json_present(&doc, ref, "platform"), expected, sizeof expected));
        assert_string_equal(expected, tcb_status_name(v->platform.platform));
        assert_true(json_string_copy(&doc, json_present(&doc, ref, "module"), expected, sizeof expected));
        assert_string_equal(expected, tcb_status_name(v->platform.module));
        assert_true(json_string_copy(&doc, json_present(&doc, ref, "tcb_date"), expected, sizeof expected));
        assert_string_equal(expected, v->tcb_date);
    }
    if (json_string_copy(&doc, json_present(&doc, ref, "mr_td"), expected, sizeof expected)) {
        assert_string_equal(expected, hex_str(hex, v->measurements.mrtd, MEASUREMENT_BYTES));
    }
    if (json_string_copy(&doc, json_present(&doc, ref, "rtmr3"), expected, sizeof expected)) {
        assert_string_equal(expected, hex_str(hex, v->measurements.rtmr[3], MEASUREMENT_BYTES));
    }
    json_doc_free(&doc);
    buf_free(&text);
}

static void check_folder(struct run *r, const char *name, const char *dir)
{
    struct vector_expectation e;
    struct buf json;
    assert_true(vectors_expectation(&e, dir));
    judge(r, dir, e.has_at ? e.at : 1781056027);
    const struct attest_verdict *v = r->v;
    if (strcmp(v->verified ? "verified" : "refused", e.verdict) != 0 ||
        strcmp(v->tcb_status != TCB_NONE ? tcb_status_name(v->tcb_status) : "", e.tcb_status) != 0) {
        fail_msg("%s: %s (%s), expected %s %s", name, v->verified ? "verified" : "refused", v->reason,
                 e.verdict, e.tcb_status);
    }
    if (!v->verified) {
        bool known = false;
        for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++) {
            if (strncmp(name, reasons[i].name, strlen(reasons[i].name)) == 0) {
                size_t len = strlen(reasons[i].check);
                known = true;
                if (strncmp(v->reason, reasons[i].check, len) != 0 || v->reason[len] != ':') {
                    fail_msg("%s: refused for %s, expected %s (%s)", name, v->reason, reasons[i].check,
                             e.reason);
                }
            }
        }
        assert_true(known);
    }
    if (strcmp(e.expect, "reject") != 0) {
        passed(v, "qe.signature");
        passed(v, "qe.binding");
        passed(v, "quote.signature");
        check_reference(v, dir);
    }
    if (strstr(e.reason, "MRSERVICETD") != NULL) {
        assert_int_equal(verdict_find(v, "td.service")->result, CHECK_FAIL);
    }
    buf_init(&json, 0);
    assert_true(verdict_to_json(v, &json, NULL));
    struct json_doc doc;
    json_doc_init(&doc);
    assert_true(json_parse(&doc, (const char *)json.data, json.len, LIMIT_JSON_NODES, NULL));
    json_doc_free(&doc);
    assert_true(verdict_to_text(v, &json, NULL));
    if (getenv("VECTORS_PRINT") != NULL) {
        print_message("%s\n%s\n", name, buf_cstr(&json));
    }
    buf_free(&json);
}

static size_t check_all_in(struct run *r, const char *root, const char *kind)
{
    char path[1100], dir[2048], name[512];
    size_t count = 0;
    snprintf(path, sizeof path, "%s/%s", root, kind);
    DIR *d = opendir(path);
    assert_non_null(d);
    for (struct dirent *entry; (entry = readdir(d)) != NULL;) {
        if (entry->d_name[0] != '.') {
            snprintf(name, sizeof name, "%s/%s", kind, entry->d_name);
            snprintf(dir, sizeof dir, "%s/%s", root, name);
            check_folder(r, name, dir);
            count++;
        }
    }
    closedir(d);
    return count;
}

static void shared_vectors(void **state)
{
    const char *root = vectors_shared();
    struct run r;
    (void)state;
    if (root == NULL) {
        print_message("shared/vectors is not there: captured quotes skipped\n");
        skip();
    }
    run_init(&r);
    assert_int_equal(check_all_in(&r, root, "pos"), 14);
    assert_int_equal(check_all_in(&r, root, "policy"), 9);
    assert_int_equal(check_all_in(&r, root, "sigonly"), 5);
    assert_int_equal(check_all_in(&r, root, "neg"), 25);
    run_free(&r);
}

/* The part of them that is in this tree. */
static void own_vectors(void **state)
{
    struct run r;
    (void)state;
    run_init(&r);
    assert_int_equal(check_all_in(&r, OWN_VECTORS, "pos"), 4);
    assert_int_equal(check_all_in(&r, OWN_VECTORS, "policy"), 2);
    assert_int_equal(check_all_in(&r, OWN_VECTORS, "sigonly"), 1);
    run_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shared_vectors),
        cmocka_unit_test(own_vectors),
    };
    return cmocka_run_group_tests_name("vectors", tests, NULL, NULL);
}
