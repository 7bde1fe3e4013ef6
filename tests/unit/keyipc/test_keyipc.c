/* Every message there and back, and one lie at a time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/hex.h"
#include "fault.h"
#include "keyipc/keyipc.h"

static struct keyipc_message message(uint8_t op)
{
    struct keyipc_message m;
    memset(&m, 0, sizeof m);
    m.op = op;
    m.request_id = 0xa1b2c3d4;
    return m;
}

static struct secret key_bytes(uint8_t byte)
{
    struct secret s;
    assert_true(secret_new(&s, AEAD_KEY_BYTES, NULL));
    memset(s.data, byte, s.len);
    return s;
}

static struct keyipc_message sample(uint8_t op)
{
    struct keyipc_message m = message(op);
    switch (op) {
    case KEYIPC_HELLO:
        m.u.hello = (struct keyipc_hello){KEYIPC_WORKER, KEYIPC_CUSTODY_TOKEN, {1, 2, 3}, 4200};
        break;
    case KEYIPC_OPEN:
        memset(m.u.open.model_point, 4, POINT_BYTES);
        break;
    case KEYIPC_DERIVE:
        m.u.derive.key_id = UINT64_C(0x0102030405060708);
        m.u.derive.stream_id = UINT64_MAX;
        memset(m.u.derive.server_point, 5, POINT_BYTES);
        break;
    case KEYIPC_CANCEL:
    case KEYIPC_CLOSE:
        m.u.key_id = UINT64_C(0xfedcba9876543210);
        break;
    case KEYIPC_HELLO | KEYIPC_ANSWER:
        m.u.hello_answer = (struct keyipc_hello_answer){KEYIPC_CUSTODY_TOKEN, 3600, 256, 4};
        break;
    case KEYIPC_OPEN | KEYIPC_ANSWER:
        m.u.open_answer.key_id = 7;
        memset(m.u.open_answer.client_point, 6, POINT_BYTES);
        memset(m.u.open_answer.response_point, 7, POINT_BYTES);
        m.u.open_answer.request_key = key_bytes(0x77);
        break;
    case KEYIPC_DERIVE | KEYIPC_ANSWER:
        m.u.derive_answer.response_key = key_bytes(0x78);
        break;
    case KEYIPC_STATUS | KEYIPC_ANSWER:
        m.u.status_answer = (struct keyipc_status_answer){
            .token_state = KEYIPC_TOKEN_DOWN,
            .custody = KEYIPC_CUSTODY_TOKEN,
            .keys_live = 1,
            .queue = 2,
            .derives = 3,
            .generates = 4,
            .failures = 5,
            .audit_state = KEYIPC_AUDIT_WRITTEN,
            .audit_lines = 20,
            .audit_lost = 21,
            .audit_head = {9},
            .sign_state = KEYIPC_AUDIT_FAILING,
            .audit_signed = 19,
            .derive_ns = 6,
            .token_count = 1,
            .tokens = {{KEYIPC_TOKEN_DOWN, 7, "a label of thirty-two characters", "sixteen of these"}},
            .times = {{{8}, 9}, {{0, 10}, 11}, {{12}, 13}, {{14}, 15}}};
        break;
    case KEYIPC_ERROR:
        m.u.error.kind = ERR_TOKEN;
        snprintf(m.u.error.message, sizeof m.u.error.message, "the token is gone");
        break;
    default:
        break;
    }
    return m;
}

static const uint8_t all[] = {KEYIPC_HELLO,
                              KEYIPC_OPEN,
                              KEYIPC_DERIVE,
                              KEYIPC_CANCEL,
                              KEYIPC_CLOSE,
                              KEYIPC_STATUS,
                              KEYIPC_HELLO | KEYIPC_ANSWER,
                              KEYIPC_OPEN | KEYIPC_ANSWER,
                              KEYIPC_DERIVE | KEYIPC_ANSWER,
                              KEYIPC_CANCEL | KEYIPC_ANSWER,
                              KEYIPC_CLOSE | KEYIPC_ANSWER,
                              KEYIPC_STATUS | KEYIPC_ANSWER,
                              KEYIPC_ERROR};
#define ALL (sizeof all)

static void encode_sample(struct buf *out, uint8_t op)
{
    struct err err = {0};
    struct keyipc_message m = sample(op);
    if (!keyipc_encode(out, &m, &err)) {
        fail_msg("op %u: %s", op, err.message);
    }
    keyipc_message_clear(&m);
}

static bool decode(struct keyipc_message *m, size_t *used, const uint8_t *data, size_t len, bool answers,
                   struct err *err)
{
    /* Memory of exactly the size, so that a sanitizer sees a read past the end. */
    uint8_t *exact = test_malloc(len > 0 ? len : 1);
    memcpy(exact, data, len);
    bool ok = keyipc_decode(m, used, exact, len, answers, err);
    test_free(exact);
    return ok;
}

