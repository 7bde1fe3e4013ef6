/* The YubiHSM 2's mock against tokens.md, row by row, without a keyholder: what ours never asks of it, so that no other test
 * would notice a mock that is kinder than the device. */
#include "harness.h"

#include <dlfcn.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hsm/ecdh1.h"

static CK_FUNCTION_LIST *f;
static CK_SESSION_HANDLE session;
static char device[] = "/tmp/e2ee-hsm-device-XXXXXX";

static CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
static uint8_t curve[] = {0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x0a};

static CK_RV initialize(void)
{
    CK_C_INITIALIZE_ARGS args = {.flags = CKF_OS_LOCKING_OK};
    return f->C_Initialize(&args);
}

static CK_RV open_session(CK_SESSION_HANDLE *out)
{
    CK_SLOT_ID slot;
    CK_ULONG count = 1;
    CK_RV rv = f->C_GetSlotList(CK_TRUE, &slot, &count);
    return rv != CKR_OK ? rv
           : count == 0 ? CKR_TOKEN_NOT_PRESENT
                        : f->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, out);
}

static CK_RV login(const char *pin)
{
    return f->C_Login(session, CKU_USER, (unsigned char *)(uintptr_t)pin, strlen(pin));
}

/* The device keeps what the row before made. */
static void clear(void)
{
    CK_OBJECT_CLASS class = CKO_PRIVATE_KEY;
    CK_ATTRIBUTE wanted = {CKA_CLASS, &class, sizeof class};
    CK_OBJECT_HANDLE objects[600];
    CK_ULONG count = 0;
    f->C_FindObjectsInit(session, &wanted, 1);
    f->C_FindObjects(session, objects, 600, &count);
    f->C_FindObjectsFinal(session);
    for (CK_ULONG i = 0; i < count; i++) {
        f->C_DestroyObject(session, objects[i]);
    }
}

static int begin(void **state)
{
    int fd = mkstemp(device);
    close(fd);
    setenv("MOCK_DEVICE", device, 1);
    if (fd < 0 || initialize() != CKR_OK || open_session(&session) != CKR_OK ||
        login(HARNESS_YUBIHSM_PIN) != CKR_OK) {
        return -1;
    }
    clear();
    return 0;
}

static int end(void **state)
{
    static const char *const names[] = {"MOCK_DEVICE", "MOCK_DEVICE_IDLE_MS", "MOCK_GONE", "MOCK_ROOM"};
    f->C_Logout(session);
    f->C_Finalize(NULL);
    unlink(device);
    memcpy(device + sizeof device - 7, "XXXXXX", 6);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        unsetenv(names[i]);
    }
    return 0;
}

struct pair {
    CK_OBJECT_HANDLE private_key, public_key;
    uint8_t point[POINT_BYTES];
};

static CK_RV make(struct pair *p, CK_ATTRIBUTE *more, CK_ULONG count, const char *public_label)
{
    CK_MECHANISM mechanism = {CKM_EC_KEY_PAIR_GEN, NULL, 0};
    char label[] = "row";
    CK_ATTRIBUTE public_template[] = {{CKA_EC_PARAMS, curve, sizeof curve},
                                      {CKA_TOKEN, &yes, 1},
                                      {CKA_LABEL, (void *)(uintptr_t)public_label, strlen(public_label)}};
    CK_ATTRIBUTE private_template[8] = {{CKA_LABEL, label, 3}};
    CK_ULONG n = public_label[0] == 'r' ? 1 : 0; /* else a label on the public half only */
    for (CK_ULONG i = 0; i < count; i++) {
        private_template[n + i] = more[i];
    }
    CK_RV rv = f->C_GenerateKeyPair(session, &mechanism, public_template, 3, private_template, n + count,
                                    &p->public_key, &p->private_key);
    uint8_t wrapped[67];
    CK_ATTRIBUTE point = {CKA_EC_POINT, wrapped, sizeof wrapped};
    if (rv == CKR_OK) {
        assert_int_equal(f->C_GetAttributeValue(session, p->public_key, &point, 1), CKR_OK);
        assert_true(point.ulValueLen == 67 && wrapped[0] == 4 && wrapped[1] == 65);
        memcpy(p->point, wrapped + 2, POINT_BYTES);
    }
    return rv;
}

static void make_good(struct pair *p)
{
    CK_ATTRIBUTE more[] = {{CKA_TOKEN, &yes, 1},
                           {CKA_PRIVATE, &yes, 1},
                           {CKA_SENSITIVE, &yes, 1},
                           {CKA_EXTRACTABLE, &no, 1},
                           {CKA_DERIVE, &yes, 1}};
    assert_int_equal(make(p, more, 5, "row"), CKR_OK);
}

