/* Collateral over the network: Intel's service (PCS) or any mirror of it (PCCS). Blocking: handshake threads and commands,
 * never a loop. Nothing that comes is trusted: collateral authenticates itself when evidence is judged by it. */
#ifndef E2EE_SESSION_COLLATERAL_FETCH_H
#define E2EE_SESSION_COLLATERAL_FETCH_H

#include "attest/collateral.h"

#define COLLATERAL_INTEL_URL "https://api.trustedservices.intel.com"

struct collateral_fetch;

/* url: what comes before /sgx/certification/ and /tdx/certification/; a trailing /sgx/certification/v4 or
 * /tdx/certification/v4 is dropped. NULL: Intel's. unsafe_http: http:// to a loopback host is taken. */
struct collateral_fetch *collateral_fetch_new(const char *url, bool unsafe_http, struct err *err) MUST_CHECK;
void collateral_fetch_free(struct collateral_fetch *fetch);
/* Makes running and later requests fail with ERR_CANCELLED. Any thread. */
void collateral_fetch_abort(struct collateral_fetch *fetch);

/* All pieces for key into out (initialised; emptied first). The first piece that fails ends it. ERR_UNREACHABLE,
 * ERR_TIMEOUT, ERR_UPSTREAM, ERR_NOT_FOUND (an FMSPC or a numbered set that the service does not know, or has retired:
 * 404, 410), ERR_CANCELLED. Any thread. */
bool collateral_fetch(struct collateral_fetch *fetch, const struct collateral_key *key,
                      struct collateral *out, struct err *err) MUST_CHECK;

/* "-----BEGIN%20CERTIFICATE-----%0A…" as PEM into out; a chain that is not encoded is taken as it is. ERR_INVALID for a
 * broken escape or a NUL. */
bool collateral_chain_decode(struct buf *out, const char *header, struct err *err) MUST_CHECK;

#endif
