/* GPUs like NVIDIA's: a chain of five certificates on P-384 and signed SPDM reports, as /tee/attestation carries them.
 * Written from docs of the formats; shares no code with src/. Failures of a library call abort: this is test code. */
#ifndef E2EE_TESTS_PKI_GPU_H
#define E2EE_TESTS_PKI_GPU_H

#include "pki/pki.h"

#define PKI_GPUS_MAX 8

/* What can be wrong with the evidence; all zero is what verifies. What befalls a report befalls the first one. */
struct pki_gpu_spec {
    uint8_t nonce[32];
    const char *arch;           /* NULL: "HOPPER" */
    const char *driver;         /* NULL: "570.172.08" */
    bool another_nonce;         /* the report was made for another nonce */
    bool another_firmware;      /* it names other firmware than its certificate */
    bool no_firmware;           /* it names none */
    bool flipped;               /* a bit of a measurement after signing */
    bool trailing;              /* a byte behind the signature */
    bool twice;                 /* the last entry is the first's */
    bool stranger;              /* all certificates end in another root */
    bool another_payload_nonce; /* what surrounds the list names another nonce */
};

struct pki_gpus; /* two roots, and a certificate for each GPU */

/* leaf_cn NULL: that of a Hopper GPU. */
struct pki_gpus *pki_gpus_new(int64_t now, const char *leaf_cn);
void pki_gpus_free(struct pki_gpus *gpus);
struct pki_bytes pki_gpus_root(const struct pki_gpus *gpus);                            /* PEM */
struct pki_bytes pki_gpu_chain(const struct pki_gpus *gpus, size_t gpu, bool stranger); /* PEM, leaf first */
struct pki_bytes pki_gpu_report(const struct pki_gpus *gpus, size_t gpu, const struct pki_gpu_spec *spec);
/* The JSON text nvidia_payload, with the evidence of the first count GPUs. */
struct pki_bytes pki_gpu_payload(const struct pki_gpus *gpus, size_t count, const struct pki_gpu_spec *spec);

#endif
