#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/hex.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/process.h"
#include "base/secret.h"
#include "base/text.h"
#include "fault.h"

static void test_hex(void **state)
{
    uint8_t bytes[3];
    char text[7];
    assert_true(hex_decode(bytes, "00fFa5", 6));
    assert_string_equal(hex_str(text, bytes, 3), "00ffa5");
    assert_false(hex_decode(bytes, "00ffa", 5));
    /* Every byte value in either place of a pair: only the 22 digits pass. */
    for (int c = 0; c < 256; c++) {
        char pair[2] = {(char)c, '0'}, other[2] = {'0', (char)c};
        bool digit = c != 0 && strchr("0123456789abcdefABCDEF", c) != NULL;
        assert_int_equal(hex_decode(bytes, pair, 2), digit);
        assert_int_equal(hex_decode(bytes, other, 2), digit);
        assert_int_equal(hex_all(pair, 2), digit);
    }
}

static void test_base64(void **state)
{
    /* RFC 4648 section 10 */
    static const char *const vectors[][2] = {{"", ""},
                                             {"f", "Zg=="},
                                             {"fo", "Zm8="},
                                             {"foo", "Zm9v"},
                                             {"foob", "Zm9vYg=="},
                                             {"fooba", "Zm9vYmE="},
                                             {"foobar", "Zm9vYmFy"}};
    uint8_t out[16];
    char text[16];
    size_t len;
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        base64_encode(text, (const uint8_t *)vectors[i][0], strlen(vectors[i][0]));
        assert_string_equal(text, vectors[i][1]);
        assert_true(base64_decode(out, sizeof out, &len, text, strlen(text), false));
        assert_int_equal(len, strlen(vectors[i][0]));
        assert_memory_equal(out, vectors[i][0], len);
    }
    static const char *const bad[] = {
        "Z", "Zg=", "Zh==", "Zm9v Zg==", "Zm9_", "====", "Zg==Zg==", "Zm9vY==="};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(base64_decode(out, sizeof out, &len, bad[i], strlen(bad[i]), false));
        assert_int_equal(len, 0);
    }
    assert_true(base64_decode(out, sizeof out, &len, "Zm9_", 4, true));
    assert_false(base64_decode(out, 2, &len, "Zm9v", 4, false)); /* no room */
}

/* Each byte value at each place of a long run of digits: vectors of sixteen and the rest alike. */
static void test_hex_every_byte(void **state)
{
    char text[23];
    uint8_t out[11];
    for (size_t at = 0; at < 22; at++) {
        for (int c = 0; c < 256; c++) {
            memset(text, '7', sizeof text);
            text[at] = (char)c;
            bool digit = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
            assert_int_equal(hex_decode(out, text, 22), digit);
            if (digit) {
                int value = c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
                assert_int_equal(out[at / 2], at % 2 == 0 ? value << 4 | 7 : 0x70 | value);
                assert_true(hex_decode((uint8_t *)text, text, 22)); /* over its own digits */
                assert_memory_equal(text, out, sizeof out);
            }
        }
    }
}

/* What is charged against --max-inflight-bytes is the size asked for, so a buffer may not take much more. */
static void test_buf_takes_what_is_asked(void **state)
{
    struct buf b;
    buf_init(&b, 20971520);
    assert_true(buf_reserve(&b, 20000000));
    assert_int_equal(b.cap, 20000000);
    buf_free(&b);
    buf_init(&b, 1000);
    for (int i = 0; i < 1000; i++) {
        assert_true(buf_append_byte(&b, 'x'));
        assert_true(b.cap <= 1000);
    }
    assert_false(buf_append_byte(&b, 'x'));
    buf_free(&b);
    buf_init(&b, SIZE_MAX / 4);
    size_t grown = 0, cap = 0;
    for (int i = 0; i < 100000; i++) {
        assert_true(buf_append_byte(&b, 'x'));
        grown += b.cap != cap;
        cap = b.cap;
    }
    assert_in_range(grown, 1, 12); /* by doubling */
    buf_free(&b);
}

