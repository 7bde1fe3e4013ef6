/* A tiny HTTP server on threads of the test, over plain sockets or TLS, that behaves badly on request: the path
 * chooses. Included by the test programs of this folder. */
#ifndef E2EE_TESTS_STUB_SERVER_H
#define E2EE_TESTS_STUB_SERVER_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#define STUB_CONNECTIONS 64
#define STUB_BIG ((size_t)64 << 20)
#define STUB_RECORD_EVENTS 2000

struct stub {
    int listener;
    unsigned port;
    SSL_CTX *tls;
    pthread_t acceptor, threads[STUB_CONNECTIONS];
    atomic_int fds[STUB_CONNECTIONS];
    atomic_uint connections, requests, hangups;
    atomic_size_t sent;
    atomic_bool stop;
};

struct stub_conn {
    struct stub *stub;
    unsigned index;
    int fd;
    SSL *ssl;
};

__attribute__((unused)) static void stub_sleep_ms(long ms)
{
    struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

static bool stub_send(struct stub_conn *c, const void *data, size_t len)
{
    const char *at = data;
    while (len > 0) {
        ssize_t n = c->ssl != NULL ? SSL_write(c->ssl, at, len > 16384 ? 16384 : (int)len)
                                   : send(c->fd, at, len, MSG_NOSIGNAL);
        if (n <= 0) {
            return false;
        }
        at += n;
        len -= (size_t)n;
        atomic_fetch_add(&c->stub->sent, (size_t)n);
    }
    return true;
}

static bool stub_text(struct stub_conn *c, const char *text)
{
    return stub_send(c, text, strlen(text));
}

static bool stub_answer(struct stub_conn *c, int status, const char *headers, const void *body, size_t len)
{
    char head[512];
    snprintf(head, sizeof head, "HTTP/1.1 %d X\r\nContent-Length: %zu\r\n%s\r\n", status, len, headers);
    return stub_text(c, head) && stub_send(c, body, len);
}

/* Until the peer hangs up or the test ends. */
static void stub_wait_hangup(struct stub_conn *c)
{
    while (!atomic_load(&c->stub->stop)) {
        struct pollfd p = {c->fd, POLLIN | POLLRDHUP, 0};
        if (poll(&p, 1, 20) > 0) {
            atomic_fetch_add(&c->stub->hangups, 1);
            return;
        }
    }
}

static bool stub_chunks(struct stub_conn *c, unsigned count, long pause_ms)
{
    if (!stub_text(
            c, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")) {
        return false;
    }
    for (unsigned i = 0; i < count; i++) {
        char chunk[64];
        snprintf(chunk, sizeof chunk, "6\r\ndata%02u\r\n", i % 100);
        if (!stub_text(c, chunk)) {
            return false;
        }
        stub_sleep_ms(pause_ms);
    }
    return stub_text(c, "0\r\n\r\n");
}

/* One event in three records: a chunk's length, its bytes, its line end. */
static void stub_event_records(struct stub_conn *c, unsigned i)
{
    char data[8];
    snprintf(data, sizeof data, "data%02u", i % 100);
    stub_text(c, "6\r\n");
    stub_text(c, data);
    stub_text(c, "\r\n");
}

/* Events in many small records, written to the socket step bytes at a time (0: all at once), and then silence, with an end or
 * without: nothing that arrives later can help a reader that forgot some. Over TLS only. */
static void stub_records(struct stub_conn *c, size_t step, unsigned events, bool end)
{
    BIO *records = BIO_new(BIO_s_mem()), *wire = SSL_get_wbio(c->ssl);
    char *bytes;
    BIO_up_ref(wire);
    SSL_set0_wbio(c->ssl, records);
    BIO_up_ref(records);
    stub_text(c, "HTTP/1.1 200 OK\r\nTransfer-Enc");
    stub_text(c, "oding: chunked\r\n\r\n");
    for (unsigned i = 0; i < events; i++) {
        stub_event_records(c, i);
    }
    stub_text(c, end ? "0\r\n\r\n" : "");
    size_t len = (size_t)BIO_get_mem_data(records, &bytes);
    for (size_t at = 0, n; at < len; at += n) {
        n = step > 0 && len - at > step ? step : len - at;
        if (send(c->fd, bytes + at, n, MSG_NOSIGNAL) != (ssize_t)n) {
            break;
        }
        stub_sleep_ms(step > 0 ? 1 : 0);
    }
    SSL_set0_wbio(c->ssl, wire);
    BIO_free(records);
    stub_wait_hangup(c);
}

static bool stub_big(struct stub_conn *c)
{
    static const uint8_t block[65536];
    char head[128];
    snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", STUB_BIG);
    bool ok = stub_text(c, head);
    for (size_t i = 0; ok && i < STUB_BIG / sizeof block; i++) {
        ok = stub_send(c, block, sizeof block);
    }
    return ok;
}

static void stub_huge_headers(struct stub_conn *c)
{
    char line[1024];
    memset(line, 'x', sizeof line - 1);
    line[sizeof line - 1] = '\0';
    stub_text(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Filler: ");
    for (int i = 0; i < 40; i++) {
        stub_text(c, line);
    }
    stub_text(c, "\r\n\r\n");
}

/* False ends the connection. */
static bool stub_odd(struct stub_conn *c, const char *path)
{
    if (strcmp(path, "/never") == 0) {
        stub_wait_hangup(c);
    } else if (strcmp(path, "/headers-then-never") == 0) {
        stub_text(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n");
        stub_wait_hangup(c);
    } else if (strcmp(path, "/stall") == 0) {
        stub_text(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello");
        stub_wait_hangup(c);
    } else if (strcmp(path, "/cut") == 0) {
        stub_text(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello");
    } else if (strcmp(path, "/cut-chunk") == 0) {
        stub_text(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
    } else if (strcmp(path, "/garbage") == 0) {
        stub_text(c, "SSH-2.0-nonsense\r\n\r\n");
    } else if (strncmp(path, "/records/", 9) == 0 && c->ssl != NULL) {
        stub_records(c, strtoul(path + 9, NULL, 10), STUB_RECORD_EVENTS, false);
    } else if (strcmp(path, "/whole") == 0 && c->ssl != NULL) {
        stub_records(c, 0, 20, true);
    } else if (strcmp(path, "/huge-headers") == 0) {
        stub_huge_headers(c);
    } else if (strcmp(path, "/last") == 0) { /* the peer is to close first */
        stub_answer(c, 200, "Connection: close\r\n", "data00", 6);
        stub_wait_hangup(c);
        stub_sleep_ms(20);
    } else if (strcmp(path, "/close") != 0) {
        return stub_answer(c, 404, "", "no", 2);
    }
    return false;
}

static bool stub_handle(struct stub_conn *c, const char *path, const char *head, const char *body,
                        size_t body_len)
{
    if (strcmp(path, "/plain") == 0) {
        return stub_answer(c, 200, "Content-Type: text/plain\r\n", "hello", 5);
    } else if (strcmp(path, "/head") == 0) {
        return stub_answer(c, 200, "", head, strlen(head));
    } else if (strcmp(path, "/echo") == 0) {
        return stub_answer(c, 200, "", body, body_len);
    } else if (strcmp(path, "/chunks") == 0) {
        return stub_chunks(c, 20, 0);
    } else if (strcmp(path, "/paced") == 0) {
        return stub_chunks(c, 5, 100);
    } else if (strcmp(path, "/slow") == 0) {
        stub_sleep_ms(1500);
        return stub_answer(c, 200, "", "late", 4);
    } else if (strcmp(path, "/continue") == 0) {
        return stub_text(c, "HTTP/1.1 100 Continue\r\n\r\n") && stub_answer(c, 200, "", "then", 4);
    } else if (strcmp(path, "/redirect") == 0) {
        return stub_answer(c, 302, "Location: /plain\r\n", "moved", 5);
    } else if (strcmp(path, "/busy") == 0) {
        return stub_answer(c, 429, "Retry-After: 7\r\nContent-Type: application/json\r\n", "{}", 2);
    } else if (strcmp(path, "/chain") == 0) {
        return stub_answer(c, 200, "SGX-Chain: abc%20def\r\n", "{}", 2);
    } else if (strcmp(path, "/twice") == 0) {
        return stub_answer(c, 200, "SGX-Chain: a\r\nSGX-Chain: b\r\n", "{}", 2);
    } else if (strcmp(path, "/once") == 0) { /* keep-alive promised, then cut */
        stub_answer(c, 200, "", "once", 4);
        return false;
    } else if (strcmp(path, "/big") == 0) {
        return stub_big(c);
    }
    return stub_odd(c, path);
}

static ssize_t stub_receive(struct stub_conn *c, char *out, size_t cap)
{
    return c->ssl != NULL ? SSL_read(c->ssl, out, (int)cap) : recv(c->fd, out, cap, 0);
}

/* Reads one request and answers it. */
static bool stub_request(struct stub_conn *c)
{
    size_t cap = 65536, len = 0, head = 0, body = 0;
    char *text = malloc(cap + 1), path[256] = "";
    bool ok = false;
    for (;;) {
        ssize_t n = stub_receive(c, text + len, cap - len);
        if (n <= 0) {
            goto out;
        }
        len += (size_t)n;
        text[len] = '\0';
        char *end = head == 0 ? strstr(text, "\r\n\r\n") : NULL;
        if (end != NULL) {
            head = (size_t)(end - text) + 4;
            const char *cl = strcasestr(text, "\r\nContent-Length:");
            body = cl != NULL && cl < end ? strtoul(cl + 17, NULL, 10) : 0;
            cap = head + body > cap ? head + body : cap;
            text = realloc(text, cap + 1);
        }
        if (head > 0 && len >= head + body) {
            break;
        }
    }
    atomic_fetch_add(&c->stub->requests, 1);
    sscanf(text, "%*s /base%255[^ ?]", path);
    char *copy = strndup(text, head);
    ok = stub_handle(c, path, copy, text + head, body);
    free(copy);
out:
    free(text);
    return ok;
}

static void *stub_connection(void *arg)
{
    struct stub_conn *c = arg;
    bool ok = true;
    if (c->stub->tls != NULL) {
        c->ssl = SSL_new(c->stub->tls);
        SSL_set_fd(c->ssl, c->fd);
        ok = SSL_accept(c->ssl) == 1;
    }
    while (ok && stub_request(c)) {
    }
    if (c->ssl != NULL) {
        SSL_free(c->ssl);
    }
    atomic_store(&c->stub->fds[c->index], -1);
    close(c->fd);
    free(c);
    return NULL;
}

static void *stub_accept(void *arg)
{
    struct stub *s = arg;
    for (;;) {
        int fd = accept(s->listener, NULL, NULL);
        unsigned index = atomic_load(&s->connections);
        if (fd < 0 || index == STUB_CONNECTIONS) {
            return NULL;
        }
        struct stub_conn *c = calloc(1, sizeof *c);
        *c = (struct stub_conn){s, index, fd, NULL};
        atomic_store(&s->fds[index], fd);
        pthread_create(&s->threads[index], NULL, stub_connection, c);
        atomic_fetch_add(&s->connections, 1);
    }
}

__attribute__((unused)) static struct stub *stub_start(SSL_CTX *tls)
{
    struct stub *s = calloc(1, sizeof *s);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    s->tls = tls;
    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(s->listener, (struct sockaddr *)&a, sizeof a) != 0 || listen(s->listener, 64) != 0 ||
        getsockname(s->listener, (struct sockaddr *)&a, &len) != 0) {
        abort();
    }
    s->port = ntohs(a.sin_port);
    pthread_create(&s->acceptor, NULL, stub_accept, s);
    return s;
}

__attribute__((unused)) static void stub_stop(struct stub *s)
{
    atomic_store(&s->stop, true);
    shutdown(s->listener, SHUT_RDWR);
    pthread_join(s->acceptor, NULL);
    close(s->listener);
    for (unsigned i = 0; i < atomic_load(&s->connections); i++) {
        int fd = atomic_load(&s->fds[i]);
        if (fd >= 0) {
            shutdown(fd, SHUT_RDWR);
        }
        pthread_join(s->threads[i], NULL);
    }
    SSL_CTX_free(s->tls);
    free(s);
}

/* A certificate of its own for these alternative names, its PEM in file. max_version 0: the library's best. */
__attribute__((unused)) static SSL_CTX *stub_tls(const char *file, const char *names, int max_version)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    SSL_CTX *tls = SSL_CTX_new(TLS_server_method());
    X509_NAME *name = X509_get_subject_name(cert);
    X509_set_version(cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    X509_gmtime_adj(X509_getm_notBefore(cert), -60);
    X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    X509_set_pubkey(cert, key);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"stub", -1, -1, 0);
    X509_set_issuer_name(cert, name);
    X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, names);
    X509_add_ext(cert, ext, -1);
    X509_EXTENSION_free(ext);
    X509_sign(cert, key, EVP_sha256());
    FILE *out = fopen(file, "w");
    PEM_write_X509(out, cert);
    fclose(out);
    SSL_CTX_use_certificate(tls, cert);
    SSL_CTX_use_PrivateKey(tls, key);
    if (max_version != 0) {
        SSL_CTX_set_min_proto_version(tls, TLS1_VERSION);
        SSL_CTX_set_max_proto_version(tls, max_version);
        SSL_CTX_set_cipher_list(tls, "ALL:@SECLEVEL=0");
    }
    X509_free(cert);
    EVP_PKEY_free(key);
    return tls;
}

#endif
