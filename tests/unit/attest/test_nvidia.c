/* GPU evidence: NVIDIA's own samples and what Venice served, each as expected.json says; every byte of one flipped. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "attest/nvidia.h"
#include "base/mem.h"
#include "fault.h"
#include "vectors.h"

#ifdef E2EE_SANITIZED
#define FLIP_STRIDE 29 /* sanitizers make each verification slow */
#else
#define FLIP_STRIDE 5 /* each verification takes three P-384 signatures */
#endif
#define NOW 1781056027
#define VENICE_NONCE "d2f37ab51f93f80365506fcc09119b28bd9c521be89ba25e3aa439912bbba732"

static const char *sdk(void)
{
    static char dir[1100];
    const char *root = vectors_shared();
    if (root == NULL) {
        print_message("shared/vectors is not there: GPU samples skipped\n");
        skip();
        return "";
    }
    snprintf(dir, sizeof dir, "%s/nvidia/sdk", root);
    return dir;
}

struct sample {
    struct buf report, chain;
    struct nvidia_device device;
    struct err err;
};

static void sample_free(struct sample *s)
{
    buf_free(&s->report);
    buf_free(&s->chain);
}

/* A report in hex and a chain in PEM, by the names of their files. */
static void sample_load(struct sample *s, const char *report, const char *chain)
{
    struct buf hex;
    memset(s, 0, sizeof *s);
    assert_true(vectors_read(&hex, sdk(), report));
    while (hex.len > 0 && hex.data[hex.len - 1] <= ' ') {
        hex.len--;
    }
    buf_init(&s->report, VECTORS_BYTES_MAX);
    assert_true(buf_reserve(&s->report, hex.len / 2));
    assert_true(hex_decode(s->report.data, (const char *)hex.data, hex.len));
    s->report.len = hex.len / 2;
    buf_free(&hex);
    assert_true(vectors_read(&s->chain, sdk(), chain));
}

static bool sample_judge_with(struct sample *s, const char *arch, const uint8_t *nonce)
{
    memset(&s->err, 0, sizeof s->err);
    return nvidia_device_check(&s->device, s->report.data, s->report.len, (const char *)s->chain.data,
                               s->chain.len, arch, nonce, NULL, NOW, &s->err);
}

/* With its own nonce. */
static bool sample_judge(struct sample *s, const char *arch)
{
    uint8_t nonce[SPDM_NONCE_BYTES];
    memcpy(nonce, s->report.data + 4, sizeof nonce);
    return sample_judge_with(s, arch, nonce);
}