static void test_buf_limits(void **state)
{
    struct buf b;
    struct err err = {0};
    buf_init(&b, 10);
    assert_true(buf_append_str(&b, "0123456789"));
    assert_false(buf_append_byte(&b, 'x'));
    assert_true(b.failed);
    assert_int_equal(b.len, 0);
    assert_false(buf_append_str(&b, "a")); /* sticky */
    assert_false(buf_check(&b, "a text", &err));
    assert_int_equal(err.kind, ERR_TOO_LARGE);
    buf_reset(&b);
    assert_true(buf_append_hex(&b, (const uint8_t *)"\x01\xff", 2));
    buf_consume(&b, 1);
    assert_string_equal(buf_cstr(&b), "1ff");
    buf_free(&b);
    buf_init(&b, 4096);
    for (int i = 0; i < 200; i++) {
        assert_true(buf_appendf(&b, "%04d,", i));
    }
    assert_int_equal(b.len, 1000);
    char *wide = mem_alloc(1000);
    memset(wide, 'w', 999);
    wide[999] = '\0';
    assert_true(buf_appendf(&b, "%s", wide)); /* past the small buffer */
    assert_int_equal(b.len, 1999);
    assert_memory_equal(b.data + 1000, wide, 999);
    mem_free(wide);
    buf_free(&b);
    fault_alloc_at(1);
    assert_false(buf_append_str(&b, "a"));
    assert_true(fault_alloc_hit() && b.failed && b.data == NULL);
    fault_alloc_at(0);
    buf_free(&b);
}

static void test_secrets(void **state)
{
    struct err err = {0};
    struct secret a, b, c = SECRET_EMPTY;
    assert_true(secret_copy(&a, (const uint8_t *)"0123", 4, &err));
    assert_true(secret_copy(&b, (const uint8_t *)"0123", 4, &err));
    assert_true(secret_equal(&a, &b));
    b.data[3] ^= 1;
    assert_false(secret_equal(&a, &b));
    secret_move(&c, &a);
    assert_null(a.data);
    secret_truncate(&c, 2);
    assert_int_equal(c.len, 2);
    assert_int_equal(c.data[2], 0);
    assert_int_equal(secret_live_count(), 2);
    secret_free(&b);
    secret_free(&c);
    assert_int_equal(secret_live_count(), 0);
    /* Full means refuse: never ordinary memory. */
    assert_false(secret_new(&a, 2u << 20, &err));
    assert_int_equal(err.kind, ERR_MEMORY);
    assert_null(a.data);
    static struct secret many[40000];
    size_t n = 0;
    while (n < 40000 && secret_new(&many[n], 32, &err)) {
        n++;
    }
    assert_true(n >= 8000 && n < 40000);
    while (n > 0) {
        secret_free(&many[--n]);
    }
    assert_int_equal(secret_live_count(), 0);
}

static void test_numbers_and_switches(void **state)
{
    uint64_t v = 7;
    bool on;
    assert_true(text_u64(&v, "18446744073709551615", 0, UINT64_MAX));
    assert_true(v == UINT64_MAX);
    static const char *const bad[] = {"", "-1", "+1", " 1", "1 ", "0x10", "1e3", "18446744073709551616"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(text_u64(&v, bad[i], 0, UINT64_MAX));
    }
    assert_false(text_u64(&v, "59", 60, 3600));
    assert_false(text_u64(&v, "3601", 60, 3600));
    assert_true(text_bool(&on, "on") && on);
    assert_true(text_bool(&on, "off") && !on);
    assert_false(text_bool(&on, "maybe"));
}

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
    assert_int_equal(fclose(f), 0);
}