struct wish {
    CK_KEY_TYPE type;
    CK_BBOOL token, extractable;
    CK_ULONG len, point_len;
};
static const struct wish usual = {CKK_GENERIC_SECRET, CK_FALSE, CK_TRUE, 32, POINT_BYTES};

static CK_RV derive(const struct pair *p, const uint8_t *point, struct wish w, CK_OBJECT_HANDLE *out)
{
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    uint8_t data[67];
    CK_ATTRIBUTE wanted[] = {{CKA_CLASS, &class, sizeof class},
                             {CKA_KEY_TYPE, &w.type, sizeof w.type},
                             {CKA_TOKEN, &w.token, 1},
                             {CKA_SENSITIVE, &no, 1},
                             {CKA_EXTRACTABLE, &w.extractable, 1},
                             {CKA_VALUE_LEN, &w.len, sizeof w.len}};
    struct ecdh1_params params = {.kdf = CKD_NULL, .public_point = data, .public_len = w.point_len};
    CK_MECHANISM mechanism = {CKM_ECDH1_DERIVE, &params, sizeof params};
    size_t wrap = w.point_len - POINT_BYTES;
    data[0] = 4;
    data[1] = 65;
    memcpy(data + wrap, point, POINT_BYTES);
    return f->C_DeriveKey(session, &mechanism, p->private_key, wanted, 6, out);
}

static size_t read_value(CK_OBJECT_HANDLE object, uint8_t out[static 32])
{
    CK_ATTRIBUTE value = {CKA_VALUE, out, 32};
    return f->C_GetAttributeValue(session, object, &value, 1) == CKR_OK ? value.ulValueLen : 0;
}

static void test_login(void **state)
{
    f->C_Logout(session);
    assert_int_equal(login("0011password"), CKR_OBJECT_HANDLE_INVALID);
    assert_int_equal(login("0010passwore"), CKR_PIN_INCORRECT);
    assert_int_equal(login("0010passwor"), CKR_ARGUMENTS_BAD);
    assert_int_equal(login(HARNESS_YUBIHSM_PIN), CKR_OK);
    assert_int_equal(login(HARNESS_YUBIHSM_PIN), CKR_USER_ALREADY_LOGGED_IN);
}

/* Sixteen of the device; what C_Finalize leaves is taken until it is forgotten, what C_Logout ends is free at once. */
static void test_device_sessions(void **state)
{
    for (int i = 0; i < 20; i++) {
        f->C_Logout(session);
        assert_int_equal(login(HARNESS_YUBIHSM_PIN), CKR_OK);
    }
    for (int i = 2; i <= 16; i++) {
        assert_int_equal(f->C_Finalize(NULL), CKR_OK);
        assert_int_equal(initialize(), CKR_OK);
        assert_int_equal(open_session(&session), CKR_OK);
        assert_int_equal(login(HARNESS_YUBIHSM_PIN), CKR_OK);
    }
    f->C_Finalize(NULL);
    assert_int_equal(initialize(), CKR_OK);
    assert_int_equal(open_session(&session), CKR_OK);
    assert_int_equal(login(HARNESS_YUBIHSM_PIN), CKR_SESSION_COUNT);
    setenv("MOCK_DEVICE_IDLE_MS", "1", 1);
    usleep(20000);
    assert_int_equal(login(HARNESS_YUBIHSM_PIN), CKR_OK);
}

static void test_silence(void **state)
{
    uint8_t byte;
    setenv("MOCK_DEVICE_IDLE_MS", "30", 1);
    usleep(60000);
    assert_int_equal(f->C_GenerateRandom(session, &byte, 1), CKR_OK); /* unasked */
    for (int special = 0; special < 2; special++) {
        f->C_Logout(session);
        assert_int_equal(login(special ? "#" HARNESS_YUBIHSM_PIN : "@" HARNESS_YUBIHSM_PIN), CKR_OK);
        usleep(60000);
        assert_int_equal(f->C_GenerateRandom(session, &byte, 1), CKR_SESSION_CLOSED);
    }
}

