/* Sealed fields: docs/PROTOCOL.md's known answers, the ciphertext test, and what breaks it. */
#include "sealing.h"

#include "fault.h"

#define EPH                                                                                                  \
    "04466d7fcae563e5cb09a0d1870bb580344804617879a14949cf22285f1bae3f276728176c3c6431f8eeda4538dc37c865e278" \
    "4f3a9e77d"                                                                                              \
    "044f33e407797e1278a"

static void seal_known(struct sealing *s, const char *nonce_hex, const char *plain, size_t spare,
                       const char *sealed)
{
    struct err err = {0};
    uint8_t nonce[AEAD_NONCE_BYTES];
    struct buf out;
    size_t len = strlen(plain);
    assert_true(hex_decode(nonce, nonce_hex, 24));
    buf_init(&out, 4096);
    assert_true(buf_append_str(&out, "\""));
    uint8_t *room = field_room(&out, len + spare);
    assert_non_null(room);
    memcpy(room, plain, len);
    assert_true(field_seal_room_with_nonce(&out, len + spare, len, s->client, s->point, nonce, &err));
    assert_true(buf_append_str(&out, "\""));
    char expected[1024];
    snprintf(expected, sizeof expected, "\"" EPH "%s%s\"", nonce_hex, sealed);
    assert_string_equal(buf_cstr(&out), expected);
    buf_free(&out);
}

static void test_known_answers(void **state)
{
    struct sealing s;
    sealing_open(&s, 0x11, 0x22);
    for (size_t spare = 0; spare < 40; spare += 13) {
        seal_known(&s, "0c0c0c0c0c0c0c0c0c0c0c0c", "PROBE_OK", spare,
                   "61fcb8d3782019da4a51df38195ea647df38e4b1b4cf7af6");
        seal_known(&s, "a0a1a2a3a4a5a6a7a8a9aaab", "deterministic Venice E2EE fixture", spare,
                   "3b364a6560dc6246955e1379bac6c7a0f453c5b2d9be6eabb00cad9955278b4c401f6793813d7f98ba8f163a5"
                   "c51b87686");
    }
    sealing_close(&s);
}

static void test_round_trip(void **state)
{
    static const size_t sizes[] = {0, 1, 2, 15, 16, 17, 1955, 1956, 2047, 2048, 2049, 4096, 100000};
    struct sealing s;
    struct err err = {0};
    sealing_open(&s, 0x31, 0x42);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t len = sizes[i];
        uint8_t *plain = mem_alloc(len), *bytes = mem_alloc(FIELD_CHARS(len) / 2);
        assert_true(plain != NULL && bytes != NULL);
        for (size_t k = 0; k < len; k++) {
            plain[k] = (uint8_t)(k * 7);
        }
        struct buf out;
        buf_init(&out, FIELD_CHARS(len));
        assert_true(field_seal(&out, s.client, s.point, plain, len, &err));
        assert_int_equal(out.len, FIELD_CHARS(len));
        assert_true(field_is_sealed((char *)out.data, out.len));
        struct field f;
        assert_true(field_decode(&f, bytes, (char *)out.data, out.len, &err));
        assert_int_equal(f.sealed_len, len + AEAD_TAG_BYTES);
        assert_true(aead_open(s.enclave, f.sealed, f.nonce, f.sealed, f.sealed_len, &err));
        assert_memory_equal(f.sealed, plain, len);
        buf_free(&out);
        mem_free(plain);
        mem_free(bytes);
    }
    sealing_close(&s);
}

static void test_nonces_differ(void **state)
{
    struct sealing s;
    struct err err = {0};
    struct buf out;
    sealing_open(&s, 0x11, 0x22);
    buf_init(&out, 1 << 20);
    for (int i = 0; i < 100; i++) {
        assert_true(field_seal(&out, s.client, s.point, "", 0, &err));
    }
    for (int i = 0; i < 100; i++) {
        for (int k = 0; k < i; k++) {
            assert_true(memcmp(out.data + i * FIELD_MIN_CHARS + POINT_HEX_CHARS,
                               out.data + k * FIELD_MIN_CHARS + POINT_HEX_CHARS, 24) != 0);
        }
    }
    buf_free(&out);
    sealing_close(&s);
}

