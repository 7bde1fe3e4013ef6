/* --audit-key: the operator's key in a real SoftHSM token signs the custody log, is found or refused by its URI, survives whatever
 * the keyholder does to its own keys, and what happens when it cannot sign. Judged by `audit verify` of both programs. */
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct kh k;
static char uri[256];

static void prepare(const char *module)
{
    kh_prepare(&k, module);
    if (strcmp(module, "softhsm") != 0) {
        kh_softhsm_folder(&k);
        kh_softhsm_token(&k, "e2ee", "1234");
        kh_env(&k, "MOCK_GONE", kh_path(&k, "gone"));
    }
    kh_arg(&k, "--token", "pkcs11:token=e2ee");
    static char log[96];
    snprintf(log, sizeof log, "%s", kh_path(&k, "custody"));
    kh_arg(&k, "--audit-log", log);
}

static void sign_with(const char *text)
{
    snprintf(uri, sizeof uri, "%s", text);
    kh_arg(&k, "--audit-key", uri);
}

static void start(void)
{
    if (!kh_start(&k)) {
        fail_msg("%s", k.report);
    }
}

static void stop(void)
{
    assert_int_equal(kh_stop(&k), KEYIPC_EXIT_OK);
}

/* The public half of id, by pkcs11-tool and openssl. */
static void export_key(const char *token, const char *id, const char *name)
{
    char command[512];
    snprintf(command, sizeof command,
             "pkcs11-tool --module " HARNESS_SOFTHSM
             " --token-label %s --read-object --type pubkey --id %s 2>/dev/null"
             " | openssl pkey -pubin -inform DER -out '%s'",
             token, id, kh_path(&k, name));
    assert_int_equal(kh_shell(command), 0);
}

/* `audit verify` of one of the programs: its exit code; what it said is in the file "said". */
static int verify(const char *program, const char *key, const char *more)
{
    char command[512], option[160] = "";
    if (key != NULL) {
        snprintf(option, sizeof option, "--key '%s'", kh_path(&k, key));
    }
    snprintf(command, sizeof command,
             "E2EE_PROXY_CONFIG=/dev/null " E2EE_BUILD_DIR "/%s audit verify '%s'* %s %s >'%s' 2>&1", program,
             kh_path(&k, "custody"), option, more, kh_path(&k, "said"));
    return kh_shell(command);
}

static void expect_good(const char *key)
{
    static const char *const programs[] = {"e2ee-keyholder", "e2ee-hsm-proxy"};
    for (size_t i = 0; i < 2; i++) {
        int code = verify(programs[i], key, "");
        if (code != 0 || kh_count(&k, "said", "the chain holds") != 1) {
            fail_msg("%s: %d, see %s", programs[i], code, kh_path(&k, "said"));
        }
    }
}

static void use(int keys)
{
    struct kh_peer model, server;
    kh_peer_new(&model);
    kh_peer_new(&server);
    int control = kh_control(&k, NULL);
    for (int i = 0; i < keys; i++) {
        uint8_t point[POINT_BYTES];
        uint64_t key;
        kh_open(&k, control, &model, &key, point);
        assert_int_equal(kh_derive(&k, control, key, 1, &server, point, NULL), ERR_NONE);
        kh_close_key(&k, control, key);
    }
    close(control);
    kh_peer_free(&model);
    kh_peer_free(&server);
}

