/* What every request to the upstream has in common: URL, headers, libcurl's options, the meaning of its errors. */
#include "upstream/internal.h"

#include <string.h>
#include <strings.h>
#include <unistd.h>

#include <openssl/x509.h>

#include "base/mem.h"

bool upstream_url_join(const struct upstream_config *config, const char *path, struct buf *out,
                       struct err *err)
{
    size_t plain = strcspn(path, "?");
    bool good = path[0] == '/';
    for (size_t i = 0; path[i] != '\0'; i++) {
        good = good && path[i] > ' ' && path[i] <= '~' && path[i] != '#';
        /* libcurl would climb above the base. */
        good = good && !(i < plain && strncmp(path + i, "/..", 3) == 0);
    }
    if (!good) {
        return err_set(err, ERR_INVALID, "a request path must begin with / and have its values escaped");
    }
    buf_append_str(out, config->base_url);
    buf_append_str(out, path);
    buf_append_byte(out, '\0');
    return buf_check(out, "the upstream's URL", err);
}

static bool name_allowed(const char *name)
{
    /* The connection's, or decided in this folder. */
    static const char *const reserved[] = {
        "Host",       "Content-Length", "Transfer-Encoding", "Connection", "Authorization", "Expect",
        "User-Agent", "Cookie",         "Keep-Alive",        "TE",         "Upgrade",       "Accept-Encoding",
        "Trailer"};
    static const char token[] =
        "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    if (name[0] == '\0' || strspn(name, token) != strlen(name) || strncasecmp(name, "Proxy-", 6) == 0) {
        return false;
    }
    for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++) {
        if (strcasecmp(name, reserved[i]) == 0) {
            return false;
        }
    }
    return true;
}

static bool value_allowed(const char *value)
{
    bool good = value[0] != '\0' && value[strspn(value, " \t")] != '\0';
    for (; *value != '\0'; value++) {
        good = good && ((*value >= ' ' && *value <= '~') || *value == '\t');
    }
    return good;
}

static void add_node(struct upstream_headers *h, char *line)
{
    h->nodes[h->count] = (struct curl_slist){line, NULL};
    if (h->count > 0) {
        h->nodes[h->count - 1].next = &h->nodes[h->count];
    }
    h->count++;
}

/* Copies text with its terminator to at; returns where that stands. upstream_headers_build counted the room. */
static char *put(char *at, const char *text)
{
    size_t len = strlen(text);
    memcpy(at, text, len + 1);
    return at + len;
}

/* Writes "name: value" at *at and links it. */
static void add_line(struct upstream_headers *h, char **at, const char *name, const char *value)
{
    add_node(h, *at);
    *at = put(put(put(*at, name), ": "), value) + 1;
}

bool upstream_headers_build(struct upstream_headers *h, struct upstream_config *config, bool authorize,
                            const struct transfer_header *headers, size_t count, const char *content_type,
                            struct err *err)
{
    static char no_expect[] = "Expect:"; /* removes libcurl's own, which costs a round trip or a second */
    *h = (struct upstream_headers){.count = 0};
    size_t size = content_type != NULL ? sizeof "Content-Type: " + strlen(content_type) : 1;
    if (count > LIMIT_UPSTREAM_HEADERS) {
        return err_set(err, ERR_INVALID, "more than %d headers in a request", LIMIT_UPSTREAM_HEADERS);
    }
    for (size_t i = 0; i < count; i++) {
        if (!name_allowed(headers[i].name) || !value_allowed(headers[i].value)) {
            return err_set(err, ERR_INVALID, "request header %zu of %zu is not allowed", i + 1, count);
        }
        size += strlen(headers[i].name) + strlen(headers[i].value) + sizeof ": ";
    }
    char *at = h->text = mem_alloc(size);
    if (at == NULL) {
        return err_set(err, ERR_MEMORY, "no memory for the headers of a request");
    }
    add_node(h, no_expect);
    for (size_t i = 0; i < count; i++) {
        if (strcasecmp(headers[i].name, "Content-Type") == 0) {
            content_type = NULL;
        }
        add_line(h, &at, headers[i].name, headers[i].value);
    }
    if (content_type != NULL) {
        add_line(h, &at, "Content-Type", content_type);
    }
    h->auth = authorize ? upstream_auth_get(config) : NULL;
    if (h->auth != NULL) {
        add_node(h, (char *)h->auth->line.data);
    }
    return true;
}

void upstream_headers_clear(struct upstream_headers *h)
{
    mem_free(h->text);
    upstream_auth_put(h->auth);
    *h = (struct upstream_headers){.count = 0};
}

