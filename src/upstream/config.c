#include "upstream/config.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "upstream/internal.h"

static pthread_once_t global_once = PTHREAD_ONCE_INIT;
static CURLcode global_result;

static char *wiping_strdup(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = mem_wiping_malloc(size);
    return copy != NULL ? memcpy(copy, text, size) : NULL;
}

static void *wiping_calloc(size_t count, size_t size)
{
    if (size > 0 && count > SIZE_MAX / size) {
        return NULL;
    }
    void *p = mem_wiping_malloc(count * size);
    return p != NULL ? memset(p, 0, count * size) : NULL;
}

/* libcurl copies the key's header into its send buffer: what it frees is wiped. */
static void global_init(void)
{
    global_result = curl_global_init_mem(CURL_GLOBAL_DEFAULT, mem_wiping_malloc, mem_wiping_free,
                                         mem_wiping_realloc, wiping_strdup, wiping_calloc);
}

static bool host_is_loopback(const char *host)
{
    struct in_addr v4;
    return strcasecmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0 ||
           (inet_pton(AF_INET, host, &v4) == 1 && ntohl(v4.s_addr) >> 24 == 127);
}

static bool has_part(CURLU *u, CURLUPart part)
{
    char *value = NULL;
    bool there = curl_url_get(u, part, &value, 0) == CURLUE_OK;
    curl_free(value);
    return there;
}

bool upstream_url_check(const char *url, bool bare, bool unsafe_http, bool *loopback, struct err *err)
{
    bool ok = false;
    char *scheme = NULL, *host = NULL;
    CURLU *u = curl_url();
    *loopback = false;
    if (u == NULL) {
        err_set(err, ERR_MEMORY, "no memory to read an upstream URL");
        goto out;
    }
    if (strlen(url) >= LIMIT_UPSTREAM_URL_BYTES || curl_url_set(u, CURLUPART_URL, url, 0) != CURLUE_OK ||
        curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
        curl_url_get(u, CURLUPART_HOST, &host, 0) != CURLUE_OK) {
        err_set(err, ERR_CONFIG, "the upstream URL is malformed; it must look like https://host/path");
        goto out;
    }
    if (has_part(u, CURLUPART_USER) || has_part(u, CURLUPART_PASSWORD) || has_part(u, CURLUPART_FRAGMENT) ||
        (bare && has_part(u, CURLUPART_QUERY))) {
        err_set(err, ERR_CONFIG, "the upstream URL must not have user, password, query or fragment");
        goto out;
    }
    *loopback = host_is_loopback(host);
    if (strcmp(scheme, "https") != 0 && !(strcmp(scheme, "http") == 0 && unsafe_http && *loopback)) {
        *loopback = false;
        err_set(err, ERR_CONFIG,
                "the upstream URL must be https (http only to a loopback host, with --unsafe-http-upstream)");
        goto out;
    }
    ok = true;
out:
    curl_free(scheme);
    curl_free(host);
    curl_url_cleanup(u);
    return ok;
}

static bool options_check(const struct upstream_options *o, struct err *err)
{
    pthread_once(&global_once, global_init);
    if (global_result != CURLE_OK) {
        return err_set(err, ERR_INTERNAL, "libcurl does not start: %s", curl_easy_strerror(global_result));
    }
    if (o->silence_s == 0 || o->first_byte_s == 0) {
        return err_set(err, ERR_CONFIG, "upstream time-outs must be at least 1 s");
    }
    return true;
}