static void test_secret_files(void **state)
{
    char dir[] = "/tmp/e2ee-base-XXXXXX", path[64];
    struct err err = {0};
    struct secret s;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/pin", dir);
    static const struct {
        const char *file, *pin;
    } cases[] = {
        {"1234", "1234"}, {"1234\n", "1234"}, {"1234\r\n", "1234"}, {"1234\n\n", "1234\n"}, {" 12 ", " 12 "}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_file(path, cases[i].file);
        assert_true(text_read_secret(&s, path, 255, &err));
        assert_int_equal(s.len, strlen(cases[i].pin));
        assert_memory_equal(s.data, cases[i].pin, s.len);
        secret_free(&s);
    }
    write_file(path, "\n");
    assert_false(text_read_secret(&s, path, 255, &err));
    write_file(path, "123456");
    assert_false(text_read_secret(&s, path, 5, &err));
    assert_null(strstr(err.message, "123456"));
    assert_false(text_read_secret(&s, dir, 255, &err)); /* a folder */
    assert_true(text_write_file_atomic(path, "new", 3, &err));
    struct buf b;
    buf_init(&b, 3);
    assert_true(text_read_file(&b, path, &err));
    assert_memory_equal(b.data, "new", 3);
    buf_free(&b);
    buf_init(&b, 2);
    assert_false(text_read_file(&b, path, &err));
    assert_int_equal(err.kind, ERR_TOO_LARGE);
    buf_free(&b);
    unlink(path);
    assert_false(text_read_secret(&s, path, 255, &err));
    rmdir(dir);
    assert_int_equal(secret_live_count(), 0);
}

static void test_environment(void **state)
{
    struct err err = {0};
    static const char *const keep[] = {"PATH", "KEPT", NULL};
    setenv("SSLKEYLOGFILE", "/tmp/x", 1);
    setenv("KEPT", "1", 1);
    setenv("KEPTNOT", "1", 1);
    assert_true(process_clean_environment(keep, &err));
    assert_null(getenv("SSLKEYLOGFILE"));
    assert_null(getenv("KEPTNOT"));
    assert_string_equal(getenv("KEPT"), "1");
    assert_string_equal(getenv("OPENSSL_CONF"), "/dev/null");
}

static void test_errors(void **state)
{
    struct err err = {0};
    assert_false(err_set(&err, ERR_TOKEN, "no token %d", 5));
    assert_false(err_context(&err, "opening %s", "slot"));
    assert_string_equal(err.message, "opening slot: no token 5");
    assert_int_equal(err.kind, ERR_TOKEN);
    char longer[1000];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    err_set(&err, ERR_IO, "%s", longer);
    assert_int_equal(strlen(err.message), sizeof err.message - 1);
    err_context(&err, "%s", longer);
    assert_int_equal(strlen(err.message), sizeof err.message - 1);
    err_set(NULL, ERR_IO, "nobody listens");
    for (int kind = 0; kind < ERR_KIND_COUNT; kind++) {
        assert_string_not_equal(err_kind_name((enum err_kind)kind), "unknown");
    }
}

static void test_log_escapes(void **state)
{
    int saved = dup(STDERR_FILENO), pipe_fd[2];
    char text[4096];
    assert_int_equal(pipe(pipe_fd), 0);
    dup2(pipe_fd[1], STDERR_FILENO);
    log_init("test", LOG_LEVEL_INFO, true);
    log_info("a \"quoted\"\nline");
    log_debug("unseen");
    log_init("test", LOG_LEVEL_INFO, false);
    log_warn("bell\a");
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(pipe_fd[1]);
    ssize_t n = read(pipe_fd[0], text, sizeof text - 1);
    close(pipe_fd[0]);
    assert_true(n > 0);
    text[n] = '\0';
    assert_non_null(strstr(text, "\"message\":\"a \\\"quoted\\\"\\u000aline\"}\n"));
    assert_non_null(strstr(text, "warn test: bell\\x07\n"));
    assert_null(strstr(text, "unseen"));
}

static int set_up(void **state)
{
    struct err err = {0};
    return secret_heap_init(&err) ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hex),
        cmocka_unit_test(test_base64),
        cmocka_unit_test(test_buf_limits),
        cmocka_unit_test(test_buf_takes_what_is_asked),
        cmocka_unit_test(test_hex_every_byte),
        cmocka_unit_test(test_secrets),
        cmocka_unit_test(test_numbers_and_switches),
        cmocka_unit_test(test_secret_files),
        cmocka_unit_test(test_environment),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_log_escapes),
    };
    return cmocka_run_group_tests_name("base", tests, set_up, NULL);
}