static CURLcode set_roots(CURL *easy, const struct upstream_config *config)
{
    const char *file = config->ca_file;
    if (file == NULL) {
        const curl_version_info_data *info = curl_version_info(CURLVERSION_NOW);
        file = info->age >= CURLVERSION_SEVENTH ? info->cainfo : NULL;
        if (file == NULL || access(file, R_OK) != 0) {
            return CURLE_OK; /* a system with a folder of roots only: libcurl's own default */
        }
    }
    /* Without a folder libcurl parses the roots once for all connections of a loop instead of once for each. */
    CURLcode rc = curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
    return rc != CURLE_OK ? rc : curl_easy_setopt(easy, CURLOPT_CAINFO, file);
}

static CURLcode set_security(CURL *easy, const struct upstream_config *config, bool loopback)
{
    CURLcode rc = set_roots(easy, config);
#define SET(option, value) rc = rc != CURLE_OK ? rc : curl_easy_setopt(easy, option, value)
    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    SET(CURLOPT_PROXY_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    SET(CURLOPT_SSL_VERIFYPEER, 1L);
    SET(CURLOPT_SSL_VERIFYHOST, 2L);
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
#if LIBCURL_VERSION_NUM >= 0x075500
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
#else
    SET(CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
    if (loopback) {
        SET(CURLOPT_PROXY, ""); /* overrides the environment */
    }
    return rc;
}

bool upstream_easy_setup(CURL *easy, const struct upstream_config *config, const char *url, bool loopback,
                         struct upstream_headers *headers, struct err *err)
{
    uint32_t connect_s = config->options.silence_s;
    if (connect_s > LIMIT_UPSTREAM_CONNECT_S) {
        connect_s = LIMIT_UPSTREAM_CONNECT_S;
    }
    CURLcode rc = set_security(easy, config, loopback);
    SET(CURLOPT_URL, url);
    SET(CURLOPT_HTTPHEADER, headers->nodes);
    SET(CURLOPT_USERAGENT, "e2ee-hsm-proxy/" E2EE_VERSION);
    SET(CURLOPT_HTTP_VERSION, (long)(config->options.http2 ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1));
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)connect_s * 1000);
    SET(CURLOPT_BUFFERSIZE, (long)LIMIT_UPSTREAM_BUFFER_BYTES);
    SET(CURLOPT_UPLOAD_BUFFERSIZE, (long)LIMIT_UPSTREAM_UPLOAD_BYTES);
    SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_TCP_KEEPALIVE, 1L);
#if LIBCURL_VERSION_NUM >= 0x075700
    SET(CURLOPT_QUICK_EXIT, 1L); /* a cancelled name look-up must not make the loop wait for its thread */
#endif
#undef SET
    if (rc != CURLE_OK) {
        return err_set(err, rc == CURLE_OUT_OF_MEMORY ? ERR_MEMORY : ERR_INTERNAL, "libcurl: %s",
                       curl_easy_strerror(rc));
    }
    return true;
}

bool upstream_easy_error(CURL *easy, CURLcode code, bool began, struct err *err)
{
    long number = 0;
    switch (code) {
    case CURLE_OUT_OF_MEMORY:
        return err_set(err, ERR_MEMORY, "no memory for a request to the upstream");
    case CURLE_OPERATION_TIMEDOUT:
        return err_set(err, ERR_TIMEOUT, "the upstream did not connect or answer in time");
    case CURLE_PEER_FAILED_VERIFICATION:
        if (curl_easy_getinfo(easy, CURLINFO_SSL_VERIFYRESULT, &number) == CURLE_OK &&
            number > X509_V_ERR_UNSPECIFIED) {
            return err_set(err, ERR_UNREACHABLE, "the upstream's certificate is refused: %s",
                           X509_verify_cert_error_string(number));
        }
        return err_set(err, ERR_UNREACHABLE,
                       "the upstream's certificate is refused: it is not for this host");
    case CURLE_COULDNT_CONNECT:
        if (curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &number) == CURLE_OK && number != 0) {
            return err_errno(err, ERR_UNREACHABLE, (int)number, "no connection to the upstream");
        }
        return err_set(err, ERR_UNREACHABLE, "no connection to the upstream");
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_PROXY:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_CERTPROBLEM:
        return err_set(err, ERR_UNREACHABLE, "no connection to the upstream: %s", curl_easy_strerror(code));
    default:
        return err_set(err, began ? ERR_UPSTREAM : ERR_UNREACHABLE, "the upstream's answer %s: %s",
                       began ? "broke off" : "never began", curl_easy_strerror(code));
    }
}
