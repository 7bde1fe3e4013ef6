/* NVIDIA's remote attestation service, made up: its key set and its answers, right and wrong. Shares no code with src/.
 * Failures of a library call abort: this is test code. */
#ifndef E2EE_TESTS_PKI_NRAS_H
#define E2EE_TESTS_PKI_NRAS_H

#include "pki/pki.h"

/* All zero, but for nonce, gpus and now, is what verifies. What befalls a GPU's token befalls the last one's. */
struct pki_nras_spec {
    uint8_t nonce[32];
    size_t gpus;
    int64_t now;
    bool overall_false; /* the service refuses */
    bool another_nonce; /* in the overall token */
    bool another_issuer;
    bool expired, future;
    bool another_key; /* signed by a key that is not the one its name stands for */
    bool unknown_key; /* named by nothing in the set */
    bool alg_none, alg_es256, crit;
    bool fewer;          /* of one GPU nothing is said */
    bool another_digest; /* a GPU's token is not the one the overall token names */
    bool gpu_nonce, gpu_measres, gpu_debug, gpu_secboot, gpu_issuer;
    bool ocsp, ocsp_revoked; /* tokens speak of revocation: good, or revoked */
    bool duplicate_claim;
};

struct pki_nras;

struct pki_nras *pki_nras_new(void);
void pki_nras_free(struct pki_nras *nras);
struct pki_bytes pki_nras_keys(const struct pki_nras *nras); /* JWKS */
struct pki_bytes pki_nras_answer(const struct pki_nras *nras, const struct pki_nras_spec *spec);

#endif
