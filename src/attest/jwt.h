/* Tokens signed with ES384 (RFC 7515, 7518), and the key sets (RFC 7517) that verify them. Any thread. */
#ifndef E2EE_ATTEST_JWT_H
#define E2EE_ATTEST_JWT_H

#include "attest/ecdsa.h"
#include "base/buf.h"
#include "base/err.h"
#include "json/json.h"

#define JWT_BYTES_MAX 65536
#define JWT_KID_BYTES 128
#define JWKS_KEYS_MAX 256
#define JWKS_BYTES_MAX 1048576

struct jwks_key {
    char kid[JWT_KID_BYTES];
    uint8_t key[P384_KEY_BYTES];
};

/* The EC P-384 keys of a set; others are left out. */
struct jwks {
    struct jwks_key *keys; /* owned */
    size_t count;
};

/* ERR_INVALID: no key set, two keys of one kid, a malformed key. *out is empty on failure. */
bool jwks_parse(struct jwks *out, const char *text, size_t len, struct err *err) MUST_CHECK;
void jwks_free(struct jwks *set);

/* A token whose signature holds. */
struct jwt {
    struct buf text; /* the claims, JSON */
    struct json_doc claims;
};

void jwt_init(struct jwt *t);
void jwt_free(struct jwt *t);
/* Parses text and checks its signature with the key of set that its header names; alg must be ES384, "crit" absent.
 * ERR_INVALID names the rule; *t is empty on failure. */
bool jwt_verify(struct jwt *t, const char *text, size_t len, const struct jwks *set,
                struct err *err) MUST_CHECK;

#endif
