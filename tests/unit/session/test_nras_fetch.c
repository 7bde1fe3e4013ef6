/* NVIDIA's service over HTTP: what is sent, and answers that are none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fault.h"
#include "session/nras_fetch.h"

#define HEAD "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: "
#define PAYLOAD "{\"arch\":\"HOPPER\",\"evidence_list\":[{}]}"
#define BODY(payload) "{\"intel_quote\":\"00\",\"nvidia_payload\":" payload "}"

static const char with_gpu[] = BODY("\"{\\\"arch\\\":\\\"HOPPER\\\",\\\"evidence_list\\\":[{}]}\"");

struct service {
    int listener;
    unsigned port;
    pthread_t thread;
    const char *tokens, *keys; /* whole answers */
    char asked[2][4096];       /* whole requests */
    unsigned count;
};

/* Whether the request has come whole. */
static bool is_whole(const char *request, size_t len)
{
    const char *end = strstr(request, "\r\n\r\n"), *length = strstr(request, "Content-Length: ");
    return end != NULL && (length == NULL || (size_t)(request + len - (end + 4)) >=
                                                 strtoul(length + strlen("Content-Length: "), NULL, 10));
}

static void answer(struct service *s, int fd)
{
    char request[4096];
    size_t len = 0;
    ssize_t n;
    while (len + 1 < sizeof request && (n = recv(fd, request + len, sizeof request - 1 - len, 0)) > 0) {
        len += (size_t)n;
        request[len] = '\0';
        if (is_whole(request, len)) {
            break;
        }
    }
    request[len] = '\0';
    if (s->count < 2) {
        memcpy(s->asked[s->count], request, len + 1);
    }
    s->count++;
    const char *text = strncmp(request, "POST ", 5) == 0 ? s->tokens : s->keys;
    send(fd, text, strlen(text), MSG_NOSIGNAL);
    close(fd);
}

static void *run(void *arg)
{
    struct service *s = arg;
    int fd;
    while ((fd = accept(s->listener, NULL, NULL)) >= 0) {
        answer(s, fd);
    }
    return NULL;
}

static void start(struct service *s)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    memset(s, 0, sizeof *s);
    s->tokens = HEAD "6\r\n\r\ntokens";
    s->keys = HEAD "4\r\n\r\nkeys";
    s->listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(s->listener, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(s->listener, 8), 0);
    assert_int_equal(getsockname(s->listener, (struct sockaddr *)&at, &len), 0);
    s->port = ntohs(at.sin_port);
    assert_int_equal(pthread_create(&s->thread, NULL, run, s), 0);
}

static void stop(struct service *s)
{
    shutdown(s->listener, SHUT_RDWR);
    pthread_join(s->thread, NULL);
    close(s->listener);
}

static struct nras_fetch *client(const struct service *s)
{
    char url[64];
    struct err err = {0};
    snprintf(url, sizeof url, "http://127.0.0.1:%u", s->port);
    struct nras_fetch *f = nras_fetch_new(url, true, &err);
    if (f == NULL) {
        fail_msg("%s", err.message);
    }
    return f;
}

static void ask(struct nras_fetch *f, const char *body, struct nras_got *got)
{
    struct buf text;
    buf_init(&text, 4096);
    assert_true(buf_append_str(&text, body));
    nras_fetch(f, &text, got);
    buf_free(&text);
}

static void requests(void **state)
{
    struct service s;
    struct nras_got got;
    (void)state;
    start(&s);
    struct nras_fetch *f = client(&s);
    nras_got_init(&got);
    ask(f, with_gpu, &got);
    assert_true(got.asked);
    if (got.problem.kind != ERR_NONE) {
        fail_msg("%s", got.problem.message);
    }
    const struct nras_evidence *view = nras_got_view(&got);
    assert_non_null(view);
    assert_null(view->problem);
    assert_int_equal(view->answer_len, 6);
    assert_memory_equal(view->answer, "tokens", 6);
    assert_memory_equal(view->keys, "keys", 4);
    assert_int_equal(s.count, 2);
    assert_non_null(strstr(s.asked[0], "POST /v3/attest/gpu HTTP/1.1\r\n"));
    assert_non_null(strstr(s.asked[0], "\r\nContent-Type: application/json\r\n"));
    assert_non_null(strstr(s.asked[0], "\r\n\r\n" PAYLOAD));
    assert_non_null(strstr(s.asked[1], "GET /.well-known/jwks.json HTTP/1.1\r\n"));
    for (int i = 0; i < 2; i++) {
        assert_null(strcasestr(s.asked[i], "\r\nauthorization:"));
        assert_null(strcasestr(s.asked[i], "\r\ncookie:"));
    }
    nras_got_free(&got);
    nras_fetch_free(f);
    stop(&s);
}