static void test_round_trip(void **state)
{
    for (size_t i = 0; i < ALL; i++) {
        struct err err = {0};
        struct buf out, again;
        struct keyipc_message m = message(0);
        size_t used = 0;
        bool answers = all[i] >= KEYIPC_ANSWER;
        buf_init(&out, LIMIT_KEYIPC_FRAME_BYTES);
        buf_init(&again, LIMIT_KEYIPC_FRAME_BYTES);
        encode_sample(&out, all[i]);
        assert_true(decode(&m, &used, out.data, out.len, answers, &err));
        assert_int_equal(used, out.len);
        assert_int_equal(m.op, all[i]);
        assert_int_equal(m.request_id, 0xa1b2c3d4);
        assert_true(keyipc_encode(&again, &m, &err));
        assert_int_equal(again.len, out.len);
        assert_memory_equal(again.data, out.data, out.len);
        keyipc_message_clear(&m);
        buf_free(&out);
        buf_free(&again);
    }
    assert_int_equal(secret_live_count(), 0);
}

static void test_known_bytes(void **state)
{
    struct buf out;
    char hex[512];
    buf_init(&out, LIMIT_KEYIPC_FRAME_BYTES);
    encode_sample(&out, KEYIPC_CLOSE);
    assert_string_equal(hex_str(hex, out.data, out.len), "00000010"
                                                         "04050000a1b2c3d4"
                                                         "fedcba9876543210");
    buf_reset(&out);
    encode_sample(&out, KEYIPC_HELLO);
    assert_string_equal(hex_str(hex, out.data, out.len),
                        "0000002e"
                        "04010000a1b2c3d4"
                        "0201"
                        "0102030000000000000000000000000000000000000000000000000000000000"
                        "00001068");
    buf_free(&out);
}

static void test_every_cut_waits(void **state)
{
    for (size_t i = 0; i < ALL; i++) {
        struct err err = {0};
        struct buf out;
        buf_init(&out, LIMIT_KEYIPC_FRAME_BYTES);
        encode_sample(&out, all[i]);
        for (size_t len = 0; len < out.len; len++) {
            struct keyipc_message m = message(0x42);
            size_t used = 99;
            assert_true(decode(&m, &used, out.data, len, all[i] >= KEYIPC_ANSWER, &err));
            assert_int_equal(used, 0);
            assert_int_equal(m.op, 0x42);
        }
        buf_free(&out);
    }
}

static void assert_refused(const struct buf *frame, bool answers)
{
    struct err err = {0};
    struct keyipc_message m = message(0);
    size_t used = 99;
    assert_false(decode(&m, &used, frame->data, frame->len, answers, &err));
    assert_int_equal(err.kind, ERR_PROTOCOL);
    assert_int_equal(used, 0);
    assert_int_equal(secret_live_count(), 0);
}

static void test_lies(void **state)
{
    for (size_t i = 0; i < ALL; i++) {
        struct buf out;
        bool answers = all[i] >= KEYIPC_ANSWER;
        buf_init(&out, LIMIT_KEYIPC_FRAME_BYTES + 8);
        encode_sample(&out, all[i]);
        assert_refused(&out, !answers); /* right message, wrong direction */
        out.data[4]++;
        assert_refused(&out, answers); /* version */
        out.data[4]--;
        out.data[6] = 1;
        assert_refused(&out, answers); /* flags */
        out.data[6] = 0;
        if (all[i] != KEYIPC_ERROR) {
            out.data[3]++;
            assert_true(buf_append_byte(&out, 0));
            assert_refused(&out, answers); /* one byte more */
            out.data[3]--;
            out.len--;
            out.data[3]--;
            assert_refused(&out, answers); /* one byte less */
            out.data[3]++;
        }
        out.data[5] = 0x3f;
        assert_refused(&out, answers); /* unknown op */
        out.data[0] = 0x7f;
        assert_refused(&out, answers); /* 2 GiB */
        buf_free(&out);
    }
}

