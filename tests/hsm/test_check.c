/* `--check --json`: what a token is told to be good for, and what is said when there is none. */
#include "harness.h"
#include "real.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "json/json.h"

static char report[65536];
static struct json_doc doc;

/* Runs it to its end; the exit code. */
static int check(struct kh *k)
{
    struct err err = {0};
    kh_arg(k, "--check", NULL);
    kh_arg(k, "--json", NULL);
    int out = open(kh_path(k, "report"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(out >= 0);
    kh_spawn(k, out);
    int code = kh_wait(k);
    ssize_t n = pread(out, report, sizeof report - 1, 0);
    close(out);
    assert_true(n > 0);
    report[n] = '\0';
    json_doc_init(&doc);
    assert_true(json_parse(&doc, report, (size_t)n, 4096, &err));
    return code;
}

static void finish(struct kh *k)
{
    json_doc_free(&doc);
    kh_remove(k);
}

static const struct json_node *at(const char *object, const char *member)
{
    return json_member(&doc, json_member(&doc, json_root(&doc), object), member);
}

static void assert_text(const struct json_node *node, const char *expected)
{
    char text[512] = "";
    assert_true(json_string_copy(&doc, node, text, sizeof text));
    assert_string_equal(text, expected);
}

/* The step id has this result, and its detail contains text. */
static void assert_step(const char *id, const char *expected, const char *text)
{
    const struct json_node *checks = json_member(&doc, json_root(&doc), "checks");
    for (const struct json_node *c = json_first(&doc, checks); c != NULL; c = json_next(&doc, c)) {
        char name[64] = "", result[32] = "", detail[512] = "";
        assert_true(json_string_copy(&doc, json_member(&doc, c, "id"), name, sizeof name));
        assert_true(json_string_copy(&doc, json_member(&doc, c, "result"), result, sizeof result));
        assert_true(json_string_copy(&doc, json_member(&doc, c, "detail"), detail, sizeof detail));
        if (strcmp(name, id) == 0) {
            assert_string_equal(result, expected);
            if (strstr(detail, text) == NULL) {
                fail_msg("%s: %s", id, detail);
            }
            return;
        }
    }
    fail_msg("no step %s in %s", id, report);
}

static uint64_t number(const struct json_node *node)
{
    uint64_t value = 0;
    assert_true(json_u64(&doc, node, &value));
    return value;
}

static void test_fast(void **state)
{
    struct kh k;
    kh_prepare(&k, "plain");
    assert_int_equal(check(&k), 0);
    static const char *const steps[] = {"protocol",   "module",  "token",    "login", "key pair",    "ECDH",
                                        "attributes", "destroy", "sessions", "rates", "nothing left"};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        assert_step(steps[i], "pass", "");
    }
    assert_text(at("token", "label"), "mock");
    assert_text(at("grade", "verdict"), "fast");
    assert_text(at("grade", "custody"), "token");
    assert_int_equal(number(at("grade", "models")), 128);
    assert_int_equal(number(at("grade", "pairs_per_year")), 8760);
    assert_true(number(json_member(&doc, at("grade", "streams"), "session")) > 0);
    assert_int_equal(kh_count(&k, "mock.log", "finalized objects=0 sessions=0 logged_in=0"), 1);
    finish(&k);
}

/* 30 ms for each: not one stream; more sessions change nothing where the token has one. */
static void test_slow(void **state)
{
    struct kh k;
    kh_prepare(&k, "derive_slow");
    kh_env(&k, "MOCK_DERIVE_MS", "30");
    kh_env(&k, "MOCK_SESSIONS", "1");
    assert_int_equal(check(&k), 0);
    assert_text(at("grade", "verdict"), "slow");
    assert_text(at("grade", "custody"), "session");
    assert_int_equal(number(json_member(&doc, at("grade", "streams"), "token")), 0);
    assert_int_equal(number(at("grade", "sessions")), 1);
    assert_step("sessions", "warn", "one operation at a time");
    finish(&k);
}

/* 10 ms each, four at a time: enough for some streams, and only with four sessions. */
static void test_sessions_help(void **state)
{
    struct kh k;
    kh_prepare(&k, "derive_slow");
    kh_env(&k, "MOCK_DERIVE_MS", "30");
    kh_env(&k, "MOCK_SESSIONS", "5"); /* one is the login's */
    assert_int_equal(check(&k), 0);
    assert_text(at("grade", "verdict"), "moderate");
    assert_text(at("grade", "custody"), "token");
    assert_int_equal(number(at("grade", "sessions")), 4);
    finish(&k);
}

static void test_one_session(void **state)
{
    struct kh k;
    kh_prepare(&k, "one_session");
    assert_int_equal(check(&k), 0);
    assert_step("sessions", "warn", "1 of 4: one operation at a time");
    assert_int_equal(number(at("grade", "sessions")), 1);
    finish(&k);
}

static void test_keys_on_token(void **state)
{
    struct kh k;
    bool on_token = false;
    kh_prepare(&k, "smartcard_hsm");
    kh_env(&k, "MOCK_STORE", kh_path(&k, "store"));
    assert_int_equal(check(&k), 0);
    assert_step("attributes", "warn", "not called CKA_SENSITIVE");
    assert_true(json_bool(at("grade", "keys_on_token"), &on_token) && on_token);
    finish(&k);
}

/* OpenSC's own module, before a simulated card: its room is known. */
static void test_smartcard_hsm(void **state)
{
    struct kh k;
    bool on_token = false;
    char label[64] = "";
    const char *missing = real_begin("opensc");
    if (missing != NULL) {
        print_message("left out: %s\n", missing);
        assert_null(getenv("CI"));
        skip();
    }
    kh_prepare(&k, "opensc");
    assert_int_equal(check(&k), 0);
    assert_true(json_string_copy(&doc, at("token", "label"), label, sizeof label));
    real_assert_label(label);
    assert_true(json_bool(at("grade", "keys_on_token"), &on_token) && on_token);
    assert_int_equal(number(at("grade", "models")), 29);
    assert_text(at("grade", "models_limit"), "key pairs that the token holds");
    assert_int_equal(real_keys(), 0);
    finish(&k);
    real_end();
}

static void assert_unfit(const char *step, const char *why)
{
    assert_step(step, "fail", why);
    assert_text(json_member(&doc, json_root(&doc), "verdict"), "failed");
    assert_text(at("grade", "verdict"), "unfit");
    assert_true(at("grade", "custody")->type == JSON_NULL);
}

static void test_unfit(void **state)
{
    static const struct {
        const char *module, *step, *why;
    } cases[] = {
        {"no_secp256k1", "key pair", "secp256k1"},
        {"no_ecdh", "token", "CKM_ECDH1_DERIVE"},
        {"derive_wrong_secret", "ECDH", "differs from libsecp256k1"},
        {"readable_private_key", "key pair", ""},
        {"pin_locked", "login", "locked"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct kh k;
        kh_prepare(&k, cases[i].module);
        assert_int_equal(check(&k), 1);
        assert_unfit(cases[i].step, cases[i].why);
        finish(&k);
    }
}

/* No token, or none of that name: said so, and no empty label or serial number. */
static void test_no_token(void **state)
{
    struct kh k;
    kh_prepare(&k, "plain");
    kh_arg(&k, "--token", "pkcs11:token=absent");
    assert_int_equal(check(&k), 1);
    assert_unfit("token", "no token matches --token");
    assert_true(json_member(&doc, json_root(&doc), "token")->type == JSON_NULL);
    finish(&k);
}

static void test_no_module(void **state)
{
    struct kh k;
    kh_prepare(&k, "there_is_none");
    assert_int_equal(check(&k), 1);
    assert_unfit("module", "");
    assert_true(json_member(&doc, json_root(&doc), "token")->type == JSON_NULL);
    finish(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fast),          cmocka_unit_test(test_slow),
        cmocka_unit_test(test_sessions_help), cmocka_unit_test(test_one_session),
        cmocka_unit_test(test_keys_on_token), cmocka_unit_test(test_smartcard_hsm),
        cmocka_unit_test(test_unfit),         cmocka_unit_test(test_no_token),
        cmocka_unit_test(test_no_module),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
