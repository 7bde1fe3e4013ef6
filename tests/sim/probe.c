#include "probe.h"

#include <arpa/inet.h>
#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "quote.h"

bool probe_start(struct probe *p, const char *program, const char *const *more)
{
    int in[2], out[2];
    const char *argv[32] = {program, "--port", "0", "--exit-with-stdin"};
    char line[256] = "";
    size_t len = 0;
    for (int i = 4; more && *more && i < 31; i++)
        argv[i] = *more++;
    if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0)
        return false;
    p->pid = fork();
    if (p->pid == 0) {
        dup2(in[0], STDIN_FILENO);
        dup2(out[1], STDOUT_FILENO);
        execv(program, (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    p->stdin_fd = in[1];
    while (len < sizeof line - 1 && !strchr(line, '\n')) {
        ssize_t n = read(out[0], line + len, sizeof line - 1 - len);
        if (n <= 0)
            break;
        len += (size_t)n;
    }
    close(out[0]);
    const char *plain = strstr(line, "http://127.0.0.1:"), *tls = strstr(line, "https://127.0.0.1:");
    p->port = plain ? (int)strtol(plain + 17, NULL, 10) : 0;
    p->tls_port = tls ? (int)strtol(tls + 18, NULL, 10) : 0;
    return p->port != 0;
}

int probe_stop(struct probe *p)
{
    int status = -1;
    close(p->stdin_fd);
    if (waitpid(p->pid, &status, 0) != p->pid)
        return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int probe_connect(const struct probe *p)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons((uint16_t)p->port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&sa, sizeof sa) == 0)
        return fd;
    close(fd);
    return -1;
}

/* ---- answers ---- */

static void dechunk(const char *p, size_t len, struct answer *a)
{
    while (len) {
        char *end;
        size_t size = strtoul(p, &end, 16), head = (size_t)(end - p) + 2;
        if (size == 0 || head > len || size + 2 > len - head) {
            a->complete = size == 0;
            return;
        }
        bytes_add(&a->body, p + head, size);
        p += head + size + 2;
        len -= head + size + 2;
    }
}

static void take_apart(const struct bytes *raw, struct answer *a)
{
    const char *text = bytes_text(raw), *end = strstr(text, "\r\n\r\n");
    if (!end || strncmp(text, "HTTP/1.1 ", 9))
        return;
    bytes_add(&a->head, text, (size_t)(end - text) + 2);
    a->status = (int)strtol(text + 9, NULL, 10);
    end += 4;
    size_t rest = raw->len - (size_t)(end - text);
    const char *length = strcasestr(bytes_text(&a->head), "\r\nContent-Length:");
    if (strcasestr(bytes_text(&a->head), "Transfer-Encoding: chunked")) {
        dechunk(end, rest, a);
        return;
    }
    bytes_add(&a->body, end, rest);
    a->complete = length && strtoul(length + 17, NULL, 10) == rest;
}

void probe_raw(const struct probe *p, const void *data, size_t len, int seconds, struct answer *a)
{
    struct bytes raw = {0};
    char block[65536];
    int64_t until = now_ms() + seconds * 1000;
    int fd = probe_connect(p);
    memset(a, 0, sizeof *a);
    for (size_t sent = 0; fd >= 0 && sent < len;) {
        ssize_t n = send(fd, (const char *)data + sent, len - sent, MSG_NOSIGNAL);
        if (n <= 0)
            break;
        sent += (size_t)n;
    }
    while (fd >= 0) {
        struct pollfd pfd = {fd, POLLIN, 0};
        int64_t left = until - now_ms();
        if (left <= 0 || poll(&pfd, 1, (int)left) <= 0)
            break;
        ssize_t n = recv(fd, block, sizeof block, 0);
        if (n <= 0)
            break;
        bytes_add(&raw, block, (size_t)n);
    }
    close(fd);
    take_apart(&raw, a);
    bytes_free(&raw);
}

void probe_send(const struct probe *p, const char *method, const char *path, const char *headers,
                const char *body, struct answer *a)
{
    struct bytes request = {0};
    bytes_fmt(&request, "%s %s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n%s", method, path,
              headers ? headers : "");
    if (body)
        bytes_fmt(&request, "Content-Length: %zu\r\n", strlen(body));
    bytes_fmt(&request, "\r\n%s", body ? body : "");
    probe_raw(p, request.p, request.len, 5, a);
    bytes_free(&request);
}

void answer_free(struct answer *a)
{
    bytes_free(&a->head);
    bytes_free(&a->body);
}

/* ---- the client's side of the protocol ---- */

char *probe_seal(const uint8_t point[static SIM_POINT], const char *text)
{
    struct sim_key eph;
    struct bytes out = {0};
    uint8_t k[32], nonce[12];
    sim_key_new(&eph);
    random_bytes(nonce, sizeof nonce);
    if (!sim_agree(eph.priv, point, SIM_INFO, NULL, k))
        return sim_strdup("");
    sim_field_seal(&out, eph.pub, k, nonce, text, strlen(text));
    return (char *)out.p;
}

/* The key of any of the three shapes; the ACI keyset's when there is no other. */
static const char *key_of(const cJSON *body)
{
    const char *key = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(body, "signing_public_key"));
    const cJSON *att = cJSON_GetObjectItemCaseSensitive(body, "attestation"), *k;
    const cJSON *set = cJSON_GetObjectItemCaseSensitive(att, "workload_keyset");
    if (key)
        return key;
    cJSON_ArrayForEach(k, cJSON_GetObjectItemCaseSensitive(set, "e2ee_public_keys"))
    {
        const char *algo = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(k, "algo"));
        if (algo && !strncmp(algo, "secp256k1", 9))
            return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(k, "public_key"));
    }
    return NULL;
}

