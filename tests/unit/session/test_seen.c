/* What a machine has seen, on disk: floor and pins. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "attest/pins.h"
#include "base/mem.h"
#include "base/text.h"
#include "fault.h"
#include "pki/pki.h"
#include "session/seen.h"

static char dir[64];
static struct attest_root *roots[2];

static int set_up(void **state)
{
    struct err err = {0};
    struct pki_spec spec;
    pki_spec_good(&spec, 1790000000);
    snprintf(dir, sizeof dir, "/tmp/e2ee-seen-XXXXXX");
    assert_non_null(mkdtemp(dir));
    for (int i = 0; i < 2; i++) {
        struct pki *pki = pki_new(&spec);
        struct pki_bytes pem = pki_root_pem(pki);
        roots[i] = root_parse(pem.data, pem.len, &err);
        assert_non_null(roots[i]);
        pki_bytes_free(&pem);
        pki_free(pki);
    }
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

static int tear_down(void **state)
{
    root_free(roots[0]);
    root_free(roots[1]);
    nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    return 0;
}

static struct seen *open_seen(int root)
{
    struct err err = {0};
    struct seen *seen = seen_open(dir, roots[root], &err);
    if (seen == NULL) {
        fail_msg("%s", err.message);
    }
    return seen;
}

static void test_floor(void **state)
{
    struct err err = {0};
    struct seen *seen = open_seen(0), *other = open_seen(1);
    struct collateral_key key = {.fmspc = {0x90, 0xc0, 0x6f}}, second = {.fmspc = {0x20, 0xa0, 0x6f}};
    struct attest_floor floor, got = {.tcb_evaluation = 19, .pck_crl_number = 7, .root_crl_number = 3};
    assert_true(seen_floor(seen, &key, &floor, &err));
    assert_int_equal(floor.tcb_evaluation, 0);
    assert_true(seen_raise(seen, &key, &got, &err));
    got = (struct attest_floor){.tcb_evaluation = 18, .pck_crl_number = 9};
    assert_true(seen_raise(seen, &key, &got, &err));
    assert_true(seen_floor(seen, &key, &floor, &err));
    assert_int_equal(floor.tcb_evaluation, 19);
    assert_int_equal(floor.pck_crl_number, 9);
    assert_int_equal(floor.root_crl_number, 3);
    /* Another platform type: its own evaluation number, the same lists. Another CA: another list. */
    assert_true(seen_floor(seen, &second, &floor, &err));
    assert_int_equal(floor.tcb_evaluation, 0);
    assert_int_equal(floor.pck_crl_number, 9);
    key.processor_ca = true;
    assert_true(seen_floor(seen, &key, &floor, &err));
    assert_int_equal(floor.pck_crl_number, 0);
    /* Another root knows nothing of it. */
    assert_true(seen_floor(other, &second, &floor, &err));
    assert_int_equal(floor.pck_crl_number + floor.root_crl_number, 0);
    seen_close(seen);
    seen_close(other);
}

static void test_damaged_floor(void **state)
{
    static const char *const texts[] = {
        "crl-root\n",    "crl-root x\n",   "crl-root 18446744073709551616\n",
        "crl-root -1\n", "crl-root 1 2\n", "a-name-that-is-longer-than-any-we-write 1\n"};
    struct err err = {0};
    struct seen *seen = open_seen(0);
    struct collateral_key key = {.processor_ca = false};
    struct attest_floor floor, got = {.root_crl_number = 3};
    char path[128], hash[33];
    for (int i = 0; i < 16; i++) {
        snprintf(hash + 2 * i, 3, "%02x", root_sha256(roots[0])[i]);
    }
    snprintf(path, sizeof path, "%s/attestation-%s/floor", dir, hash);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        assert_true(text_write_file_atomic(path, texts[i], strlen(texts[i]), &err));
        err_clear(&err);
        assert_false(seen_floor(seen, &key, &floor, &err));
        assert_int_equal(err.kind, ERR_IO);
        assert_false(seen_raise(seen, &key, &got, &err));
    }
    seen_close(seen);
}

