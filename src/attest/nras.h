/* NVIDIA's remote attestation service, when the user has asked for it ([attestation] nras = on): its answer about the
 * evidence that was sent to it, and the key set that signs it (attestation.md section 5). It adds what cannot be checked
 * here, golden measurements and revocation, by NVIDIA's word: the keys live 48 hours and are believed because TLS says
 * that they are NVIDIA's. Bytes in; fetching is the caller's business. Any thread. */
#ifndef E2EE_ATTEST_NRAS_H
#define E2EE_ATTEST_NRAS_H

#include "attest/jwt.h"
#include "attest/verdict.h"

#define NRAS_ISSUER "https://nras.attestation.nvidia.com"
#define NRAS_NONCE_BYTES 32
#define NRAS_ANSWER_BYTES_MAX 1048576
#define NRAS_SKEW_S 120 /* its clock may be so far ahead of ours */

/* What the service said, as it came; views of the caller's bytes. */
struct nras_evidence {
    const char *answer, *keys;
    size_t answer_len, keys_len;
    const char *problem; /* why there is no answer; NULL when there is one */
};

struct nras_result {
    size_t gpus;
    int64_t expires;         /* earliest exp, seconds since 1970 */
    bool revocation_checked; /* every token says that no certificate is revoked; older answers do not say */
};

/* answer is [["JWT",token],{"GPU-0":token,…}]. Checks every token's signature, issuer, dates and nonce, the overall
 * result, each token's digest in the overall one, and each GPU's claims. gpus: how many evidence was sent for. True when
 * all hold; ERR_INVALID names what does not, or ERR_EXPIRED, ERR_MEMORY, ERR_CRYPTO; *out is zero then. */
bool nras_verify(struct nras_result *out, const char *answer, size_t answer_len, const struct jwks *set,
                 const uint8_t nonce[static NRAS_NONCE_BYTES], size_t gpus, int64_t now,
                 struct err *err) MUST_CHECK;

/* Appends gpu.nras, and what it says of gpu.measurements and gpu.revocation when it holds. False only for ERR_MEMORY,
 * ERR_CRYPTO and ERR_INTERNAL. */
bool nras_check(struct attest_verdict *v, const struct nras_evidence *evidence,
                const uint8_t nonce[static NRAS_NONCE_BYTES], size_t gpus, bool enforced,
                struct err *err) MUST_CHECK;

#endif
