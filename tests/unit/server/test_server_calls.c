/* Requests and responses in their order: keep-alive, pipelining, bodies in pieces, HEAD, HTTP/1.0, streams. */
#include "server/fixture.h"

#define HELLO "GET /hello HTTP/1.1\r\n" SAY_HOST "\r\n"

static size_t count(const char *text, const char *what)
{
    size_t n = 0;
    for (const char *p = text; (p = strstr(p, what)) != NULL; p += strlen(what)) {
        n++;
    }
    return n;
}

static void test_keep_alive(void **state)
{
    struct fixture *f = fixture_run();
    struct heard *h = malloc(sizeof *h);
    int fd = dial(f);
    for (int i = 0; i < 3; i++) {
        say(fd, "GET /hello?b=1 HTTP/1.1\r\n" SAY_HOST "\r\n");
        hear_until(fd, h, "hello");
        assert_int_equal(h->status, 200);
        assert_null(strstr(h->text, "Connection:"));
        assert_non_null(strstr(h->text, "\r\nX-Test: yes\r\n"));
        assert_null(strstr(h->text, "X-Bad"));
    }
    assert_int_equal(http_worker_connections(f->worker), 1);
    say(fd, "GET /hello HTTP/1.1\r\n" SAY_HOST "Connection: close\r\n\r\n");
    hear_until(fd, h, NULL);
    assert_true(h->eof);
    assert_non_null(strstr(h->text, "Connection: close\r\n"));
    close(fd);
    free(h);
    fixture_end(f);
}

static void test_byte_by_byte(void **state)
{
    static const char *const requests[] = {
        "POST /echo?q HTTP/1.1\r\n" SAY_HOST SAY_JSON "Content-Length: 12\r\n\r\n{\"a\":[1, 2]}",
        "POST /echo?q HTTP/1.1\r\n" SAY_HOST SAY_JSON "Transfer-Encoding: chunked\r\n\r\n"
        "5;x=\"y\"\r\n{\"a\":\r\n07\r\n[1, 2]}\r\n0\r\nTrail: er\r\n\r\n",
    };
    struct fixture *f = fixture_run();
    struct heard *h = malloc(sizeof *h);
    for (size_t r = 0; r < 2; r++) {
        int fd = dial(f);
        for (const char *p = requests[r]; *p != '\0'; p++) {
            say_bytes(fd, p, 1);
            usleep(200);
        }
        hear_until(fd, h, "{\"a\":[1, 2]}");
        assert_int_equal(h->status, 200);
        assert_non_null(strstr(h->text, "Content-Length: 12\r\n"));
        close(fd);
        /* Cut in two at every place. */
        for (size_t cut = 1; cut < strlen(requests[r]); cut += 3) {
            fd = dial(f);
            say_bytes(fd, requests[r], cut);
            usleep(300);
            say(fd, requests[r] + cut);
            hear_until(fd, h, "{\"a\":[1, 2]}");
            assert_int_equal(h->status, 200);
            close(fd);
        }
    }
    free(h);
    fixture_end(f);
}

static void test_pipelining(void **state)
{
    static const char post[] = "POST /echo HTTP/1.1\r\n" SAY_HOST SAY_JSON "Content-Length: 3\r\n\r\nab1";
    struct fixture *f = fixture_run();
    struct heard *h = malloc(sizeof *h);
    int fd = dial(f);
    say(fd, "GET /later HTTP/1.1\r\n" SAY_HOST "\r\n" HELLO "GET /stream HTTP/1.1\r\n" SAY_HOST "\r\n"
            "GET /later HTTP/1.1\r\n" SAY_HOST "\r\n");
    say(fd, post);
    hear_until(fd, h, "ab1");
    const char *one = strstr(h->text, "later"), *two = strstr(h->text, "hello"),
               *three = strstr(h->text, "three");
    assert_true(one != NULL && two > one && three > two && strstr(three, "later") > three);
    assert_int_equal(count(h->text, "HTTP/1.1 200 OK"), 5);
    /* A refused request ends the line: what follows is not served. */
    say(fd, HELLO "POST /echo HTTP/1.1\r\n" SAY_HOST "Content-Length: 3\r\n\r\nabc" HELLO);
    hear_until(fd, h, NULL);
    assert_int_equal(count(h->text, "HTTP/1.1 "), 2);
    close(fd);
    free(h);
    fixture_end(f);
}

/* More than is kept while a request is in work: it is answered, then the connection ends. */
static void test_pipeline_bounded(void **state)
{
    struct fixture *f = fixture_run();
    struct heard *h = malloc(sizeof *h);
    int fd = dial(f);
    int on = 1 << 20;
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &on, sizeof on);
    say(fd, "GET /later HTTP/1.1\r\n" SAY_HOST "\r\n");
    for (int i = 0; i < 3000; i++) {
        say(fd, HELLO);
    }
    hear_until(fd, h, NULL);
    assert_true(h->eof);
    assert_int_equal(count(h->text, "HTTP/1.1 200 OK"), 1);
    close(fd);
    /* Many that are answered at once are all served, in turn, to a client that reads late. */
    fd = dial(f);
    for (int i = 0; i < 400; i++) {
        say(fd, HELLO);
    }
    say(fd, "GET /hello HTTP/1.1\r\n" SAY_HOST "Connection: close\r\n\r\n");
    hear_until(fd, h, NULL);
    assert_int_equal(count(h->text, "HTTP/1.1 200 OK"), 401);
    close(fd);
    free(h);
    fixture_end(f);
}

