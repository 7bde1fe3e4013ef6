/* Checkpoint lines: the signed text to the byte, and that a line has one spelling for what it says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "keyipc/checkpoint.h"

static struct checkpoint sample(void)
{
    struct checkpoint c = {.from = 3,
                           .line = 17,
                           .instance = "e2ee-keyholder 0123456789abcdef",
                           .algorithm = "ecdsa-sha256",
                           .signature_len = 70};
    memset(c.hash, 0xab, sizeof c.hash);
    memset(c.key, 0xcd, sizeof c.key);
    memset(c.signature, 0x30, c.signature_len);
    return c;
}

static void test_text(void **state)
{
    char text[CHECKPOINT_TEXT_BYTES];
    struct checkpoint c = sample();
    size_t len = checkpoint_text(text, &c);
    assert_int_equal(len, strlen(text));
    assert_string_equal(text, "e2ee-hsm-proxy custody log checkpoint v1\n"
                              "from=3\n"
                              "line=17\n"
                              "hash=abababababababababababababababababababababababababababababababab\n"
                              "instance=e2ee-keyholder 0123456789abcdef\n"
                              "algorithm=ecdsa-sha256\n"
                              "key=cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd\n");
    /* The longest there is. */
    c.from = c.line = 999999999999999999;
    memset(c.instance, 'x', sizeof c.instance - 1);
    memset(c.algorithm, 'y', sizeof c.algorithm - 1);
    assert_true(checkpoint_text(text, &c) < sizeof text);
}

static void test_round_trip(void **state)
{
    struct buf out;
    struct chain_head head = {.seq = 20};
    struct chain_line line;
    struct err err = {0};
    char members[CHECKPOINT_MEMBERS_BYTES];
    for (size_t n = 1; n <= SIGNATURE_BYTES_MAX; n += n < 16 ? 1 : 31) {
        struct checkpoint c = sample(), back;
        c.signature_len = n;
        checkpoint_members(members, &c);
        buf_init(&out, 8192);
        assert_true(chain_append(&out, &head, "2026-11-28T14:00:00.000Z", CHECKPOINT_EVENT, members, &err));
        assert_true(chain_parse(&line, (const char *)out.data, out.len - 1, &err));
        assert_int_equal(line.members_len, strlen(members));
        assert_true(checkpoint_parse(&back, (const char *)out.data + line.members, line.members_len, &err));
        assert_int_equal(back.from, 3);
        assert_int_equal(back.line, 17);
        assert_string_equal(back.instance, c.instance);
        assert_string_equal(back.algorithm, c.algorithm);
        assert_memory_equal(back.hash, c.hash, sizeof c.hash);
        assert_memory_equal(back.key, c.key, sizeof c.key);
        assert_int_equal(back.signature_len, n);
        assert_memory_equal(back.signature, c.signature, n);
        buf_free(&out);
    }
}

/* Each change of a byte is refused, or says something else, which the signature is not for. */
static void test_changed(void **state)
{
    char members[CHECKPOINT_MEMBERS_BYTES], again[CHECKPOINT_MEMBERS_BYTES];
    struct checkpoint c = sample(), back;
    struct err err = {0};
    checkpoint_members(members, &c);
    size_t len = strlen(members);
    for (size_t i = 0; i < len; i++) {
        char kept = members[i];
        for (int b = 1; b < 256; b++) {
            members[i] = (char)(kept ^ b);
            if (checkpoint_parse(&back, members, len, &err)) {
                checkpoint_members(again, &back);
                assert_memory_equal(again, members, len);
            } else {
                assert_int_equal(back.line, 0);
                assert_int_equal(err.kind, ERR_INVALID);
            }
        }
        members[i] = kept;
        assert_false(checkpoint_parse(&back, members, i, &err));
    }
}

static void test_refused(void **state)
{
    static const char *const texts[] = {"", ",\"from\":1", ",\"from\":01,\"line\":2",
                                        ",\"line\":1,\"from\":1"};
    struct checkpoint c = sample();
    struct err err = {0};
    char members[CHECKPOINT_MEMBERS_BYTES];
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        assert_false(checkpoint_parse(&c, texts[i], strlen(texts[i]), &err));
    }
    c = sample();
    c.from = 18; /* after the line */
    checkpoint_members(members, &c);
    assert_false(checkpoint_parse(&c, members, strlen(members), &err));
    c = sample();
    c.signature_len = 0;
    checkpoint_members(members, &c);
    assert_false(checkpoint_parse(&c, members, strlen(members), &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_text), cmocka_unit_test(test_round_trip),
                                       cmocka_unit_test(test_changed), cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
