#include "upstream/read_ahead.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <openssl/ssl.h>

#include "upstream/loop_internal.h"

#define ROUNDS 100 /* as many as libcurl reads of one transfer before it looks at the next */

/* libcurl would call both layers' contexts alike, and the one below may hold records of which the one above knows nothing. */
static bool proxy_speaks_tls(void)
{
    static const char *const names[] = {"https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "http_proxy"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *value = getenv(names[i]);
        if (value != NULL && strncasecmp(value, "https:", 6) == 0) {
            return true;
        }
    }
    return false;
}

void read_ahead_init(struct read_ahead *a, bool http2)
{
    const curl_version_info_data *info = curl_version_info(CURLVERSION_NOW);
    a->on = !http2 && info->ssl_version != NULL && strncmp(info->ssl_version, "OpenSSL/3.", 10) == 0 &&
            !proxy_speaks_tls();
}

/* SSL_CTX_set_msg_callback(3): called with each record's header, in both directions. */
static void on_record(int sent, int version, int type, const void *header, size_t len, SSL *ssl, void *arg)
{
    struct read_ahead *a = arg;
    if (!sent && type == SSL3_RT_HEADER) {
        a->records++;
        a->others = a->others || (a->only != NULL && a->only != ssl);
        a->only = ssl;
    }
}

static CURLcode on_context(CURL *easy, void *context, void *arg)
{
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_msg_callback(context, on_record);
    SSL_CTX_set_msg_callback_arg(context, arg);
    return CURLE_OK;
}

CURLcode read_ahead_set(struct read_ahead *a, CURL *easy)
{
    if (!a->on) {
        return CURLE_OK;
    }
    CURLcode rc = curl_easy_setopt(easy, CURLOPT_SSL_CTX_DATA, a);
    return rc != CURLE_OK ? rc : curl_easy_setopt(easy, CURLOPT_SSL_CTX_FUNCTION, on_context);
}

/* NULL before a connection, after it, and without TLS. */
static SSL *tls_of(const struct transfer *t)
{
    struct curl_tlssessioninfo *info = NULL;
    if (!t->added || curl_easy_getinfo(t->easy, CURLINFO_TLS_SSL_PTR, &info) != CURLE_OK || info == NULL ||
        info->backend != CURLSSLBACKEND_OPENSSL) {
        return NULL;
    }
    return info->internals;
}

void read_ahead_begin(struct read_ahead *a)
{
    a->only = NULL;
}

void read_ahead_end(struct read_ahead *a, const struct transfer *t)
{
    a->others = a->others || (a->only != NULL && (t == NULL || a->only != tls_of(t)));
}

void read_ahead_use_up(struct transfer *t)
{
    struct read_ahead *a = &t->loop->ahead;
    uint64_t before =
        a->records + 1; /* the first round always: a header may have been seen long before its record's end */
    SSL *ssl;
    for (unsigned round = 0; a->on && a->records != before; round++) {
        if (t->work != WORK_NONE || t->paused || t->curl_paused || (ssl = tls_of(t)) == NULL ||
            SSL_has_pending(ssl) != 1) {
            return;
        }
        if (round == ROUNDS) {
            upstream_loop_queue(t, WORK_RESUME);
            return;
        }
        before = a->records;
        upstream_loop_act(t->loop, t->fd, CURL_CSELECT_IN, t);
    }
}

void read_ahead_use_up_all(struct upstream_loop *loop)
{
    if (!loop->ahead.others) {
        return;
    }
    loop->ahead.others = false;
    for (struct transfer *t = loop->all; t != NULL; t = t->next) {
        read_ahead_use_up(t);
    }
}