static void test_pulled_out(void **state)
{
    struct pair p;
    struct pair again;
    CK_SLOT_INFO slot_info;
    CK_TOKEN_INFO token_info;
    CK_OBJECT_HANDLE secret;
    make_good(&p);
    setenv("MOCK_GONE", device, 1); /* a file that is there */
    assert_int_equal(f->C_GetSlotInfo(7, &slot_info), CKR_OK);
    assert_true(slot_info.flags & CKF_TOKEN_PRESENT);
    assert_int_equal(f->C_GetTokenInfo(7, &token_info), CKR_OK);
    assert_int_equal(derive(&p, p.point, usual, &secret), CKR_DEVICE_REMOVED);
    assert_int_equal(f->C_GenerateRandom(session, p.point, 1), CKR_DEVICE_REMOVED);
    assert_int_equal(f->C_DestroyObject(session, p.private_key), CKR_DEVICE_REMOVED);
    unsetenv("MOCK_GONE");
    again = p;
    make_good(&again);
    assert_int_equal(derive(&p, again.point, usual, &secret), CKR_OK); /* the same handles */
    setenv("MOCK_GONE", device, 1);
    f->C_Finalize(NULL);
    assert_int_equal(initialize(), CKR_OK);
    assert_int_equal(open_session(&session), CKR_TOKEN_NOT_PRESENT);
    unsetenv("MOCK_GONE");
    assert_int_equal(open_session(&session), CKR_TOKEN_NOT_PRESENT); /* absent until it is initialised anew */
    f->C_Finalize(NULL);
    assert_int_equal(initialize(), CKR_OK);
    assert_int_equal(open_session(&session), CKR_OK);
    assert_int_equal(login(HARNESS_YUBIHSM_PIN), CKR_OK);
    assert_int_equal(derive(&p, again.point, usual, &secret), CKR_OK); /* handles survive C_Finalize */
}

static void test_templates(void **state)
{
    struct pair p, q;
    CK_OBJECT_HANDLE secret;
    uint8_t whole[32], low[32];
    CK_ATTRIBUTE refused[] = {{CKA_TOKEN, &no, 1}, {CKA_PRIVATE, &no, 1}, {CKA_SENSITIVE, &no, 1}};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(make(&q, &refused[i], 1, "row"), CKR_ATTRIBUTE_VALUE_INVALID);
    }
    make_good(&p);
    struct wish w = usual;
    w.point_len = 67;
    assert_int_equal(derive(&p, p.point, w, &secret), CKR_DATA_LEN_RANGE);
    w = usual;
    w.len = 33;
    assert_int_equal(derive(&p, p.point, w, &secret), CKR_DATA_LEN_RANGE);
    w = usual;
    w.type = CKK_AES;
    assert_int_equal(derive(&p, p.point, w, &secret), CKR_ATTRIBUTE_VALUE_INVALID);
    w = usual;
    w.token = CK_TRUE;
    assert_int_equal(derive(&p, p.point, w, &secret), CKR_ATTRIBUTE_VALUE_INVALID);
    w = usual;
    w.extractable = CK_FALSE;
    assert_int_equal(derive(&p, p.point, w, &secret), CKR_ATTRIBUTE_VALUE_INVALID);
    assert_int_equal(derive(&p, p.point, usual, &secret), CKR_OK);
    assert_int_equal(read_value(secret, whole), 32);
    assert_int_equal(f->C_DestroyObject(session, secret), CKR_OK);
    w = usual;
    w.len = 16;
    assert_int_equal(derive(&p, p.point, w, &secret), CKR_OK);
    assert_int_equal(read_value(secret, low), 16);
    assert_memory_equal(low, whole + 16, 16); /* the low-order half */
    p.point[64] ^= 1;
    assert_int_equal(derive(&p, p.point, usual, &secret), CKR_DEVICE_ERROR);
    assert_int_equal(f->C_DestroyObject(session, p.private_key), CKR_OK);
    p.point[64] ^= 1;
    assert_int_equal(derive(&p, p.point, usual, &secret), CKR_OBJECT_HANDLE_INVALID);
}

/* Derive A and B, destroy A, derive C: C gets B's handle, which reads B's secret, and whose destruction leaves C's. */
static void test_mix_up(void **state)
{
    struct pair p, one, two, three;
    CK_OBJECT_HANDLE a, b, c;
    uint8_t secret_b[32], secret[32];
    make_good(&p);
    make_good(&one);
    make_good(&two);
    make_good(&three);
    assert_int_equal(derive(&p, one.point, usual, &a), CKR_OK);
    assert_int_equal(derive(&p, two.point, usual, &b), CKR_OK);
    assert_int_equal(a, 0xff0001);
    assert_int_equal(b, 0xff0002);
    assert_int_equal(read_value(b, secret_b), 32);
    assert_int_equal(f->C_DestroyObject(session, a), CKR_OK);
    assert_int_equal(derive(&p, three.point, usual, &c), CKR_OK);
    assert_int_equal(c, b);
    assert_int_equal(read_value(c, secret), 32);
    assert_memory_equal(secret, secret_b, 32);
    assert_int_equal(f->C_DestroyObject(session, c), CKR_OK);
    assert_int_equal(read_value(c, secret), 32);
    assert_memory_not_equal(secret, secret_b, 32);
}