/* Nothing leaves for a body without GPUs, or one that cannot be read. */
static void not_asked(void **state)
{
    static const char *const bodies[] = {"",
                                         "{",
                                         "{\"intel_quote\":\"00\"}",
                                         BODY("\"\""),
                                         BODY("\"[]\""),
                                         BODY("\"{\""),
                                         BODY("\"{\\\"evidence_list\\\":[]}\""),
                                         BODY("\"{\\\"evidence_list\\\":{}}\"")};
    struct service s;
    struct nras_got got;
    (void)state;
    start(&s);
    struct nras_fetch *f = client(&s);
    nras_got_init(&got);
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        ask(f, bodies[i], &got);
        assert_false(got.asked);
        assert_null(nras_got_view(&got));
    }
    assert_int_equal(s.count, 0);
    nras_got_free(&got);
    nras_fetch_free(f);
    stop(&s);
}

static void bad_answers(void **state)
{
    static const struct {
        const char *tokens, *keys;
    } cases[] = {
        {"HTTP/1.1 503 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", NULL},
        {"HTTP/1.1 400 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}", NULL},
        {HEAD "0\r\n\r\n", NULL},
        {HEAD "9\r\n\r\ncut", NULL},
        {HEAD "9999999\r\n\r\n", NULL},
        {"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\nConnection: "
         "close\r\n\r\n",
         NULL},
        {"nonsense\r\n\r\n", NULL},
        {NULL, "HTTP/1.1 404 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"},
        {NULL, HEAD "0\r\n\r\n"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct service s;
        struct nras_got got;
        start(&s);
        s.tokens = cases[i].tokens != NULL ? cases[i].tokens : s.tokens;
        s.keys = cases[i].keys != NULL ? cases[i].keys : s.keys;
        struct nras_fetch *f = client(&s);
        nras_got_init(&got);
        ask(f, with_gpu, &got);
        if (!got.asked || got.problem.kind == ERR_NONE || got.answer.len != 0 || got.keys.len != 0) {
            fail_msg("case %zu", i);
        }
        assert_non_null(nras_got_view(&got)->problem);
        nras_fetch_abort(f);
        ask(f, with_gpu, &got);
        assert_int_equal(got.problem.kind, ERR_CANCELLED);
        nras_got_free(&got);
        nras_fetch_free(f);
        stop(&s);
    }
    nras_fetch_free(NULL);
    nras_fetch_abort(NULL);
}

static void refused_addresses(void **state)
{
    static const char *const urls[] = {"http://127.0.0.1:1", "http://example.test", "ftp://example.test", "",
                                       "https://user@example.test"};
    (void)state;
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        struct err err = {0};
        assert_null(nras_fetch_new(urls[i], false, &err));
        assert_int_equal(err.kind, ERR_CONFIG);
    }
}

static void allocations(void **state)
{
    struct service s;
    (void)state;
    start(&s);
    for (size_t n = 1;; n++) {
        struct nras_got got;
        struct err err = {0};
        char url[64];
        nras_got_init(&got);
        snprintf(url, sizeof url, "http://127.0.0.1:%u", s.port);
        struct buf body;
        buf_init(&body, 4096);
        assert_true(buf_append_str(&body, with_gpu));
        fault_alloc_at(n);
        struct nras_fetch *f = nras_fetch_new(url, true, &err);
        if (f != NULL) {
            nras_fetch(f, &body, &got);
        }
        bool hit = fault_alloc_hit();
        fault_alloc_at(0);
        bool whole = f != NULL && got.asked && got.problem.kind == ERR_NONE;
        assert_true(whole || (got.answer.len == 0 && got.keys.len == 0));
        assert_true(f != NULL || err.kind == ERR_MEMORY);
        nras_fetch_free(f);
        nras_got_free(&got);
        buf_free(&body);
        if (!hit) {
            assert_true(whole);
            break;
        }
    }
    stop(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests),          cmocka_unit_test(not_asked),   cmocka_unit_test(bad_answers),
        cmocka_unit_test(refused_addresses), cmocka_unit_test(allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
