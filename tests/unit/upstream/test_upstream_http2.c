/* --http2 against nginx, the one HTTP/2 server that every developer's distribution has: a paused answer must cost
 * little memory and hold up no other. Skipped without nginx. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <sys/stat.h>
#include <sys/wait.h>

#include <event2/event.h>

#include "base/clock.h"
#include "base/secret.h"
#include "upstream/config.h"
#include "upstream/loop.h"
#include "upstream/stub_server.h"
#include "upstream/transfer.h"

static char folder[] = "/tmp/e2ee-http2-XXXXXX";
static pid_t nginx;
static unsigned port;

struct seen {
    struct transfer *t;
    size_t bytes;
    unsigned dones;
    bool pause;
    struct transfer_result result;
};

static void on_data(void *arg, const uint8_t *data, size_t len)
{
    struct seen *s = arg;
    s->bytes += len;
    if (s->pause) {
        transfer_pause(s->t);
    }
}

static void on_done(void *arg, const struct transfer_result *r)
{
    struct seen *s = arg;
    s->dones++;
    s->result = *r;
}

static const struct transfer_callbacks callbacks = {NULL, on_data, on_done};

static void turn(struct event_base *base, long ms)
{
    event_base_loopexit(base, &(struct timeval){ms / 1000, ms % 1000 * 1000});
    event_base_loop(base, EVLOOP_NO_EXIT_ON_EMPTY);
}

/* Without pages of files: the first use of a library's code is no memory of ours. */
static size_t resident_kb(void)
{
    unsigned long total = 0, resident = 0, of_files = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%lu %lu %lu", &total, &resident, &of_files), 3);
    fclose(f);
    return (resident - of_files) * (size_t)sysconf(_SC_PAGESIZE) / 1024;
}

static struct transfer *start(struct upstream_loop *loop, const char *path, struct seen *s)
{
    struct err err = {0};
    s->t = transfer_start(loop, &(struct transfer_request){.path = path}, &callbacks, s, &err);
    assert_non_null(s->t);
    return s->t;
}

static void paused_http2(void **state)
{
    char url[64], ca[64];
    struct err err = {0};
    struct event_base *base = event_base_new();
    snprintf(url, sizeof url, "https://localhost:%u", port);
    snprintf(ca, sizeof ca, "%s/cert.pem", folder);
    struct upstream_config *config = upstream_config_new(
        &(struct upstream_options){
            .base_url = url, .http2 = true, .silence_s = 30, .first_byte_s = 30, .ca_file = ca},
        &err);
    assert_non_null(config);
    struct upstream_loop *loop = upstream_loop_new(base, config, &err);
    struct seen warm = {0}, paused = {.pause = true}, other = {0};
    start(loop, "/small", &warm);
    while (warm.dones == 0) {
        turn(base, 5);
    }
    assert_int_equal(warm.result.err.kind, ERR_NONE);
    size_t before = resident_kb();
    start(loop, "/big", &paused);
    while (paused.bytes == 0) {
        turn(base, 5);
    }
    turn(base, 1000);
    start(loop, "/big", &other);
    while (other.dones == 0) {
        turn(base, 20);
    }
    assert_int_equal(other.result.err.kind, ERR_NONE);
    assert_int_equal(other.bytes, STUB_BIG);
    size_t grown = resident_kb() - before;
    print_message("a paused HTTP/2 answer and a whole one beside it grew memory by %zu kB\n", grown);
#ifndef E2EE_SANITIZED
    assert_true((ssize_t)grown < 256);
#endif
    assert_true(paused.bytes <= 32768);
    paused.pause = false;
    transfer_resume(paused.t);
    while (paused.dones == 0) {
        turn(base, 20);
    }
    assert_int_equal(paused.result.err.kind, ERR_NONE);
    assert_int_equal(paused.bytes, STUB_BIG);
    upstream_loop_free(loop);
    upstream_config_free(config);
    event_base_free(base);
    /* It was HTTP/2 that was measured. */
    char log[64], line[32] = "";
    snprintf(log, sizeof log, "%s/versions.log", folder);
    FILE *f = fopen(log, "r");
    assert_non_null(f);
    assert_non_null(fgets(line, sizeof line, f));
    fclose(f);
    assert_string_equal(line, "HTTP/2.0\n");
}

/* ---- nginx ---- */

static void write_file(const char *name, const char *text, size_t size)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    fputs(text, f);
    fclose(f);
    if (size > 0 && truncate(path, (off_t)size) != 0) {
        abort();
    }
}

static unsigned free_port(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(fd, (struct sockaddr *)&a, sizeof a) != 0 || getsockname(fd, (struct sockaddr *)&a, &len) != 0) {
        abort();
    }
    close(fd);
    return ntohs(a.sin_port);
}

static bool listens(unsigned at)
{
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)at)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    bool ok = connect(fd, (struct sockaddr *)&a, sizeof a) == 0;
    close(fd);
    return ok;
}

static int start_nginx(void **state)
{
    char config[2048], path[128];
    if (mkdtemp(folder) == NULL) {
        return -1;
    }
    chmod(folder, 0755); /* started as root, its worker is another user */
    snprintf(path, sizeof path, "%s/cert.pem", folder);
    EVP_PKEY *key = NULL;
    SSL_CTX *tls = stub_tls(path, "DNS:localhost", 0);
    key = SSL_CTX_get0_privatekey(tls);
    snprintf(path, sizeof path, "%s/key.pem", folder);
    FILE *f = fopen(path, "w");
    PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL);
    fclose(f);
    SSL_CTX_free(tls);
    port = free_port();
    snprintf(
        config, sizeof config,
        "daemon off; master_process off; pid nginx.pid; error_log error.log;\n"
        "events { worker_connections 64; }\n"
        "http { log_format v $server_protocol; access_log versions.log v; client_body_temp_path b; "
        "proxy_temp_path p; fastcgi_temp_path f;\n"
        "uwsgi_temp_path u; scgi_temp_path s;\n"
        "server { listen 127.0.0.1:%u ssl http2; ssl_certificate cert.pem; ssl_certificate_key key.pem;\n"
        "root %s; } }\n",
        port, folder);
    write_file("nginx.conf", config, 0);
    write_file("small", "hello", 0);
    write_file("big", "", STUB_BIG);
    snprintf(path, sizeof path, "%s/nginx.conf", folder);
    nginx = fork();
    if (nginx == 0) {
        execl("/usr/sbin/nginx", "nginx", "-p", folder, "-e", "error.log", "-c", path, (char *)NULL);
        _exit(127);
    }
    for (int i = 0; i < 250 && !listens(port); i++) {
        stub_sleep_ms(20);
    }
    return listens(port) ? 0 : -1;
}

static int stop_nginx(void **state)
{
    static const char *const names[] = {"cert.pem", "key.pem",   "nginx.conf", "small",
                                        "big",      "error.log", "nginx.pid",  "versions.log"};
    static const char *const folders[] = {"b", "p", "f", "u", "s"};
    char path[128];
    kill(nginx, SIGTERM);
    waitpid(nginx, NULL, 0);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, folders[i]);
        rmdir(path);
    }
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(paused_http2)};
    struct err err = {0};
    signal(SIGPIPE, SIG_IGN);
    if (access("/usr/sbin/nginx", X_OK) != 0) {
        puts("skipped: no nginx");
        return 77;
    }
    if (!secret_heap_init(&err)) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    return cmocka_run_group_tests(tests, start_nginx, stop_nginx);
}
