/* The provider's attestation body in its three shapes, recognised by structure (protocol.md section 1): NEAR, old
 * Phala and ACI. Everything here is a claim; attest_verify decides. Parsed once, owned by one thread. */
#ifndef E2EE_ATTEST_BODY_H
#define E2EE_ATTEST_BODY_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/limits.h"
#include "crypto/point.h"

#define BODY_KEYS_MAX 8
#define BODY_NONCE_BYTES 32

enum body_shape { BODY_UNKNOWN, BODY_NEAR, BODY_PHALA, BODY_ACI };

/* A claimed encryption key: a valid point of secp256k1. */
struct body_key {
    uint8_t point[POINT_BYTES];
    char hex[POINT_HEX_CHARS + 1]; /* as sent (its case too), with 04 in front */
    bool from_keyset;              /* ACI: from attestation.workload_keyset.e2ee_public_keys */
};

struct attest_body {
    enum body_shape shape;
    struct body_key keys[BODY_KEYS_MAX]; /* in order of preference, without repetitions; may be none */
    size_t key_count;
    bool has_address;
    uint8_t address[ETH_ADDRESS_BYTES]; /* signing_address */
    bool has_verified, verified;        /* the provider's own opinion */
    bool has_model;                     /* the id that was asked for, as the provider repeats it */
    char model[LIMIT_MODEL_ID_BYTES + 1];
    bool has_algo, ecdsa; /* signing_algo, and whether it is that of our keys */
    size_t nonce_count;   /* claimed nonces (nonce, request_nonce), 0 to 2 */
    uint8_t nonces[2][BODY_NONCE_BYTES];
    int64_t fetched_at, stale_after, keyset_not_after; /* ACI, seconds since 1970; 0: absent */
    struct buf quote;                                  /* decoded bytes; never empty */
    struct buf event_log;                              /* JSON text of the array; empty: absent */
    struct buf app_compose;                            /* exact text; empty: absent */
    struct buf nvidia_payload;                         /* JSON text; empty: absent */
    struct buf vm_config;                              /* JSON text; empty: absent */
};

/* Room for nothing yet; safe to free. */
void body_init(struct attest_body *body);
void body_free(struct attest_body *body);
/* Reads text[0..len), at most LIMIT_ATTESTATION_BYTES. ERR_INVALID says which member breaks which rule: duplicate
 * keys, a key that is no point, two quotes that differ, no quote. Also accepts a capture that wraps the body as
 * {"_client_nonce":…,"attestation":{…}}. On failure body is empty. */
bool body_parse(struct attest_body *body, const char *text, size_t len, struct err *err) MUST_CHECK;

const char *body_shape_name(enum body_shape shape);

#endif