static void test_derived_keys_of_a_session(void **state)
{
    struct pair p;
    CK_OBJECT_HANDLE secret;
    CK_SESSION_HANDLE first = session;
    uint8_t value[32];
    make_good(&p);
    for (int i = 0; i < 255; i++) {
        assert_int_equal(derive(&p, p.point, usual, &secret), CKR_OK);
    }
    assert_int_equal(derive(&p, p.point, usual, &secret), CKR_FUNCTION_REJECTED);
    assert_int_equal(open_session(&session), CKR_OK);
    assert_int_equal(read_value(0xff0001, value),
                     0); /* not seen from another session, which has room of its own */
    assert_int_equal(derive(&p, p.point, usual, &secret), CKR_OK);
    assert_int_equal(secret, 0xff0001);
    assert_int_equal(f->C_CloseSession(session), CKR_OK);
    session = first;
}

/* 256 objects; a pair is one, and two when its names do not fit. */
static void test_room(void **state)
{
    struct pair p;
    char long_label[] = "a label of more than forty characters, by far", id[] = "abc";
    CK_ATTRIBUTE names[] = {{CKA_LABEL, long_label, sizeof long_label - 1}, {CKA_ID, id, 3}};
    setenv("MOCK_ROOM", "7", 1);
    make_good(&p);                                                /* 1 */
    assert_int_equal(make(&p, &names[1], 1, "row"), CKR_OK);      /* 3 */
    assert_int_equal(make(&p, NULL, 0, "only public"), CKR_OK);   /* 5 */
    assert_int_equal(make(&p, &names[0], 1, long_label), CKR_OK); /* 7 */
    assert_int_equal(make(&p, NULL, 0, "row"), CKR_DEVICE_MEMORY);
    assert_int_equal(f->C_DestroyObject(session, p.private_key), CKR_OK);
    assert_int_equal(f->C_DestroyObject(session, p.public_key), CKR_OBJECT_HANDLE_INVALID); /* gone with it */
    make_good(&p);
    make_good(&p);
    assert_int_equal(make(&p, NULL, 0, "row"), CKR_DEVICE_MEMORY);
    unsetenv("MOCK_ROOM");
    for (int i = 7; i < 256; i++) {
        make_good(&p);
    }
    assert_int_equal(make(&p, NULL, 0, "row"), CKR_DEVICE_MEMORY);
}

static void test_login_lost(void **state)
{
    struct pair p;
    f->C_Logout(session);
    assert_int_equal(make(&p, NULL, 0, "row"), CKR_SESSION_READ_ONLY);
}

static void test_fork(void **state)
{
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        _exit(initialize() == CKR_CRYPTOKI_ALREADY_INITIALIZED ? 0 : 1);
    }
    assert_true(pid > 0 && waitpid(pid, &status, 0) == pid);
    assert_int_equal(status, 0);
}

static void test_without_locks(void **state)
{
    uint8_t byte;
    int removed = 0;
    f->C_Finalize(NULL);
    assert_int_equal(f->C_Initialize(NULL), CKR_OK);
    assert_int_equal(open_session(&session), CKR_OK);
    for (int i = 0; i < 30; i++) {
        removed += f->C_GenerateRandom(session, &byte, 1) == CKR_DEVICE_REMOVED;
    }
    assert_true(removed > 15);
}

#define ROW(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROW(test_login),
        ROW(test_device_sessions),
        ROW(test_silence),
        ROW(test_pulled_out),
        ROW(test_templates),
        ROW(test_mix_up),
        ROW(test_derived_keys_of_a_session),
        ROW(test_login_lost),
        ROW(test_fork),
        ROW(test_without_locks),
        ROW(test_room),
    };
    void *module = dlopen(E2EE_MOCK_DIR "/mock_yubihsm.so", RTLD_NOW | RTLD_LOCAL);
    CK_C_GetFunctionList get = NULL;
    void *symbol = module != NULL ? dlsym(module, "C_GetFunctionList") : NULL;
    memcpy(&get, &symbol, sizeof get);
    if (symbol == NULL || get(&f) != CKR_OK) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