static void test_kinds_of_keys(void **state)
{
    static const struct {
        const char *type, *id, *uri, *algorithm;
    } kinds[] = {
        {"EC:prime256v1", "01", "pkcs11:object=audit", "ecdsa-sha256"},
        {"EC:secp256k1", "02", "pkcs11:token=e2ee;id=%02", "ecdsa-sha256"},
        {"rsa:2048", "03", "pkcs11:token=e2ee;id=%03;type=private", "rsa-sha256"},
        {"EC:secp384r1", "04", "pkcs11:id=%04", "ecdsa-sha384"},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        prepare("softhsm");
        kh_softhsm_key(&k, "e2ee", "1234", kinds[i].type, "audit", kinds[i].id,
                       i == 0 ? "--extractable" : "--usage-sign");
        sign_with(kinds[i].uri);
        start();
        use(3);
        stop();
        assert_int_equal(kh_count(&k, "log", "may be wrapped out of its token"), i == 0);
        assert_int_equal(kh_count(&k, "custody", "\"event\":\"checkpoint\""), 2);
        assert_int_equal(kh_count(&k, "custody", kinds[i].algorithm), 3);
        if (strcmp(kinds[i].type, "EC:secp384r1") !=
            0) { /* pkcs11-tool of Debian 12 does not read its public half */
            export_key("e2ee", kinds[i].id, "audit.pem");
            expect_good("audit.pem");
            assert_int_equal(kh_count(&k, "said", "it ends by a stop that is signed"), 1);
        }
        assert_int_equal(kh_softhsm_objects(&k, "e2ee", "1234", "audit"), 2);
        kh_remove(&k);
    }
}

/* Another token of the same module, with a PIN of its own; and two runs of one log. */
static void test_other_token(void **state)
{
    char text[256];
    prepare("softhsm");
    kh_softhsm_token(&k, "witness", "5678");
    kh_softhsm_key(&k, "witness", "5678", "EC:prime256v1", "audit", "01", "--usage-sign");
    kh_write(&k, "pin2", "5678\n");
    snprintf(text, sizeof text, "pkcs11:token=witness;object=audit?pin-source=file:%s", kh_path(&k, "pin2"));
    sign_with(text);
    for (int i = 0; i < 2; i++) {
        start();
        use(1);
        stop();
    }
    export_key("witness", "01", "audit.pem");
    expect_good("audit.pem");
    assert_int_equal(kh_count(&k, "said", "note: "), 0);
    assert_int_equal(kh_softhsm_objects(&k, "witness", "5678", "audit"), 2);
    kh_remove(&k);
}

static void refuse(int code, const char *word)
{
    if (kh_start(&k)) {
        fail_msg("it started, and should have said: %s", word);
    }
    if (strstr(k.report, word) == NULL && kh_count(&k, "log", word) == 0) {
        fail_msg("no \"%s\" in: %s", word, k.report);
    }
    assert_int_equal(kh_stop(&k), code);
}

