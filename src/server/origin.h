/* Who may talk to the proxy from a browser: Host, Origin and Sec-Fetch-Site. A web page must not be able to spend
 * the user's key, neither by a cross-site request nor by DNS rebinding. Pure: text in, verdict out. A policy is
 * read-only once it is built: any thread. */
#ifndef E2EE_SERVER_ORIGIN_H
#define E2EE_SERVER_ORIGIN_H

#include <stdbool.h>
#include <stddef.h>

#include "base/attr.h"
#include "base/err.h"

struct origin_policy; /* loopback names and origins, and what the user allowed beside them */

/* hosts: names, address literals or NAME:PORT (--allow-host); origins: SCHEME://HOST[:PORT], or SCHEME://"*" for a
 * scheme other than http and https, as editors make up a host for each window (--allow-origin). Copies both.
 * ERR_CONFIG names the option of a bad entry; NULL on failure. */
struct origin_policy *origin_policy_new(const char *const *hosts, size_t host_count,
                                        const char *const *origins, size_t origin_count,
                                        struct err *err) MUST_CHECK;
void origin_policy_free(struct origin_policy *p);

/* HOST[:PORT] by its grammar: a name of letters, digits, '-', '.', '_', or a bracketed IPv6 literal; port 1 to 65535. */
bool origin_host_valid(const char *host);
/* True when a valid Host header names loopback (localhost, 127.0.0.1, [::1]; any port) or an allowed host. */
bool origin_host_allowed(const struct origin_policy *p, const char *host);
/* True for an http(s) origin on a loopback name (any port) and for allowed ones. "null" is never allowed. */
bool origin_allowed(const struct origin_policy *p, const char *origin);

#endif
