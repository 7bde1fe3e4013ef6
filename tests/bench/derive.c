/* What the token itself can do: threads that each derive, read and destroy on a session of their own, and nothing else.
 * Usage: bench-derive MODULE TOKEN_LABEL PIN_FILE THREADS SECONDS. Prints {"derives","seconds","cpu_seconds",
 * "p50_us","p99_us"}. The PIN stays in ordinary memory: for test tokens only. */
#include <dlfcn.h>

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "hsm/ecdh1.h"
#include "points.h"

#define POINTS 256
#define TIMES 65536

static CK_FUNCTION_LIST *p11;
static CK_SLOT_ID slot;
static CK_OBJECT_HANDLE key;
static unsigned char points[POINTS][POINT_BYTES];
static double seconds;

struct thread {
    pthread_t id;
    CK_SESSION_HANDLE session;
    long derives;
    float *times; /* of the first TIMES, in microseconds */
};

static double now(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void must(CK_RV rv, const char *what)
{
    if (rv != CKR_OK) {
        fprintf(stderr, "bench-derive: %s: 0x%lx\n", what, rv);
        exit(1);
    }
}

static void derive_one(CK_SESSION_HANDLE session, unsigned char *point)
{
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_KEY_TYPE type = CKK_GENERIC_SECRET;
    CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    CK_ULONG len = 32;
    unsigned char value[64];
    CK_OBJECT_HANDLE derived;
    struct ecdh1_params params = {.kdf = CKD_NULL, .public_len = 65, .public_point = point};
    CK_MECHANISM mechanism = {CKM_ECDH1_DERIVE, &params, sizeof params};
    CK_ATTRIBUTE wanted[] = {
        {CKA_CLASS, &class, sizeof class},   {CKA_KEY_TYPE, &type, sizeof type},
        {CKA_TOKEN, &no, sizeof no},         {CKA_SENSITIVE, &no, sizeof no},
        {CKA_EXTRACTABLE, &yes, sizeof yes}, {CKA_VALUE_LEN, &len, sizeof len},
    };
    CK_ATTRIBUTE read = {CKA_VALUE, value, sizeof value};
    must(p11->C_DeriveKey(session, &mechanism, key, wanted, 6, &derived), "C_DeriveKey");
    must(p11->C_GetAttributeValue(session, derived, &read, 1), "C_GetAttributeValue");
    must(p11->C_DestroyObject(session, derived), "C_DestroyObject");
}

static void *run(void *arg)
{
    struct thread *t = arg;
    double end = now(CLOCK_MONOTONIC) + seconds, last;
    do {
        double begin = now(CLOCK_MONOTONIC);
        derive_one(t->session, points[t->derives % POINTS]);
        last = now(CLOCK_MONOTONIC);
        if (t->derives < TIMES) {
            t->times[t->derives] = (float)((last - begin) * 1e6);
        }
        t->derives++;
    } while (last < end);
    return NULL;
}

static void load(const char *path)
{
    void *library = dlopen(path, RTLD_NOW);
    CK_C_GetFunctionList get = NULL;
    if (library != NULL) {
        *(void **)&get = dlsym(library, "C_GetFunctionList");
    }
    if (get == NULL) {
        fprintf(stderr, "bench-derive: %s\n", dlerror());
        exit(1);
    }
    CK_C_INITIALIZE_ARGS args = {.flags = CKF_OS_LOCKING_OK};
    must(get(&p11), "C_GetFunctionList");
    must(p11->C_Initialize(&args), "C_Initialize");
}

static void find_slot(const char *label)
{
    CK_SLOT_ID slots[32];
    CK_ULONG count = 32;
    must(p11->C_GetSlotList(CK_TRUE, slots, &count), "C_GetSlotList");
    for (CK_ULONG i = 0; i < count; i++) {
        CK_TOKEN_INFO info;
        if (p11->C_GetTokenInfo(slots[i], &info) == CKR_OK && memcmp(info.label, label, strlen(label)) == 0 &&
            info.label[strlen(label)] == ' ') {
            slot = slots[i];
            return;
        }
    }
    fprintf(stderr, "bench-derive: no token %s\n", label);
    exit(1);
}

static void make_key(CK_SESSION_HANDLE session)
{
    unsigned char curve[] = {0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x0a};
    CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    CK_ATTRIBUTE public_template[] = {{CKA_TOKEN, &no, sizeof no}, {CKA_EC_PARAMS, curve, sizeof curve}};
    CK_ATTRIBUTE private_template[] = {{CKA_TOKEN, &no, sizeof no},
                                       {CKA_PRIVATE, &yes, sizeof yes},
                                       {CKA_SENSITIVE, &yes, sizeof yes},
                                       {CKA_EXTRACTABLE, &no, sizeof no},
                                       {CKA_DERIVE, &yes, sizeof yes}};
    CK_MECHANISM mechanism = {CKM_EC_KEY_PAIR_GEN, NULL, 0};
    CK_OBJECT_HANDLE public_key;
    must(p11->C_GenerateKeyPair(session, &mechanism, public_template, 2, private_template, 5, &public_key,
                                &key),
         "C_GenerateKeyPair");
}

static int by_time(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static void log_in(CK_SESSION_HANDLE session, const char *pin_file)
{
    char pin[64] = "";
    FILE *f = fopen(pin_file, "r");
    if (f == NULL || fgets(pin, sizeof pin, f) == NULL) {
        fprintf(stderr, "bench-derive: %s cannot be read\n", pin_file);
        exit(1);
    }
    fclose(f);
    must(p11->C_Login(session, CKU_USER, (unsigned char *)pin, strcspn(pin, "\n")), "C_Login");
}

int main(int argc, char **argv)
{
    if (argc != 6) {
        fprintf(stderr, "usage: bench-derive MODULE TOKEN_LABEL PIN_FILE THREADS SECONDS\n");
        return 2;
    }
    int count = (int)strtol(argv[4], NULL, 10);
    struct thread *threads = calloc((size_t)count, sizeof *threads);
    seconds = strtod(argv[5], NULL);
    make_points(points, POINTS);
    load(argv[1]);
    find_slot(argv[2]);
    for (int i = 0; i < count; i++) {
        threads[i].times = calloc(TIMES, sizeof(float));
        must(p11->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &threads[i].session),
             "C_OpenSession");
    }
    log_in(threads[0].session, argv[3]);
    make_key(threads[0].session);
    double begin = now(CLOCK_MONOTONIC), cpu = now(CLOCK_PROCESS_CPUTIME_ID);
    long derives = 0;
    for (int i = 0; i < count; i++) {
        pthread_create(&threads[i].id, NULL, run, &threads[i]);
    }
    for (int i = 0; i < count; i++) {
        pthread_join(threads[i].id, NULL);
        derives += threads[i].derives;
    }
    double took = now(CLOCK_MONOTONIC) - begin, used = now(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    size_t kept = (size_t)(threads[0].derives < TIMES ? threads[0].derives : TIMES);
    qsort(threads[0].times, kept, sizeof(float), by_time);
    printf("{\"derives\":%ld,\"seconds\":%.6f,\"cpu_seconds\":%.6f,\"p50_us\":%.1f,\"p99_us\":%.1f}\n",
           derives, took, used, (double)threads[0].times[kept / 2],
           (double)threads[0].times[kept * 99 / 100]);
    p11->C_Finalize(NULL);
    return 0;
}