bool probe_attest(const struct probe *p, const char *model, uint8_t point[static SIM_POINT])
{
    struct bytes path = {0};
    struct answer a;
    uint8_t nonce[32], want[64] = {0}, quote[16384];
    random_bytes(nonce, sizeof nonce);
    bytes_fmt(&path, "/api/v1/tee/attestation?model=%s&nonce=", model);
    bytes_hex(&path, nonce, sizeof nonce);
    probe_send(p, "GET", bytes_text(&path), NULL, NULL, &a);
    cJSON *body = cJSON_Parse(bytes_text(&a.body));
    const char *key = key_of(body),
               *hex = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(body, "intel_quote"));
    bool ok = a.status == 200 && key && hex && strlen(hex) / 2 <= sizeof quote && strlen(key) == 130 &&
              hex_decode(key, 130, point, SIM_POINT) && hex_decode(hex, strlen(hex), quote, strlen(hex) / 2);
    if (ok) {
        sim_address(point, want);
        memcpy(want + 32, nonce, 32);
        ok = !memcmp(quote + QUOTE_REPORTDATA, want, sizeof want);
    }
    cJSON_Delete(body);
    answer_free(&a);
    bytes_free(&path);
    return ok;
}

static bool open_event(const char *json, size_t len, const struct sim_key *client, const char *member,
                       int choice, struct bytes *out)
{
    cJSON *event = cJSON_ParseWithLength(json, len);
    const cJSON *c;
    bool ok = true;
    cJSON_ArrayForEach(c, cJSON_GetObjectItemCaseSensitive(event, "choices"))
    {
        struct bytes plain = {0};
        const cJSON *index = cJSON_GetObjectItemCaseSensitive(c, "index");
        const char *text = cJSON_GetStringValue(
            cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(c, "delta"), member));
        if (!text || !*text || !index || index->valueint != choice)
            continue;
        ok = ok && sim_field_open(client->priv, text, strlen(text), &plain);
        bytes_add(out, plain.p, plain.len);
        bytes_free(&plain);
    }
    cJSON_Delete(event);
    return ok;
}

bool probe_open(const struct answer *a, const struct sim_key *client, const char *member, int choice,
                struct bytes *out)
{
    bool ok = true;
    bytes_clear(out);
    for (const char *p = bytes_text(&a->body); (p = strstr(p, "data: ")); p += 6) {
        size_t len = strcspn(p + 6, "\r\n");
        ok = ok && open_event(p + 6, len, client, member, choice, out);
    }
    return ok;
}