static void test_head(void **state)
{
    struct fixture *f = fixture_run();
    struct heard *h = malloc(sizeof *h);
    int fd = dial(f);
    say(fd, "HEAD /hello HTTP/1.1\r\n" SAY_HOST "\r\n");
    hear_until(fd, h, "\r\n\r\n");
    assert_non_null(strstr(h->text, "Content-Length: 5\r\n"));
    say(fd, "HEAD /stream HTTP/1.1\r\n" SAY_HOST "\r\n");
    hear_until(fd, h, "\r\n\r\n");
    assert_int_equal(h->status, 200);
    say(fd, "HEAD /none HTTP/1.1\r\n" SAY_HOST "\r\n");
    hear_until(fd, h, "\r\n\r\n");
    assert_int_equal(h->status, 404);
    say(fd, HELLO);
    hear_until(fd, h, "\r\n\r\nhello");
    assert_int_equal(count(h->text, "HTTP/1.1"), 1);
    close(fd);
    free(h);
    fixture_end(f);
}

static void test_http10(void **state)
{
    struct fixture *f = fixture_run();
    struct heard *h = malloc(sizeof *h);
    int fd = dial(f);
    say(fd, "GET /hello HTTP/1.0\r\n" SAY_HOST "\r\n");
    hear_until(fd, h, NULL);
    assert_true(h->eof && strstr(h->text, "Connection: close\r\n") != NULL);
    close(fd);
    fd = dial(f);
    say(fd, "GET /hello HTTP/1.0\r\n" SAY_HOST "Connection: keep-alive\r\n\r\n");
    hear_until(fd, h, "hello");
    assert_non_null(strstr(h->text, "Connection: keep-alive\r\n"));
    say(fd, "GET /stream HTTP/1.0\r\n" SAY_HOST "Connection: keep-alive\r\n\r\n");
    hear_until(fd, h, NULL);
    assert_true(h->eof);
    assert_null(strstr(h->text, "chunked"));
    assert_non_null(strstr(h->text, "\r\n\r\nonetwothree"));
    close(fd);
    free(h);
    fixture_end(f);
}

static void test_stream(void **state)
{
    struct fixture *f = fixture_run();
    struct heard *h = malloc(sizeof *h);
    int fd = dial(f);
    for (int i = 0; i < 2; i++) {
        say(fd, "GET /stream HTTP/1.1\r\n" SAY_HOST "\r\n");
        hear_until(fd, h, "0\r\n\r\n");
        assert_non_null(strstr(h->text, "Transfer-Encoding: chunked\r\n"));
        assert_non_null(strstr(h->text, "\r\n\r\n3\r\none\r\n3\r\ntwo\r\n5\r\nthree\r\n0\r\n\r\n"));
    }
    say(fd, "GET /cut HTTP/1.1\r\n" SAY_HOST "\r\n");
    hear_until(fd, h, NULL);
    assert_true(h->eof);
    assert_null(strstr(h->text, "0\r\n\r\n"));
    assert_int_equal(atomic_load(&f->closed), 0);
    close(fd);
    free(h);
    fixture_end(f);
}

static void test_expect(void **state)
{
    struct fixture *f = fixture_run();
    struct heard *h = malloc(sizeof *h);
    int fd = dial(f);
    say(fd, "POST /echo HTTP/1.1\r\n" SAY_HOST SAY_JSON "Expect: 100-Continue\r\nContent-Length: 2\r\n\r\n");
    hear_until(fd, h, "\r\n\r\n");
    assert_int_equal(h->status, 100);
    say(fd, "{}");
    hear_until(fd, h, "{}");
    assert_int_equal(h->status, 200);
    /* Judged first: no body is asked for that will not be taken. */
    say(fd, "POST /echo HTTP/1.1\r\n" SAY_HOST "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    hear_until(fd, h, NULL);
    assert_int_equal(h->status, 415);
    assert_true(h->eof);
    close(fd);
    fd = dial(f);
    say(fd, "POST /early HTTP/1.1\r\n" SAY_HOST SAY_JSON "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    hear_until(fd, h, NULL);
    assert_int_equal(h->status, 404);
    close(fd);
    free(h);
    fixture_end(f);
}

/* An answer before the body was sent reaches a client that goes on sending. */
static void test_early_answer(void **state)
{
    struct fixture *f = fixture_run();
    struct heard *h = malloc(sizeof *h);
    char piece[10000];
    memset(piece, ' ', sizeof piece);
    int fd = dial(f);
    say(fd, "POST /early HTTP/1.1\r\n" SAY_HOST SAY_JSON "Content-Length: 5000000\r\n\r\n");
    for (int i = 0; i < 500; i++) {
        say_bytes(fd, piece, sizeof piece);
    }
    hear_until(fd, h, NULL);
    assert_int_equal(h->status, 404);
    assert_non_null(strstr(h->text, "\"code\":\"model_not_found\"}}"));
    assert_int_equal(atomic_load(&f->requests), 0);
    close(fd);
    free(h);
    fixture_end(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keep_alive),   cmocka_unit_test(test_byte_by_byte),
        cmocka_unit_test(test_pipelining),   cmocka_unit_test(test_pipeline_bounded),
        cmocka_unit_test(test_head),         cmocka_unit_test(test_http10),
        cmocka_unit_test(test_stream),       cmocka_unit_test(test_expect),
        cmocka_unit_test(test_early_answer),
    };
    return cmocka_run_group_tests_name("server_calls", tests, NULL, NULL);
}
