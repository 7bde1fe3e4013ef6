#include "upstream/fetch.h"

#include <string.h>

#include "base/mem.h"
#include "upstream/internal.h"

struct fetch {
    struct upstream_config *config;
    struct buf *out;
    struct upstream_headers headers;
    struct buf url;
    size_t header_bytes;
    bool began;
};

static size_t on_body(char *data, size_t one, size_t len, void *arg)
{
    struct fetch *f = arg;
    return buf_append(f->out, data, len) ? len : len + 1;
}

static size_t on_header(char *line, size_t one, size_t len, void *arg)
{
    struct fetch *f = arg;
    f->began = true;
    f->header_bytes += len;
    return f->header_bytes > LIMIT_HTTP_HEADER_BYTES ? 0 : len;
}

/* libcurl calls it at least once a second. */
static int on_progress(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    struct fetch *f = arg;
    return atomic_load(&f->config->aborted) ? 1 : 0;
}

static bool prepare_url(struct fetch *f, const struct upstream_fetch_request *r, bool *loopback,
                        struct err *err)
{
    if (r->path != NULL) {
        *loopback = f->config->loopback;
        return upstream_url_join(f->config, r->path, &f->url, err);
    }
    if (r->url == NULL || r->authorize) {
        return err_set(err, ERR_INTERNAL, "a fetch needs a path, or a URL without the API key");
    }
    if (!upstream_url_check(r->url, false, f->config->options.unsafe_http, loopback, err)) {
        return false;
    }
    buf_append(&f->url, r->url, strlen(r->url) + 1);
    return buf_check(&f->url, "a URL", err);
}

static bool prepare(struct fetch *f, CURL *easy, const struct upstream_fetch_request *r, struct err *err)
{
    bool loopback = false;
    const char *type = r->body == NULL           ? NULL
                       : r->content_type != NULL ? r->content_type
                                                 : "application/json";
    if (!prepare_url(f, r, &loopback, err) ||
        !upstream_headers_build(&f->headers, f->config, r->authorize, NULL, 0, type, err) ||
        !upstream_easy_setup(easy, f->config, (const char *)f->url.data, loopback, &f->headers, err)) {
        return false;
    }
    CURLcode rc = CURLE_OK;
#define SET(option, value) rc = rc != CURLE_OK ? rc : curl_easy_setopt(easy, option, value)
    SET(CURLOPT_TIMEOUT_MS, (long)r->timeout_s * 1000);
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, f);
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_HEADERDATA, f);
    SET(CURLOPT_XFERINFOFUNCTION, on_progress);
    SET(CURLOPT_XFERINFODATA, f);
    SET(CURLOPT_NOPROGRESS, 0L);
    if (r->body != NULL) {
        SET(CURLOPT_POST, 1L);
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->body_len);
        SET(CURLOPT_POSTFIELDS, r->body);
    }
#undef SET
    return rc == CURLE_OK || err_set(err, ERR_MEMORY, "libcurl: %s", curl_easy_strerror(rc));
}

static bool take_headers(CURL *easy, const struct upstream_fetch_request *r, struct err *err)
{
    for (size_t i = 0; i < r->header_count; i++) {
        struct curl_header *found = NULL;
        CURLHcode rc = curl_easy_header(easy, r->headers[i].name, 0, CURLH_HEADER, -1, &found);
        if (rc == CURLHE_MISSING || rc == CURLHE_NOHEADERS) {
            continue;
        }
        if (rc != CURLHE_OK || found->amount != 1) {
            return err_set(err, ERR_UPSTREAM,
                           "header %s of the answer comes more than once or cannot be read",
                           r->headers[i].name);
        }
        r->headers[i].value = mem_strdup(found->value);
        if (r->headers[i].value == NULL) {
            return err_set(err, ERR_MEMORY, "no memory for header %s of an answer", r->headers[i].name);
        }
    }
    return true;
}

static bool judge(struct fetch *f, CURL *easy, CURLcode code, int *status, int64_t *retry_after_s,
                  struct err *err)
{
    long number = 0;
    curl_off_t wait = 0;
    if (atomic_load(&f->config->aborted)) {
        return err_set(err, ERR_CANCELLED, "the request was given up: shutting down");
    }
    if (f->out->failed) {
        if (!buf_check(f->out, "an answer of the upstream", err) && err != NULL &&
            err->kind == ERR_TOO_LARGE) {
            err->kind = ERR_UPSTREAM; /* its doing: no client may be told that a request was too large */
        }
        return false;
    }
    if (f->header_bytes > LIMIT_HTTP_HEADER_BYTES) {
        return err_set(err, ERR_UPSTREAM, "the upstream's headers are too large");
    }
    if (code != CURLE_OK) {
        return upstream_easy_error(easy, code, f->began, err);
    }
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &number);
    curl_easy_getinfo(easy, CURLINFO_RETRY_AFTER, &wait);
    if (number >= 300 && number < 400) {
        return err_set(err, ERR_UPSTREAM, "the upstream answered with a redirect, which is never followed");
    }
    if (number < 200 || number > 599) {
        return err_set(err, ERR_UPSTREAM, "the upstream answered with an impossible status");
    }
    *status = (int)number;
    if (retry_after_s != NULL && wait > 0) {
        *retry_after_s = wait;
    }
    return true;
}

bool upstream_fetch(struct upstream_config *config, const struct upstream_fetch_request *request,
                    struct buf *out, int *status, int64_t *retry_after_s, struct err *err)
{
    struct fetch f = {.config = config, .out = out};
    bool ok = false;
    CURL *easy = NULL;
    buf_reset(out);
    buf_init(&f.url, LIMIT_UPSTREAM_URL_BYTES);
    *status = 0;
    if (retry_after_s != NULL) {
        *retry_after_s = -1;
    }
    for (size_t i = 0; i < request->header_count; i++) {
        request->headers[i].value = NULL;
    }
    if (atomic_load(&config->aborted)) {
        err_set(err, ERR_CANCELLED, "the request was given up: shutting down");
        goto out;
    }
    if ((easy = curl_easy_init()) == NULL) {
        err_set(err, ERR_MEMORY, "no memory for a request");
        goto out;
    }
    if (!prepare(&f, easy, request, err)) {
        goto out;
    }
    CURLcode code = curl_easy_perform(easy);
    ok = judge(&f, easy, code, status, retry_after_s, err) && take_headers(easy, request, err);
out:
    if (!ok) {
        buf_free(out);
        *status = 0;
        if (retry_after_s != NULL) {
            *retry_after_s = -1;
        }
        for (size_t i = 0; i < request->header_count; i++) {
            mem_free(request->headers[i].value);
            request->headers[i].value = NULL;
        }
    }
    curl_easy_cleanup(easy);
    upstream_headers_clear(&f.headers);
    buf_free(&f.url);
    return ok;
}