static struct attest_pin made_pin(uint8_t byte)
{
    struct attest_pin pin = {.has_os = true, .has_compose_hash = true};
    memset(pin.mrtd, byte, sizeof pin.mrtd);
    memset(pin.rtmr1, 1, sizeof pin.rtmr1);
    memset(pin.rtmr2, 2, sizeof pin.rtmr2);
    memset(pin.compose_hash, 3, sizeof pin.compose_hash);
    snprintf(pin.model, sizeof pin.model, "m");
    snprintf(pin.label, sizeof pin.label, "m");
    return pin;
}

static size_t stored(struct seen *seen, const char *model)
{
    struct err err = {0};
    struct attest_policy *p = mem_alloc(sizeof *p);
    assert_non_null(p);
    if (!seen_pins(seen, model, p, &err)) {
        fail_msg("%s", err.message);
    }
    size_t count = p->accepted_count;
    policy_free(p);
    mem_free(p);
    return count;
}

static void test_pins(void **state)
{
    static const char odd[] = "odd/n\xc3\xa4me +v1.5?a=b&c#d%41\"e'<\\>\n[tcb]\naccept = OutOfDate";
    struct err err = {0};
    struct seen *seen = open_seen(0), *other = open_seen(1);
    struct attest_pin one = made_pin(1), two = made_pin(2);
    uint8_t before[SHA256_BYTES], after[SHA256_BYTES];
    assert_int_equal(stored(seen, "m"), 0);
    assert_true(seen_pins_digest(seen, before, &err));
    assert_true(seen_pin(seen, "m", &one, true, &err));
    assert_true(seen_pins_digest(seen, after, &err));
    assert_memory_not_equal(before, after, sizeof before);
    assert_true(seen_pin(seen, "m", &one, true, &err)); /* again: nothing happens */
    assert_int_equal(stored(seen, "m"), 1);
    assert_true(seen_pins_digest(seen, before, &err));
    assert_memory_equal(before, after, sizeof before);
    assert_false(seen_pin(seen, "m", &two, true, &err)); /* first use is over */
    assert_int_equal(err.kind, ERR_ATTESTATION);
    assert_true(seen_pin(seen, "m", &two, false, &err));
    assert_true(seen_pin(seen, "m", &two, false, &err));
    assert_int_equal(stored(seen, "m"), 2);
    assert_int_equal(stored(seen, "n"), 0);
    assert_int_equal(stored(other, "m"), 0);
    assert_true(seen_pin(seen, odd, &one, true, &err));
    assert_int_equal(stored(seen, odd), 1);
    seen_close(seen);
    seen_close(other);
}

static void test_without_memory(void **state)
{
    struct seen *seen = open_seen(0);
    struct attest_pin one = made_pin(1);
    struct collateral_key key = {.processor_ca = false};
    struct attest_floor floor, got = {.root_crl_number = 3};
    struct err err = {0};
    bool ok = false;
    for (size_t n = 1; !ok; n++) {
        err_clear(&err);
        fault_alloc_at(n);
        ok = seen_pin(seen, "m", &one, true, &err) && seen_raise(seen, &key, &got, &err) &&
             seen_floor(seen, &key, &floor, &err);
        fault_alloc_at(0);
        if (!ok && err.kind != ERR_MEMORY && err.kind != ERR_TOO_LARGE) { /* a buffer says either */
            fail_msg("allocation %zu: %s", n, err.message);
        }
    }
    assert_int_equal(stored(seen, "m"), 1);
    assert_int_equal(floor.root_crl_number, 3);
    seen_close(seen);
}

static void test_no_folder(void **state)
{
    struct err err = {0};
    assert_null(seen_open("/dev/null/state", roots[0], &err));
    assert_int_equal(err.kind, ERR_IO);
}

int main(void)
{
#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {CASE(test_floor), CASE(test_damaged_floor), CASE(test_pins),
                                       CASE(test_without_memory), CASE(test_no_folder)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
