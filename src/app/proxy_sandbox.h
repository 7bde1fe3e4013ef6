/* What the proxy may still do once it meets the network: TLS and DNS, its own files, no program, nothing of the token's.
 * docs/THREAT-MODEL.md, "Sandbox". */
#ifndef E2EE_APP_PROXY_SANDBOX_H
#define E2EE_APP_PROXY_SANDBOX_H

#include "app/config.h"
#include "base/sandbox.h"

/* *s for this configuration; state is the folder that the verifier writes, quota the file beside it that counts attestations. */
void proxy_sandbox_fill(struct sandbox *s, const struct config *config, const char *state, const char *quota);

/* The file that a token URI's pin-source or module-path (name) gives into out, decoded; false when there is none.
 * hsm/uri.h judges URIs; this one only has to find what is to be hidden. */
bool proxy_sandbox_uri_file(char *out, size_t cap, const char *uri, const char *name);

/* Fills, enters, logs, and warns of what does not hold. Once, before other threads. */
bool proxy_sandbox_enter(const struct config *config, const char *state, const char *quota,
                         struct err *err) MUST_CHECK;

#endif
