/* GPUs of a PKI of our own: what no capture shows, under a root given by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "attest/nvidia.h"
#include "base/mem.h"
#include "pki/gpu.h"

#define NOW 1790000000

static struct pki_gpus *gpus;
static struct attest_root *root;
static struct attest_verdict *v;

/* A root for quotes, which here only comes first, and that of the GPUs. */
static int setup(void **state)
{
    struct err err = {0};
    struct pki_spec spec;
    (void)state;
    pki_spec_good(&spec, NOW);
    gpus = pki_gpus_new(NOW, NULL);
    struct pki *pki = pki_new(&spec);
    struct pki_bytes first = pki_root_pem(pki), second = pki_gpus_root(gpus);
    char both[16384];
    int len = snprintf(both, sizeof both, "%s%s", (const char *)first.data, (const char *)second.data);
    root = root_parse((const uint8_t *)both, (size_t)len, &err);
    v = mem_alloc(sizeof *v);
    pki_bytes_free(&first);
    pki_bytes_free(&second);
    pki_free(pki);
    return root != NULL && root_gpus(root) != NULL && v != NULL ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    root_free(root);
    pki_gpus_free(gpus);
    mem_free(v);
    return 0;
}

static void judge(const struct pki_gpu_spec *spec, size_t count, const struct attest_root *by)
{
    static const uint8_t nonce[SPDM_NONCE_BYTES];
    struct attest_body body;
    struct err err = {0};
    struct pki_bytes payload = pki_gpu_payload(gpus, count, spec);
    body_init(&body);
    assert_true(buf_append(&body.nvidia_payload, payload.data, payload.len));
    verdict_init(v, NOW);
    verdict_pass(v, "quote", "stands for what came before");
    if (!nvidia_check(v, &body, &(struct nvidia_terms){.nonce = nonce, .root = by, .enforced = true}, &err)) {
        fail_msg("%s", err.message);
    }
    verdict_close(v);
    pki_bytes_free(&payload);
    body_free(&body);
}

static void expect(const char *name, const char *check)
{
    if (check == NULL ? !v->verified
                      : v->verified || strncmp(v->reason, check, strlen(check)) != 0 ||
                            v->reason[strlen(check)] != ':') {
        fail_msg("%s: %s %s, expected %s", name, v->verified ? "verified" : "refused", v->reason,
                 check != NULL ? check : "verified");
    }
}

static void made(void **state)
{
    static const struct {
        const char *name, *check; /* check NULL: verified */
        struct pki_gpu_spec spec;
    } cases[] = {
        {"good", NULL, {.arch = NULL}},
        {"firmware not named by driver 535", NULL, {.driver = "535.129.03", .no_firmware = true}},
        {"firmware not named", "gpu.firmware", {.no_firmware = true}},
        {"other firmware", "gpu.firmware", {.another_firmware = true}},
        {"another nonce", "gpu.nonce", {.another_nonce = true}},
        {"another nonce around the list", "gpu.nonce", {.another_payload_nonce = true}},
        {"flipped", "gpu.signature", {.flipped = true}},
        {"trailing", "gpu.report", {.trailing = true}},
        {"one GPU counted twice", "gpu.devices", {.twice = true}},
        {"another root", "gpu.certificates", {.stranger = true}},
        {"another architecture", "gpu.certificates", {.arch = "BLACKWELL"}},
        {"driver that is no version", "gpu.report", {.driver = "570; rm"}},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        judge(&cases[i].spec, 3, root_gpus(root));
        expect(cases[i].name, cases[i].check);
        judge(&cases[i].spec, 3, NULL);
        expect(cases[i].name, strstr(cases[i].name, "around") != NULL ? "gpu.nonce" : "gpu.certificates");
    }
    judge(&cases[0].spec, 1, root_gpus(root));
    expect("one", NULL);
    assert_non_null(strstr(verdict_find(v, "gpu.certificates")->detail, "NOT NVIDIA's"));
    judge(&cases[1].spec, 1, root_gpus(root));
    assert_int_equal(verdict_find(v, "gpu.firmware")->result, CHECK_NOT_CHECKED);
}

/* The end of a certificate's validity, and a leaf that is no GPU's. */
static void certificates(void **state)
{
    static const struct pki_gpu_spec good;
    struct nvidia_device device;
    struct pki_bytes chain = pki_gpu_chain(gpus, 0, false), report = pki_gpu_report(gpus, 0, &good);
    static const int64_t moments[] = {NOW, NOW - 1001 * 86400LL, NOW + 1001 * 86400LL};
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct err err = {0};
        bool ok = nvidia_device_check(&device, report.data, report.len, (const char *)chain.data, chain.len,
                                      "HOPPER", good.nonce, root_gpus(root), moments[i], &err);
        assert_int_equal(ok, i == 0);
        assert_int_equal(device.reached, i == 0 ? NVIDIA_VERIFIED : NVIDIA_CERTIFICATES);
    }
    static const char *const names[] = {"GH100 A01 GSP BROM", "GB100 A01 GSP FMC LF", " GSP FMC LF",
                                        "GH GSP FMC LF "};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct err err = {0};
        struct pki_gpus *odd = pki_gpus_new(NOW, names[i]);
        struct pki_bytes pem = pki_gpus_root(odd), odd_chain = pki_gpu_chain(odd, 0, false);
        struct attest_root *odd_root = root_parse(pem.data, pem.len, &err);
        assert_non_null(odd_root);
        assert_null(root_gpus(odd_root));
        assert_false(nvidia_device_check(&device, report.data, report.len, (const char *)odd_chain.data,
                                         odd_chain.len, "HOPPER", good.nonce, odd_root, NOW, &err));
        assert_int_equal(device.reached, NVIDIA_ARCH);
        root_free(odd_root);
        pki_bytes_free(&pem);
        pki_bytes_free(&odd_chain);
        pki_gpus_free(odd);
    }
    pki_bytes_free(&chain);
    pki_bytes_free(&report);
}

/* No root is taken from a file with three. */
static void three_roots(void **state)
{
    struct err err = {0};
    struct pki_bytes pem = pki_gpu_chain(gpus, 0, false);
    (void)state;
    assert_null(root_parse(pem.data, pem.len, &err));
    assert_int_equal(err.kind, ERR_CONFIG);
    assert_null(root_gpus(NULL));
    pki_bytes_free(&pem);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(made),
        cmocka_unit_test(certificates),
        cmocka_unit_test(three_roots),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