static void samples(void **state)
{
    static const struct {
        const char *report, *chain, *arch, *driver, *vbios;
        enum nvidia_step reached;
        bool absent;
    } cases[] = {
        {"hopperAttestationReport.txt", "hopperCertChain.txt", "HOPPER", "580.159.03", "96.00.74.00.20",
         NVIDIA_VERIFIED, false},
        {"sample_hopperAttestationReport.txt", "sample_hopperCertChain.txt", "HOPPER", "535.86.09",
         "96.00.5E.00.01", NVIDIA_VERIFIED, true},
        {"sample_hopperAttestationReportExpired.txt", "sample_hopperCertChainExpired.txt", "HOPPER",
         "570.124.03", "96.00.5E.00.04", NVIDIA_VERIFIED, false},
        {"sample_blackwellAttestationReport.txt", "sample_blackwellCertChain.txt", "BLACKWELL", "575.32",
         "97.00.88.00.0F", NVIDIA_VERIFIED, false},
        {"sample_hopperAttestationReportInvalidSignature.txt", "sample_hopperCertChain.txt", "HOPPER",
         "560.00", "96.00.A5.00.01", NVIDIA_SIGNATURE, false},
        /* One GPU's report with another's chain, and a chip of another name. */
        {"hopperAttestationReport.txt", "sample_hopperCertChain.txt", "HOPPER", "580.159.03",
         "96.00.74.00.20", NVIDIA_SIGNATURE, false},
        {"hopperAttestationReport.txt", "hopperCertChain.txt", "BLACKWELL", "", "", NVIDIA_ARCH, false},
        {"hopperAttestationReport.txt", "hopperCertChain.txt", "LS10", "", "", NVIDIA_ARCH, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct sample s;
        sample_load(&s, cases[i].report, cases[i].chain);
        bool ok = sample_judge(&s, cases[i].arch);
        if (ok != (cases[i].reached == NVIDIA_VERIFIED) || s.device.reached != cases[i].reached) {
            fail_msg("%s: step %d, %s", cases[i].report, (int)s.device.reached, s.err.message);
        }
        assert_string_equal(s.device.driver, cases[i].driver);
        assert_string_equal(s.device.vbios, cases[i].vbios);
        assert_int_equal(s.device.firmware_absent, cases[i].absent);
        sample_free(&s);
    }
}

static void another_nonce(void **state)
{
    static const uint8_t nonce[SPDM_NONCE_BYTES] = {1};
    struct sample s;
    (void)state;
    sample_load(&s, "hopperAttestationReport.txt", "hopperCertChain.txt");
    assert_false(sample_judge_with(&s, "HOPPER", nonce));
    assert_int_equal(s.device.reached, NVIDIA_NONCE);
    sample_free(&s);
}

/* The fields of the report, against another tool's reading of the same one. */
static void parsed_fields(void **state)
{
    struct sample s;
    struct spdm_report r;
    char hex[2 * SPDM_SIGNATURE_BYTES + 1];
    (void)state;
    sample_load(&s, "hopperAttestationReport.txt", "hopperCertChain.txt");
    assert_true(spdm_parse(&r, s.report.data, s.report.len, &s.err));
    assert_int_equal(r.blocks, 64);
    assert_int_equal(r.slot, 0);
    assert_string_equal(hex_str(hex, r.responder_nonce, SPDM_NONCE_BYTES),
                        "1c877b01400fbe0d8c5530050fc3311098534bf65d0a95f1a21d32b62fe317fb");
    assert_string_equal(
        hex_str(hex, r.record + SPDM_BLOCK_BYTES + 7, 48),
        "b558fdac9af53b91ff3bdb06ff589859d6fbc1050d875c88329347f24ff7b3d11ac53688ba56db03cf8751913107"
        "e0db");
    hex_str(hex, r.signature, SPDM_SIGNATURE_BYTES);
    assert_int_equal(strncmp(hex, "08e9e5438d4e63bb", 16), 0);
    assert_string_equal(
        hex_str(hex, r.fwid, SPDM_FWID_BYTES),
        "f1ae7d0093a3f5689cced58045c9744f94eb2aa4ddca88135197fb41a7be45576c2881cf920e2cbcc090b1cb921f"
        "7b2d");
    for (size_t len = 0; len < s.report.len; len++) {
        struct spdm_report cut;
        assert_false(spdm_parse(&cut, s.report.data, len, NULL));
        assert_null(cut.message);
    }
    buf_append_byte(&s.report, 0);
    assert_false(spdm_parse(&r, s.report.data, s.report.len, NULL));
    sample_free(&s);
}

/* One bit of every byte of the report: never accepted. */
static void flipped_report(void **state)
{
    struct sample s;
    uint8_t nonce[SPDM_NONCE_BYTES];
    (void)state;
    sample_load(&s, "sample_blackwellAttestationReport.txt", "sample_blackwellCertChain.txt");
    memcpy(nonce, s.report.data + 4, sizeof nonce);
    assert_true(sample_judge_with(&s, "BLACKWELL", nonce));
    for (size_t i = 0; i < s.report.len; i += FLIP_STRIDE) {
        s.report.data[i] ^= (uint8_t)(1U << i % 8);
        if (sample_judge_with(&s, "BLACKWELL", nonce)) {
            fail_msg("byte %zu flipped: accepted", i);
        }
        s.report.data[i] ^= (uint8_t)(1U << i % 8);
    }
    sample_free(&s);
}

/* The same of the chain. Only a line end that becomes another one changes nothing. */
static void flipped_chain(void **state)
{
    struct sample s;
    (void)state;
    sample_load(&s, "hopperAttestationReport.txt", "hopperCertChain.txt");
    for (size_t i = 0; i < s.chain.len; i += FLIP_STRIDE) {
        s.chain.data[i] ^= (uint8_t)(1U << i % 8);
        if (sample_judge(&s, "HOPPER")) {
            fail_msg("byte %zu flipped: accepted", i);
        }
        s.chain.data[i] ^= (uint8_t)(1U << i % 8);
    }
    for (size_t len = 0; len + 3 < s.chain.len; len += 31) {
        size_t whole = s.chain.len;
        s.chain.len = len;
        assert_false(sample_judge(&s, "HOPPER"));
        s.chain.len = whole;
    }
    sample_free(&s);
}

static void moments(void **state)
{
    struct sample s;
    uint8_t nonce[SPDM_NONCE_BYTES];
    (void)state;
    sample_load(&s, "hopperAttestationReport.txt", "hopperCertChain.txt");
    memcpy(nonce, s.report.data + 4, sizeof nonce);
    assert_false(nvidia_device_check(&s.device, s.report.data, s.report.len, (const char *)s.chain.data,
                                     s.chain.len, "HOPPER", nonce, NULL, 1500000000, &s.err));
    assert_int_equal(s.device.reached, NVIDIA_CERTIFICATES);
    sample_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(samples),        cmocka_unit_test(another_nonce), cmocka_unit_test(parsed_fields),
        cmocka_unit_test(flipped_report), cmocka_unit_test(flipped_chain), cmocka_unit_test(moments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
