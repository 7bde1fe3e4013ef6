/* Collateral over HTTP: the requests that leave, and mirrors that answer badly. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "session/collateral_fetch.h"

#define CHAIN "-----BEGIN%20CERTIFICATE-----%0AAA%2B%2F%3D%0A-----END%20CERTIFICATE-----%0A"

/* A mirror of four answers, one connection after another. */
struct mirror {
    int listener;
    unsigned port;
    pthread_t thread;
    const char *tcb, *qe, *pck, *root; /* whole answers */
    char asked[4][256];                /* request lines */
    unsigned count;
};

static const char good_tcb[] = "HTTP/1.1 200 OK\r\nTCB-Info-Issuer-Chain: " CHAIN
                               "\r\nContent-Length: 3\r\nConnection: close\r\n\r\ntcb";
static const char good_qe[] = "HTTP/1.1 200 OK\r\nSGX-Enclave-Identity-Issuer-Chain: " CHAIN
                              "\r\nContent-Length: 2\r\nConnection: close\r\n\r\nqe";
static const char good_pck[] = "HTTP/1.1 200 OK\r\nSGX-PCK-CRL-Issuer-Chain: " CHAIN
                               "\r\nContent-Length: 3\r\nConnection: close\r\n\r\n\x30\x81\x01";
static const char good_root[] = "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: close\r\n\r\n308102\n";

static void answer(struct mirror *m, int fd)
{
    char request[2048];
    size_t len = 0;
    ssize_t n;
    while (len + 1 < sizeof request && (n = recv(fd, request + len, sizeof request - 1 - len, 0)) > 0) {
        len += (size_t)n;
        request[len] = '\0';
        if (strstr(request, "\r\n\r\n") != NULL) {
            break;
        }
    }
    request[len] = '\0';
    if (m->count < 4) {
        snprintf(m->asked[m->count], sizeof m->asked[0], "%.*s", (int)strcspn(request, "\r"), request);
    }
    m->count++;
    const char *text = strstr(request, "/tcb") != NULL         ? m->tcb
                       : strstr(request, "/qe/") != NULL       ? m->qe
                       : strstr(request, "/pckcrl") != NULL    ? m->pck
                       : strstr(request, "/rootcacrl") != NULL ? m->root
                                                               : NULL;
    if (text != NULL) {
        send(fd, text, strlen(text), MSG_NOSIGNAL);
    }
    close(fd);
}

static void *run(void *arg)
{
    struct mirror *m = arg;
    int fd;
    while ((fd = accept(m->listener, NULL, NULL)) >= 0) {
        answer(m, fd);
    }
    return NULL;
}

static void start(struct mirror *m)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    memset(m, 0, sizeof *m);
    m->tcb = good_tcb;
    m->qe = good_qe;
    m->pck = good_pck;
    m->root = good_root;
    m->listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(m->listener, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(m->listener, 8), 0);
    assert_int_equal(getsockname(m->listener, (struct sockaddr *)&at, &len), 0);
    m->port = ntohs(at.sin_port);
    assert_int_equal(pthread_create(&m->thread, NULL, run, m), 0);
}

static void stop(struct mirror *m)
{
    shutdown(m->listener, SHUT_RDWR);
    pthread_join(m->thread, NULL);
    close(m->listener);
}

static bool fetch_set(const struct mirror *m, const char *tail, uint32_t evaluation, struct collateral *out,
                      struct err *err)
{
    char url[128];
    const struct collateral_key key = {.fmspc = {0x90, 0xc0, 0x6f, 0, 0, 0x0a}, .evaluation = evaluation};
    snprintf(url, sizeof url, "http://127.0.0.1:%u%s", m->port, tail);
    struct collateral_fetch *f = collateral_fetch_new(url, true, err);
    assert_non_null(f);
    bool ok = collateral_fetch(f, &key, out, err);
    collateral_fetch_free(f);
    return ok;
}

