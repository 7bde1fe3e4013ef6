/* Shared inside src/upstream only. */
#ifndef E2EE_UPSTREAM_INTERNAL_H
#define E2EE_UPSTREAM_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include <curl/curl.h>

#include "base/limits.h"
#include "upstream/config.h"
#include "upstream/transfer.h"

/* One API key as the header line that libcurl reads, on the secure heap. Counted: requests in flight keep theirs when
 * SIGHUP replaces the key. */
struct upstream_auth {
    atomic_uint refs;
    struct secret line; /* terminated */
};

struct upstream_config {
    struct upstream_options options; /* base_url and ca_file point at our own copies */
    char *base_url;                  /* no trailing slash */
    char *ca_file;
    bool loopback;
    atomic_bool aborted;
    pthread_mutex_t lock; /* of auth */
    struct upstream_auth *auth;
};

/* The current key's line with a reference, or NULL. Any thread. */
struct upstream_auth *upstream_auth_get(struct upstream_config *config);
void upstream_auth_put(struct upstream_auth *auth);

/* Judges an absolute URL: ERR_CONFIG. *loopback says whether it stays on this machine. bare: also without query and
 * fragment. */
bool upstream_url_check(const char *url, bool bare, bool unsafe_http, bool *loopback,
                        struct err *err) MUST_CHECK;
/* Base URL and path, terminated, into out. ERR_INVALID, ERR_TOO_LARGE. */
bool upstream_url_join(const struct upstream_config *config, const char *path, struct buf *out,
                       struct err *err) MUST_CHECK;

/* Request headers in the form that libcurl walks. The nodes are ours, so that the key's line is read where it lies
 * instead of being copied to the ordinary heap. */
struct upstream_headers {
    struct curl_slist nodes[LIMIT_UPSTREAM_HEADERS + 3];
    size_t count;
    char *text; /* the lines but the key's */
    struct upstream_auth *auth;
};

/* content_type: of a body when headers name none, NULL without a body. */
bool upstream_headers_build(struct upstream_headers *h, struct upstream_config *config, bool authorize,
                            const struct transfer_header *headers, size_t count, const char *content_type,
                            struct err *err) MUST_CHECK;
void upstream_headers_clear(struct upstream_headers *h);

/* Everything that each request has in common. ERR_MEMORY, ERR_INTERNAL. */
bool upstream_easy_setup(CURL *easy, const struct upstream_config *config, const char *url, bool loopback,
                         struct upstream_headers *headers, struct err *err) MUST_CHECK;
/* What a failed request means; began: a byte of an answer had come. Returns false. */
bool upstream_easy_error(CURL *easy, CURLcode code, bool began, struct err *err);

#endif
