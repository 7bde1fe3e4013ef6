/* Signatures of answers: the body of /tee/signature (protocol.md section 4). Any thread. */
#ifndef E2EE_ATTEST_SIGNATURE_H
#define E2EE_ATTEST_SIGNATURE_H

#include <stdint.h>

#include "base/err.h"
#include "crypto/hash.h"
#include "crypto/point.h"

#define SIGNATURE_BODY_BYTES_MAX 262144
#define SIGNATURE_TEXT_BYTES_MAX 4096

/* Forms of the signed text, told apart from the right, for model names may hold colons. */
enum signature_form {
    SIGNATURE_PAIR,       /* request:response */
    SIGNATURE_MODEL_PAIR, /* model:request:response */
    SIGNATURE_SINGLE      /* one hash, of what is not said */
};

struct signature_result {
    enum signature_form form;
    uint8_t signer[ETH_ADDRESS_BYTES]; /* recovered from the signature: the attested address */
    uint8_t request_hash[SHA256_BYTES], response_hash[SHA256_BYTES]; /* SINGLE: response_hash only */
    bool has_receipt; /* an ACI receipt lies beside it: noted, not checked */
};

/* Parses body[0..len), the answer to a question after the completion id, recovers who signed its text by EIP-191 and
 * compares with address, that of the key which the quote binds. True when they are the same. ERR_INVALID: malformed, or
 * about another completion; ERR_ATTESTATION: signed by another key, or the body names another signer than the one who
 * signed; *out is zero on failure. */
bool signature_check(struct signature_result *out, const char *body, size_t len, const char *id,
                     const uint8_t address[static ETH_ADDRESS_BYTES], struct err *err) MUST_CHECK;
/* One sentence for log, metrics help and the last comment of a stream: exactly what a good signature proves and what it
 * does not. Static text. */
const char *signature_meaning(const struct signature_result *r);

#endif