static bool fetch(const struct mirror *m, const char *tail, struct collateral *out, struct err *err)
{
    return fetch_set(m, tail, 0, out, err);
}

/* Only the documents are numbered, and no update goes with a number: Intel's service refuses both together. */
static void numbered_set(void **state)
{
    struct mirror m;
    struct collateral c;
    struct err err = {0};
    collateral_init(&c);
    start(&m);
    assert_true(fetch_set(&m, "", 19, &c, &err));
    stop(&m);
    assert_string_equal(
        m.asked[0], "GET /tdx/certification/v4/tcb?fmspc=90c06f00000a&tcbEvaluationDataNumber=19 HTTP/1.1");
    assert_string_equal(m.asked[1],
                        "GET /tdx/certification/v4/qe/identity?tcbEvaluationDataNumber=19 HTTP/1.1");
    assert_string_equal(m.asked[2], "GET /sgx/certification/v4/pckcrl?ca=platform&encoding=der HTTP/1.1");
    assert_string_equal(m.asked[3], "GET /sgx/certification/v4/rootcacrl HTTP/1.1");
    collateral_free(&c);
}

static void requests(void **state)
{
    static const char *const tails[] = {"", "/", "/sgx/certification/v4", "/tdx/certification/v4/"};
    static const char *const lines[] = {"GET /tdx/certification/v4/tcb?fmspc=90c06f00000a HTTP/1.1",
                                        "GET /tdx/certification/v4/qe/identity HTTP/1.1",
                                        "GET /sgx/certification/v4/pckcrl?ca=platform&encoding=der HTTP/1.1",
                                        "GET /sgx/certification/v4/rootcacrl HTTP/1.1"};
    struct collateral c;
    struct err err = {0};
    collateral_init(&c);
    for (size_t i = 0; i < sizeof tails / sizeof tails[0]; i++) {
        struct mirror m;
        start(&m);
        if (!fetch(&m, tails[i], &c, &err)) {
            fail_msg("%s", err.message);
        }
        stop(&m);
        assert_int_equal(m.count, 4);
        for (size_t k = 0; k < 4; k++) {
            assert_string_equal(m.asked[k], lines[k]);
        }
        assert_string_equal(buf_cstr(&c.tcb_info), "tcb");
        assert_string_equal(buf_cstr(&c.tcb_info_chain),
                            "-----BEGIN CERTIFICATE-----\nAA+/=\n-----END CERTIFICATE-----\n");
        assert_memory_equal(c.pck_crl.data, "\x30\x81\x01", 3);
        assert_memory_equal(c.root_crl.data, "\x30\x81\x02", 3); /* hex, as a PCCS gives it */
    }
    collateral_free(&c);
}

/* What a PCCS of the first generation calls the header. */
static void old_header(void **state)
{
    struct mirror m;
    struct collateral c;
    struct err err = {0};
    collateral_init(&c);
    start(&m);
    m.tcb = "HTTP/1.1 200 OK\r\nsgx-tcb-info-issuer-chain: " CHAIN
            "\r\nContent-Length: 3\r\nConnection: close\r\n\r\ntcb";
    assert_true(fetch(&m, "", &c, &err));
    stop(&m);
    collateral_free(&c);
}

