/* The https side: the certificate that is written is the one that is shown, and the bad kinds are bad. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "probe.h"

/* Asks for the statistics over TLS, trusting only the certificate in file; the verification's result in *verify. */
static bool ask(int port, const char *file, const char *address, long *verify)
{
    static const char request[] = "GET /sim/stats HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    struct probe at = {.port = port};
    char block[4096];
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    assert_int_equal(SSL_CTX_load_verify_locations(ctx, file, NULL), 1);
    SSL *ssl = SSL_new(ctx);
    assert_true(X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), address));
    int fd = probe_connect(&at), n = 0;
    assert_true(fd >= 0);
    SSL_set_fd(ssl, fd);
    bool ok = SSL_connect(ssl) == 1 && SSL_write(ssl, request, sizeof request - 1) > 0 &&
              (n = SSL_read(ssl, block, sizeof block - 1)) > 0;
    block[n > 0 ? n : 0] = 0;
    *verify = SSL_get_verify_result(ssl);
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    close(fd);
    return ok && !strncmp(block, "HTTP/1.1 200 OK", 15);
}

static void run(const char *kind, long expected)
{
    char file[] = "/tmp/e2ee-sim-cert-XXXXXX";
    int fd = mkstemp(file);
    struct probe sim;
    long verify = -1;
    assert_true(fd >= 0);
    close(fd);
    const char *const more[] = {"--tls-cert-out", file, "--tls-kind", kind, NULL};
    assert_true(probe_start(&sim, E2EE_SIM_PATH, more));
    assert_true(sim.tls_port > 0);
    assert_true(ask(sim.tls_port, file, "127.0.0.1", &verify));
    assert_int_equal(verify, expected);
    assert_int_equal(probe_stop(&sim), 0);
    unlink(file);
}

static void test_good(void **state)
{
    run("good", X509_V_OK);
}

static void test_expired(void **state)
{
    run("expired", X509_V_ERR_CERT_HAS_EXPIRED);
}

static void test_wrong_name(void **state)
{
    run("wrong-name", X509_V_ERR_IP_ADDRESS_MISMATCH);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_good), cmocka_unit_test(test_expired),
                                       cmocka_unit_test(test_wrong_name)};
    return cmocka_run_group_tests_name("sim_tls", tests, NULL, NULL);
}