struct upstream_config *upstream_config_new(const struct upstream_options *options, struct err *err)
{
    bool loopback = false;
    if (!options_check(options, err) ||
        !upstream_url_check(options->base_url, true, options->unsafe_http, &loopback, err)) {
        return NULL;
    }
    struct upstream_config *config = mem_calloc(1, sizeof *config);
    if (config == NULL) {
        err_set(err, ERR_MEMORY, "no memory for the upstream's configuration");
        return NULL;
    }
    pthread_mutex_init(&config->lock, NULL);
    config->loopback = loopback;
    config->options = *options;
    size_t len = strlen(options->base_url);
    while (len > 0 && options->base_url[len - 1] == '/') {
        len--;
    }
    config->base_url = mem_strndup(options->base_url, len);
    config->ca_file = options->ca_file != NULL ? mem_strdup(options->ca_file) : NULL;
    config->options.base_url = config->base_url;
    config->options.ca_file = config->ca_file;
    if (config->base_url == NULL || (options->ca_file != NULL && config->ca_file == NULL)) {
        upstream_config_free(config);
        err_set(err, ERR_MEMORY, "no memory for the upstream's configuration");
        return NULL;
    }
    return config;
}

void upstream_config_free(struct upstream_config *config)
{
    if (config == NULL) {
        return;
    }
    upstream_auth_put(config->auth);
    pthread_mutex_destroy(&config->lock);
    mem_free(config->base_url);
    mem_free(config->ca_file);
    mem_free(config);
}

static struct upstream_auth *auth_new(const struct secret *key, struct err *err)
{
    static const char name[] = "Authorization: Bearer ";
    const size_t head = sizeof name - 1;
    if (key->len > LIMIT_API_KEY_BYTES) {
        err_set(err, ERR_CONFIG, "the API key has more than %d bytes", LIMIT_API_KEY_BYTES);
        return NULL;
    }
    for (size_t i = 0; i < key->len; i++) {
        if (key->data[i] <= ' ' || key->data[i] > '~') {
            err_set(err, ERR_CONFIG,
                    "the API key has a byte that no header can carry (space, control or not ASCII)");
            return NULL;
        }
    }
    struct upstream_auth *auth = mem_calloc(1, sizeof *auth);
    if (auth == NULL) {
        err_set(err, ERR_MEMORY, "no memory for the API key");
        return NULL;
    }
    if (!secret_new(&auth->line, head + key->len + 1, err)) {
        mem_free(auth);
        return NULL;
    }
    memcpy(auth->line.data, name, head);
    memcpy(auth->line.data + head, key->data, key->len); /* the rest is zero: terminated */
    atomic_init(&auth->refs, 1);
    return auth;
}

bool upstream_config_set_key(struct upstream_config *config, struct secret *key, struct err *err)
{
    struct upstream_auth *auth = NULL;
    bool ok = key->len == 0 || (auth = auth_new(key, err)) != NULL;
    secret_free(key);
    if (ok) {
        pthread_mutex_lock(&config->lock);
        struct upstream_auth *old = config->auth;
        config->auth = auth;
        pthread_mutex_unlock(&config->lock);
        upstream_auth_put(old);
    }
    return ok;
}

struct upstream_auth *upstream_auth_get(struct upstream_config *config)
{
    pthread_mutex_lock(&config->lock);
    struct upstream_auth *auth = config->auth;
    if (auth != NULL) {
        atomic_fetch_add(&auth->refs, 1);
    }
    pthread_mutex_unlock(&config->lock);
    return auth;
}

void upstream_auth_put(struct upstream_auth *auth)
{
    if (auth != NULL && atomic_fetch_sub(&auth->refs, 1) == 1) {
        secret_free(&auth->line);
        mem_free(auth);
    }
}

bool upstream_config_has_key(struct upstream_config *config)
{
    struct upstream_auth *auth = upstream_auth_get(config);
    upstream_auth_put(auth);
    return auth != NULL;
}

bool upstream_config_is_loopback(const struct upstream_config *config)
{
    return config->loopback;
}

void upstream_config_abort(struct upstream_config *config)
{
    atomic_store(&config->aborted, true);
}

bool upstream_escape(struct buf *out, const char *text)
{
    static const char digits[] = "0123456789ABCDEF";
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        bool plain = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
                     c == '.' || c == '_' || c == '~';
        if (plain) {
            buf_append_byte(out, c);
        } else {
            buf_append(out, (const char[]){'%', digits[c >> 4], digits[c & 15]}, 3);
        }
    }
    return !out->failed;
}