static enum err_kind decode(const char *text, size_t len)
{
    struct err err = {0};
    struct field f;
    uint8_t *bytes = mem_alloc(len / 2);
    assert_non_null(bytes);
    bool ok = field_decode(&f, bytes, text, len, &err);
    assert_true(ok == field_is_sealed(text, len));
    assert_true(ok == (f.point != NULL));
    mem_free(bytes);
    return ok ? ERR_NONE : err.kind;
}

static void test_ciphertext_test(void **state)
{
    char text[400];
    memset(text, 'a', sizeof text);
    text[0] = '0';
    text[1] = '4';
    assert_int_equal(decode(text, 186), ERR_NONE);
    assert_int_equal(decode(text, 188), ERR_NONE);
    assert_int_equal(decode(text, 400), ERR_NONE);
    assert_int_equal(decode(text, 187), ERR_DECRYPT);
    assert_int_equal(decode(text, 185), ERR_DECRYPT);
    assert_int_equal(decode(text, 184), ERR_DECRYPT);
    assert_int_equal(decode(text, 130), ERR_DECRYPT);
    assert_int_equal(decode(text, 129), ERR_PLAINTEXT);
    assert_int_equal(decode(text, 1), ERR_PLAINTEXT);
    assert_int_equal(decode("", 0), ERR_PLAINTEXT);
    assert_int_equal(decode("hello", 5), ERR_PLAINTEXT);
    text[3] = 'F';
    assert_int_equal(decode(text, 186), ERR_NONE);
    for (size_t at = 0; at < 186; at++) {
        char kept = text[at];
        text[at] = at == 1 ? '5' : 'g';
        assert_int_equal(decode(text, 186), ERR_PLAINTEXT);
        text[at] = kept;
    }
    assert_int_equal(decode("0x04", 4), ERR_PLAINTEXT);
}

static void test_too_large(void **state)
{
    struct sealing s;
    struct err err = {0};
    struct buf out;
    sealing_open(&s, 0x11, 0x22);
    buf_init(&out, FIELD_CHARS(8) - 1);
    assert_false(field_seal(&out, s.client, s.point, "PROBE_OK", 8, &err));
    assert_int_equal(err.kind, ERR_TOO_LARGE);
    assert_int_equal(out.len, 0);
    buf_free(&out);
    assert_null(field_room(&out, SIZE_MAX / 2));
    buf_free(&out);
    sealing_close(&s);
}

/* A key that is gone: nothing of the plaintext stays in the room. */
static void test_crypto_failure_wipes(void **state)
{
    struct sealing s;
    struct err err = {0};
    struct buf out;
    sealing_open(&s, 0x11, 0x22);
    aead_clear(s.client);
    buf_init(&out, 4096);
    assert_true(buf_append_str(&out, "before"));
    assert_false(field_seal(&out, s.client, s.point, "PROBE_OK", 8, &err));
    assert_int_equal(out.len, 6);
    for (size_t i = 0; i + 8 <= FIELD_CHARS(8); i++) {
        assert_memory_not_equal(out.data + 6 + i, "PROBE_OK", 8);
    }
    buf_free(&out);
    sealing_close(&s);
}

static void test_allocation_faults(void **state)
{
    struct sealing s;
    sealing_open(&s, 0x11, 0x22);
    size_t live = secret_live_count(), nth = 0;
    for (bool ok = false; !ok;) {
        struct err err = {0};
        struct buf out;
        buf_init(&out, 4096);
        fault_alloc_at(++nth);
        ok = field_seal(&out, s.client, s.point, "PROBE_OK", 8, &err);
        assert_true(ok != fault_alloc_hit());
        fault_alloc_at(0);
        assert_int_equal(out.len, ok ? FIELD_CHARS(8) : 0);
        buf_free(&out);
    }
    assert_true(nth >= 2);
    assert_int_equal(secret_live_count(), live);
    sealing_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_answers),     cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_nonces_differ),     cmocka_unit_test(test_ciphertext_test),
        cmocka_unit_test(test_too_large),         cmocka_unit_test(test_crypto_failure_wipes),
        cmocka_unit_test(test_allocation_faults),
    };
    struct err err;
    if (!secret_heap_init(&err)) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
