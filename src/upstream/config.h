/* Where the upstream is and how it may be spoken to: one object for the whole process, shared by every loop
 * (loop.h) and every handshake thread (fetch.h). Immutable after upstream_config_new, except for the API key.
 *
 * What leaves for the upstream is decided here and nowhere else: fixed User-Agent, the API key as a Bearer token,
 * the headers a request names. No cookies, no netrc, no redirects, no compression; http and https only; TLS 1.2 or
 * newer with the peer and its name verified. HTTPS_PROXY, ALL_PROXY and NO_PROXY are honoured, except for loopback
 * hosts, whose traffic never leaves the machine. */
#ifndef E2EE_UPSTREAM_CONFIG_H
#define E2EE_UPSTREAM_CONFIG_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/secret.h"

struct upstream_options { /* copied by upstream_config_new */
    const char *base_url; /* e.g. https://api.venice.ai/api/v1; trailing slashes are dropped */
    bool unsafe_http;     /* --unsafe-http-upstream: http:// is taken, for loopback hosts only */
    bool http2;           /* --http2; otherwise HTTP/1.1 */
    uint32_t
        silence_s; /* --upstream-timeout: silence within a request or an answer. The connection (name, TCP,
                             TLS) may take this long too, but no longer than LIMIT_UPSTREAM_CONNECT_S */
    uint32_t first_byte_s; /* from the request sent to the first byte of the answer's body */
    const char *ca_file;   /* PEM of the only accepted roots; NULL: the system's */
};

struct upstream_config;

/* ERR_CONFIG for a base URL that is not https (or permitted http), or that has user, query or fragment; it names
 * the rule, not the URL. Initialises libcurl on first use (any thread, once), with an allocator that wipes. */
struct upstream_config *upstream_config_new(const struct upstream_options *options,
                                            struct err *err) MUST_CHECK;
/* After every loop and fetch that uses it. NULL is fine. */
void upstream_config_free(struct upstream_config *config);

/* Replaces the API key; key is moved from, also on failure. Requests already started keep the old one. An empty
 * secret removes it. ERR_CONFIG for bytes outside visible ASCII or more than LIMIT_API_KEY_BYTES. Any thread. */
bool upstream_config_set_key(struct upstream_config *config, struct secret *key, struct err *err) MUST_CHECK;
bool upstream_config_has_key(struct upstream_config *config);
/* True when the base URL's host is localhost, 127.0.0.0/8 or ::1. */
bool upstream_config_is_loopback(const struct upstream_config *config);

/* Makes every running upstream_fetch fail with ERR_CANCELLED within about a second, and every later one at once: for
 * shutdown. Any thread. */
void upstream_config_abort(struct upstream_config *config);

/* Appends text to out, everything but RFC 3986's unreserved characters as %XX: for model ids, nonces and other
 * values in a path or query. False when out is full (buf's failed flag). */
bool upstream_escape(struct buf *out, const char *text);

#endif
