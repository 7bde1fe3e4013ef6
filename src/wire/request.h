/* A chat completion request on its way to the enclave: everything that needs no key is done by request_parse, so that
 * a bad request never costs an attestation; request_seal writes the upstream's body and may run again under other keys.
 * What happens to each field stands in one table, wire/fields.c. Facts: docs/PROTOCOL.md, "Request encryption".
 *
 * One request belongs to one thread at a time. */
#ifndef E2EE_WIRE_REQUEST_H
#define E2EE_WIRE_REQUEST_H

#include "base/buf.h"
#include "base/limits.h"
#include "crypto/aead.h"
#include "crypto/point.h"

/* Room for the name of the field at fault, as in "messages[3].tool_calls". */
#define REQUEST_PARAM_BYTES 96

struct chat_request;

/* What the rest of the proxy needs to know of a request. Valid as long as the request. */
struct request_info {
    char model[LIMIT_MODEL_ID_BYTES + 1]; /* as the client wrote it: look it up in the catalogue; not empty */
    bool stream;
    bool include_usage; /* the client wants the usage-only chunk */
    uint32_t choices;   /* n: 1 to LIMIT_ANSWER_CHOICES */
    /* Stop sequences as stop_set_new wants them: UTF-8, unescaped, never empty. The proxy applies them; they are never
     * sent. */
    const char *const *stops;
    const size_t *stop_lens;
    size_t stop_count;
    const char *dropped; /* value of X-E2EE-Dropped, "" when nothing was: "user, metadata, 2 unknown" */
    size_t sealed_max;   /* the upstream body has at most this many bytes */
};

/* Reads body, whose contents move into the request (body is empty afterwards, also on failure). On failure *out is
 * NULL and err is for the client: ERR_INVALID, ERR_UNSUPPORTED (says what to do instead), ERR_NOT_FOUND (no model has such an id), ERR_MEMORY;
 * param names the field at fault by names of our own table only, "" when there is none. */
bool request_parse(struct chat_request **out, struct buf *body, char param[static REQUEST_PARAM_BYTES],
                   struct err *err) MUST_CHECK;

/* NULL is fine. Wipes. */
void request_free(struct chat_request *r);

const struct request_info *request_info(const struct chat_request *r);

/* Appends the upstream's body to out: forwarded values byte for byte in their order, every content sealed under a fresh
 * nonce with request_key (whose point the enclave finds in each field: client_point), stream, stream_options and
 * venice_parameters as the protocol wants them. On failure out is empty: ERR_TOO_LARGE when out's maximum is below
 * sealed_max and the body does not fit, or memory ran out; ERR_CRYPTO. */
bool request_seal(const struct chat_request *r, const char *upstream_model, struct aead *request_key,
                  const uint8_t client_point[static POINT_BYTES], struct buf *out,
                  struct err *err) MUST_CHECK;

#endif
