/* Asks NVIDIA's remote attestation service about a body's GPUs ([attestation] nras = on). It learns this machine's
 * address, the nonce and the GPUs' serial numbers, never the API key, and nothing of prompts. Blocking: handshake threads
 * and commands, never a loop. What comes is judged by attest/nras.h. */
#ifndef E2EE_SESSION_NRAS_FETCH_H
#define E2EE_SESSION_NRAS_FETCH_H

#include "attest/nras.h"
#include "base/buf.h"
#include "base/err.h"

struct nras_fetch;

/* url: base of the service (NRAS_ISSUER is NVIDIA's); the key set comes from there too, so this is whom tokens are believed
 * to be of. unsafe_http: http:// to a loopback host is taken. */
struct nras_fetch *nras_fetch_new(const char *url, bool unsafe_http, struct err *err) MUST_CHECK;
void nras_fetch_free(struct nras_fetch *f); /* NULL is fine */
/* Makes running and later requests fail with ERR_CANCELLED. Any thread. NULL is fine. */
void nras_fetch_abort(struct nras_fetch *f);

/* What the service said of one body. */
struct nras_got {
    bool asked;                /* false: the body has no GPU evidence to ask about */
    struct buf answer, keys;   /* as they came; empty when problem is set */
    struct err problem;        /* ERR_NONE when there is an answer */
    struct nras_evidence view; /* of the above */
};

void nras_got_init(struct nras_got *got);
void nras_got_free(struct nras_got *got);
/* Asks about body, the provider's text. A service that gives no answer is a problem in *got, not a failure. Any thread. */
void nras_fetch(struct nras_fetch *f, const struct buf *body, struct nras_got *got);
/* For attest_input; NULL when the service was not asked. Points into got. */
const struct nras_evidence *nras_got_view(struct nras_got *got);

#endif