static void faults(void **state)
{
#define BAD(status) "HTTP/1.1 " status "\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    static const struct {
        const char *name, *tcb, *qe, *pck, *root;
        enum err_kind kind;
    } rows[] = {
        {"unknown FMSPC", BAD("404 Not Found"), NULL, NULL, NULL, ERR_NOT_FOUND},
        {"retired", BAD("410 Gone"), NULL, NULL, NULL, ERR_NOT_FOUND},
        {"down", NULL, BAD("503 Busy"), NULL, NULL, ERR_UPSTREAM},
        {"redirect", NULL, NULL,
         "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n", NULL,
         ERR_UPSTREAM},
        {"empty", NULL, NULL, NULL, BAD("200 OK"), ERR_UPSTREAM},
        {"no chain", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntcb", NULL, NULL, NULL, ERR_UPSTREAM},
        {"broken chain", NULL,
         "HTTP/1.1 200 OK\r\nSGX-Enclave-Identity-Issuer-Chain: a%2\r\nContent-Length: 2\r\n\r\nqe", NULL,
         NULL, ERR_INVALID},
        {"two chains",
         "HTTP/1.1 200 OK\r\nTCB-Info-Issuer-Chain: a\r\nTCB-Info-Issuer-Chain: b\r\nContent-Length: "
         "3\r\n\r\ntcb",
         NULL, NULL, NULL, ERR_UPSTREAM},
        {"cut", NULL, NULL, NULL, "HTTP/1.1 200 OK\r\nContent-Length: 70\r\n\r\n3081", ERR_UPSTREAM},
        {"no CRL", NULL, NULL, NULL, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>", ERR_INVALID},
        {"less than promised",
         "HTTP/1.1 200 OK\r\nTCB-Info-Issuer-Chain: a\r\nContent-Length: 99999999\r\n\r\nt", NULL, NULL, NULL,
         ERR_UPSTREAM},
        {"no HTTP", "nonsense\r\n\r\n", NULL, NULL, NULL, ERR_UNREACHABLE},
        {"hangs up", NULL, NULL, "", NULL, ERR_UNREACHABLE},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct mirror m;
        struct collateral c;
        struct err err = {0};
        collateral_init(&c);
        start(&m);
        m.tcb = rows[i].tcb != NULL ? rows[i].tcb : m.tcb;
        m.qe = rows[i].qe != NULL ? rows[i].qe : m.qe;
        m.pck = rows[i].pck != NULL ? rows[i].pck : m.pck;
        m.root = rows[i].root != NULL ? rows[i].root : m.root;
        bool ok = fetch(&m, "", &c, &err);
        stop(&m);
        if (ok || err.kind != rows[i].kind || c.tcb_info.len + c.root_crl.len != 0) {
            fail_msg("%s: %s: %s", rows[i].name, err_kind_name(err.kind), err.message);
        }
        collateral_free(&c);
    }
}

static void no_service(void **state)
{
    struct mirror m;
    struct collateral c;
    struct err err = {0};
    collateral_init(&c);
    start(&m);
    stop(&m);
    assert_false(fetch(&m, "", &c, &err));
    assert_int_equal(err.kind, ERR_UNREACHABLE);
    collateral_free(&c);
}

static void aborted(void **state)
{
    const struct collateral_key key = {.fmspc = {0x90}};
    struct mirror m;
    struct collateral c;
    struct err err = {0};
    char url[64];
    collateral_init(&c);
    start(&m);
    snprintf(url, sizeof url, "http://127.0.0.1:%u", m.port);
    struct collateral_fetch *f = collateral_fetch_new(url, true, &err);
    assert_non_null(f);
    collateral_fetch_abort(f);
    assert_false(collateral_fetch(f, &key, &c, &err));
    assert_int_equal(err.kind, ERR_CANCELLED);
    collateral_fetch_free(f);
    stop(&m);
    collateral_free(&c);
}

static void wrong_urls(void **state)
{
    static const char *const urls[] = {"http://127.0.0.1:1/", "ftp://127.0.0.1/", "https://u:p@127.0.0.1/",
                                       "https://127.0.0.1/?a=b", "https://"};
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        struct err err = {0};
        assert_null(collateral_fetch_new(urls[i], false, &err));
        assert_int_equal(err.kind, ERR_CONFIG);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbered_set), cmocka_unit_test(requests),   cmocka_unit_test(old_header),
        cmocka_unit_test(faults),       cmocka_unit_test(no_service), cmocka_unit_test(aborted),
        cmocka_unit_test(wrong_urls),
    };
    return cmocka_run_group_tests_name("collateral fetch", tests, NULL, NULL);
}
