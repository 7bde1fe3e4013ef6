/* What the upstream says went wrong, in its HTTP error bodies and in-band events, made safe to show: its words are
 * cut to LIMIT_UPSTREAM_MESSAGE_BYTES, freed of control and bidirectional characters and prefixed "upstream: ", so
 * that no hostile upstream can pass them off as the proxy's or the model's. Never to be logged. Any thread.
 *
 * Shapes understood (docs/PROTOCOL.md, sections 2 and 3): {"error":{"message","type","code","retry_after"}},
 * {"error":"text"}, {"detail":"text"} (NP), {"object":"error","message",...} (vLLM), {"message",...}. */
#ifndef E2EE_WIRE_UPSTREAM_ERROR_H
#define E2EE_WIRE_UPSTREAM_ERROR_H

#include <stdint.h>

#include "base/limits.h"
#include "json/json.h"

#define UPSTREAM_ERROR_PREFIX "upstream: "
#define UPSTREAM_ERROR_TOKEN_BYTES 65

struct upstream_error {
    char message[LIMIT_UPSTREAM_MESSAGE_BYTES + sizeof UPSTREAM_ERROR_PREFIX]; /* terminated UTF-8 */
    char type[UPSTREAM_ERROR_TOKEN_BYTES]; /* [A-Za-z0-9_.-]+ or "upstream_error" */
    char code[UPSTREAM_ERROR_TOKEN_BYTES]; /* the same or ""; never one of the codes that only we may give */
    uint16_t status;                       /* for the client: 400 to 599 */
    uint32_t retry_after_s;                /* 0 when not given, at most 86400 */
    bool
        key_changed; /* the enclave has another key now: re-attest and repeat once (docs/PROTOCOL.md section 2) */
};

/* From a parsed event or body. status is the HTTP status it came with, or 0 for an in-band event: then its own
 * numeric code, 429 for an overload, else 502. Never fails: what cannot be read is replaced by general words. */
void upstream_error_read(struct upstream_error *out, const struct json_doc *doc, uint16_t status);
/* From an error answer's body of any kind (an HTML page, too): doc is scratch space for parsing it. */
void upstream_error_body(struct upstream_error *out, struct json_doc *doc, const char *body, size_t len,
                         uint16_t status);

#endif