static void test_values_out_of_range(void **state)
{
    static const struct {
        uint8_t op;
        uint16_t at; /* in the body */
        uint8_t value;
    } lies[] = {
        {KEYIPC_HELLO, 0, 0},
        {KEYIPC_HELLO, 0, 3},
        {KEYIPC_HELLO, 1, 0},
        {KEYIPC_HELLO, 1, 3},
        {KEYIPC_HELLO | KEYIPC_ANSWER, 0, 9},
        {KEYIPC_STATUS | KEYIPC_ANSWER, 0, 0},
        {KEYIPC_STATUS | KEYIPC_ANSWER, 1, 3},
        {KEYIPC_STATUS | KEYIPC_ANSWER, 34, KEYIPC_AUDIT_FAILING + 1},
        {KEYIPC_STATUS | KEYIPC_ANSWER, 83, KEYIPC_AUDIT_FAILING + 1},
        {KEYIPC_STATUS | KEYIPC_ANSWER, 100, 0},                     /* a token that is not counted */
        {KEYIPC_STATUS | KEYIPC_ANSWER, 100, KEYIPC_TOKENS_MAX + 1}, /* more than there is room for */
        {KEYIPC_STATUS | KEYIPC_ANSWER, 101, 0},                     /* no state */
        {KEYIPC_STATUS | KEYIPC_ANSWER, 101, 4},
        {KEYIPC_STATUS | KEYIPC_ANSWER, 106, '\n'}, /* its label */
        {KEYIPC_STATUS | KEYIPC_ANSWER, 110, 0},
        {KEYIPC_STATUS | KEYIPC_ANSWER, 141, 0},                          /* its serial number */
        {KEYIPC_STATUS | KEYIPC_ANSWER, 101 + KEYIPC_TOKEN_BYTES, 1},     /* the next row, unused */
        {KEYIPC_STATUS | KEYIPC_ANSWER, 101 + KEYIPC_TOKEN_BYTES + 4, 1}, /* its keys */
        {KEYIPC_ERROR, 0, 0},
        {KEYIPC_ERROR, 0, ERR_KIND_COUNT},
        {KEYIPC_ERROR, 3, 0x1b},
    };
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        struct buf out;
        buf_init(&out, LIMIT_KEYIPC_FRAME_BYTES);
        encode_sample(&out, lies[i].op);
        out.data[KEYIPC_HEADER_BYTES + lies[i].at] = lies[i].value;
        assert_refused(&out, lies[i].op >= KEYIPC_ANSWER);
        buf_free(&out);
    }
}

static void test_encode_refuses(void **state)
{
    struct err err = {0};
    struct buf out;
    struct keyipc_message m = message(KEYIPC_DERIVE | KEYIPC_ANSWER);
    buf_init(&out, 30);
    assert_false(keyipc_encode(&out, &m, &err)); /* without a key */
    assert_int_equal(err.kind, ERR_INTERNAL);
    m = message(KEYIPC_ERROR); /* without a kind */
    assert_false(keyipc_encode(&out, &m, &err));
    m = message(0x20);
    assert_false(keyipc_encode(&out, &m, &err));
    m = message(KEYIPC_STATUS | KEYIPC_ANSWER);
    m.u.status_answer.token_count = 1;
    memset(m.u.status_answer.tokens[0].label, 'x', KEYIPC_LABEL_BYTES + 1);
    struct buf roomy;
    buf_init(&roomy, 4096);
    assert_false(keyipc_encode(&roomy, &m, &err));
    assert_int_equal(roomy.len, 0);
    m.u.status_answer.tokens[0].label[0] = '\0';
    m.u.status_answer.token_count = KEYIPC_TOKENS_MAX + 1;
    assert_false(keyipc_encode(&roomy, &m, &err));
    assert_int_equal(roomy.len, 0);
    buf_free(&roomy);
    /* A full buffer keeps what it held. */
    encode_sample(&out, KEYIPC_CLOSE);
    m = sample(KEYIPC_CLOSE);
    assert_false(keyipc_encode(&out, &m, &err));
    assert_int_equal(err.kind, ERR_TOO_LARGE);
    assert_int_equal(out.len, 20);
    buf_free(&out);
}

static void test_no_memory(void **state)
{
    struct err err = {0};
    struct buf out;
    struct keyipc_message m = sample(KEYIPC_STATUS);
    buf_init(&out, LIMIT_KEYIPC_FRAME_BYTES);
    fault_alloc_at(1);
    assert_false(keyipc_encode(&out, &m, &err));
    assert_true(fault_alloc_hit());
    assert_int_equal(err.kind, ERR_MEMORY);
    fault_alloc_at(0);
    buf_free(&out);
}

static void test_permitted(void **state)
{
    for (int op = 0; op < 256; op++) {
        bool control = op >= KEYIPC_OPEN && op <= KEYIPC_STATUS;
        bool worker = op == KEYIPC_DERIVE || op == KEYIPC_CANCEL || op == KEYIPC_STATUS;
        assert_int_equal(keyipc_permitted((uint8_t)op, 0, false), op == KEYIPC_HELLO);
        assert_int_equal(keyipc_permitted((uint8_t)op, KEYIPC_CONTROL, true), control);
        assert_int_equal(keyipc_permitted((uint8_t)op, KEYIPC_WORKER, true), worker);
        assert_false(keyipc_permitted((uint8_t)op, 0, true));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),          cmocka_unit_test(test_known_bytes),
        cmocka_unit_test(test_every_cut_waits),     cmocka_unit_test(test_lies),
        cmocka_unit_test(test_values_out_of_range), cmocka_unit_test(test_encode_refuses),
        cmocka_unit_test(test_no_memory),           cmocka_unit_test(test_permitted),
    };
    struct err err = {0};
    if (!secret_heap_init(&err)) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