static void test_refused_keys(void **state)
{
    static const struct {
        const char *uri, *word;
    } cases[] = {
        {"pkcs11:token=e2ee;object=nothing", "has no private key that the URI names"},
        {"pkcs11:token=e2ee;object=twins", "more than one private key"},
        {"pkcs11:token=e2ee;object=big", "EC on P-256, P-384 or secp256k1"},
        {"pkcs11:token=e2ee;id=%06", "label begins with"},
        {"pkcs11:token=e2ee;object=e2ee-keyholder%20x", "label begins with"},
        {"pkcs11:token=e2ee", "must name a private key"},
        {"pkcs11:token=e2ee;object=twins;type=cert", "must name a private key"},
        {"pkcs11:token=e2ee;object=twins?pin-value=1234", "pin-value"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        prepare("softhsm");
        kh_softhsm_key(&k, "e2ee", "1234", "EC:prime256v1", "twins", "01", "--usage-sign");
        kh_softhsm_key(&k, "e2ee", "1234", "EC:prime256v1", "twins", "02", "--usage-sign");
        kh_softhsm_key(&k, "e2ee", "1234", "EC:secp521r1", "big", "05", "--usage-sign");
        kh_softhsm_key(&k, "e2ee", "1234", "EC:prime256v1", "e2ee-keyholder x", "06", "--usage-sign");
        sign_with(cases[i].uri);
        refuse(KEYIPC_EXIT_FAILED, cases[i].word);
        kh_remove(&k);
    }
    kh_prepare(&k, "softhsm");
    kh_arg(&k, "--audit-key", "pkcs11:object=audit");
    refuse(KEYIPC_EXIT_FAILED, "name it by --audit-log");
    kh_remove(&k);
}

/* A key of the operator's with the very label that this instance's keys get: never swept, and refused. */
static void test_never_swept(void **state)
{
    char label[64] = "e2ee-keyholder ";
    prepare("softhsm");
    start(); /* makes the instance's id */
    stop();
    FILE *f = fopen(kh_path(&k, "state/instance-0"), "r");
    assert_non_null(f);
    assert_int_equal(fread(label + strlen(label), 1, 16, f), 16);
    fclose(f);
    kh_softhsm_key(&k, "e2ee", "1234", "EC:prime256v1", label, "01", "--usage-sign");
    kh_softhsm_key(&k, "e2ee", "1234", "EC:prime256v1", label, "02", "--usage-sign");
    sign_with("pkcs11:token=e2ee;id=%01");
    refuse(KEYIPC_EXIT_FAILED, "label begins with");
    assert_int_equal(kh_softhsm_objects(&k, "e2ee", "1234", label),
                     2); /* the other one was taken for a left-over */
    kh_remove(&k);
}

static void gone(const char *name, bool is)
{
    char file[64];
    snprintf(file, sizeof file, "gone.%s", name);
    if (is) {
        kh_write(&k, file, "");
    } else {
        assert_int_equal(unlink(kh_path(&k, file)), 0);
    }
}

static void prepare_vanishing(bool own_token)
{
    char text[256];
    prepare("softhsm_vanishes");
    if (own_token) {
        kh_softhsm_token(&k, "witness", "5678");
        kh_write(&k, "pin2", "5678\n");
    }
    kh_softhsm_key(&k, own_token ? "witness" : "e2ee", own_token ? "5678" : "1234", "EC:prime256v1", "audit",
                   "01", "--usage-sign");
    snprintf(text, sizeof text, "pkcs11:object=audit;token=%s%s%s", own_token ? "witness" : "e2ee",
             own_token ? "?pin-source=file:" : "", own_token ? kh_path(&k, "pin2") : "");
    sign_with(text);
    kh_write(&k, "conf", "[token]\naudit_checkpoint = 5\n");
    static char conf[96];
    snprintf(conf, sizeof conf, "%s", kh_path(&k, "conf"));
    kh_arg(&k, "--config", conf);
}

/* Signing fails in the middle: keys are made and used as before, the log says so once, and all is signed when it works again. */
static void fails_in_the_middle(const char *how, bool own_token)
{
    prepare_vanishing(own_token);
    start();
    use(2);
    gone(how, true);
    use(6);
    kh_await(&k, "custody", "\"event\":\"checkpoint_failed\"");
    size_t before = kh_count(&k, "custody", "\"event\":\"checkpoint\"");
    use(3);
    assert_int_equal(kh_count(&k, "custody", "\"event\":\"checkpoint_failed\""), 1);
    assert_int_equal(kh_count(&k, "custody", "\"event\":\"checkpoint\""), before);
    gone(how, false);
    kh_await(&k, "log", "the custody log is signed again");
    use(2);
    stop();
    export_key(own_token ? "witness" : "e2ee", "01", "audit.pem");
    expect_good("audit.pem");
    assert_int_equal(kh_count(&k, "said", "it ends by a stop that is signed"), 1);
    assert_int_equal(kh_count(&k, "said", "note: "), 0);
    kh_remove(&k);
}

static void test_fails(void **state)
{
    fails_in_the_middle("signing", false);
    fails_in_the_middle("signing-wrong", true);
}

static void test_token_gone(void **state)
{
    fails_in_the_middle("witness", true);
}

/* The token of both: its keys go, it comes back, and the key of the checkpoints is found again in a session of the new login. */
static void test_host_gone(void **state)
{
    prepare_vanishing(false);
    start();
    use(2);
    gone("e2ee", true);
    struct kh_peer model;
    kh_peer_new(&model);
    int control = kh_control(&k, NULL);
    char why[241];
    assert_int_equal(kh_open_fails(&k, control, model.point, why), ERR_TOKEN);
    close(control);
    kh_peer_free(&model);
    gone("e2ee", false);
    kh_await(&k, "log", "the token is back");
    use(10);
    stop();
    export_key("e2ee", "01", "audit.pem");
    expect_good("audit.pem");
    assert_int_equal(kh_count(&k, "said", "it ends by a stop that is signed"), 1);
    assert_int_equal(kh_softhsm_objects(&k, "e2ee", "1234", "audit"), 2);
    kh_remove(&k);
}

static void test_hangs(void **state)
{
    prepare_vanishing(true);
    kh_arg(&k, "--token-timeout", "2");
    start();
    gone("signing-hangs", true);
    use(6); /* nobody waits for a signature */
    assert_int_equal(kh_wait(&k), KEYIPC_EXIT_TOKEN);
    close(k.channel);
    k.channel = -1;
    assert_int_equal(kh_count(&k, "custody", "\"event\":\"hang\",\"call\":\"C_Sign\""), 1);
    gone("signing-hangs", false);
    start();
    stop();
    export_key("witness", "01", "audit.pem");
    expect_good("audit.pem");
    assert_int_equal(kh_count(&k, "said", "were signed only as this start found them"), 1);
    kh_remove(&k);
}

/* A key that does not sign at the start ends it; a wrong PIN is tried once in all, and its unit's token is not asked with it. */
static void test_start_fails(void **state)
{
    prepare_vanishing(true);
    gone("signing", true);
    refuse(KEYIPC_EXIT_TOKEN, "--audit-key: C_Sign");
    gone("signing", false);
    gone("may-sign", true);
    refuse(KEYIPC_EXIT_FAILED, "its CKA_SIGN is false");
    gone("may-sign", false);
    gone("secrecy", true);
    refuse(KEYIPC_EXIT_FAILED, "can be read out of its token");
    gone("secrecy", false);
    gone("witness", true);
    refuse(KEYIPC_EXIT_TOKEN, "no token matches");
    gone("witness", false);
    kh_write(&k, "pin2", "9999\n");
    refuse(KEYIPC_EXIT_PIN, "refused the PIN (CKR_PIN_INCORRECT)");
    refuse(KEYIPC_EXIT_PIN, "has refused the PIN in");
    unlink(kh_path(&k, "pin2"));
    kh_write(&k, "pin2", "5678\n");
    start();
    stop();
    export_key("witness", "01", "audit.pem");
    expect_good("audit.pem");
    assert_int_equal(kh_count(&k, "said", "note: "), 0); /* each of those ends was in order */
    kh_remove(&k);
}

/* The Nth call of each kind fails once, in a run with checkpoints every five lines. */
static void test_nth_call(void **state)
{
    static const char *const names[] = {"C_SignInit", "C_Sign", "C_FindObjectsInit", "C_GetAttributeValue"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        for (int n = 1; n <= 13; n += n < 4 ? 1 : 3) {
            char at[16];
            prepare_vanishing(n % 2 == 0);
            snprintf(at, sizeof at, "%d", n);
            kh_env(&k, "MOCK_FAIL_NAME", names[i]);
            kh_env(&k, "MOCK_FAIL_AT", at);
            bool started = kh_start(&k);
            if (started) {
                use(4);
                stop();
            } else {
                assert_true(strlen(k.report) > 20);
                kh_stop(&k);
            }
            if (started) {
                export_key(n % 2 == 0 ? "witness" : "e2ee", "01", "audit.pem");
                expect_good("audit.pem");
            }
            assert_int_equal(kh_softhsm_objects(&k, n % 2 == 0 ? "witness" : "e2ee",
                                                n % 2 == 0 ? "5678" : "1234", "audit"),
                             2);
            kh_remove(&k);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kinds_of_keys), cmocka_unit_test(test_other_token),
        cmocka_unit_test(test_refused_keys),  cmocka_unit_test(test_never_swept),
        cmocka_unit_test(test_fails),         cmocka_unit_test(test_token_gone),
        cmocka_unit_test(test_host_gone),     cmocka_unit_test(test_hangs),
        cmocka_unit_test(test_start_fails),   cmocka_unit_test(test_nth_call),
    };
    if (access(HARNESS_SOFTHSM, R_OK) != 0 || access("/usr/bin/pkcs11-tool", X_OK) != 0) {
        printf("%s: SoftHSM2 or pkcs11-tool is not installed\n", getenv("CI") != NULL ? "FAILED" : "SKIPPED");
        return getenv("CI") != NULL ? 1 : 77;
    }
    assert_true(secret_heap_init(NULL));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
