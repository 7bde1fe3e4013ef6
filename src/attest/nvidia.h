/* Evidence of NVIDIA GPUs, verified here and offline (attestation.md section 5): each report's signature by a key whose
 * certificates end in NVIDIA's pinned root, our nonce in it, and the firmware that the key was made for. What this
 * cannot say is said as not-checked: whether the measurements are good ones, whether a certificate was revoked, and
 * whether these GPUs are those of this guest. Any thread. */
#ifndef E2EE_ATTEST_NVIDIA_H
#define E2EE_ATTEST_NVIDIA_H

#include "attest/body.h"
#include "attest/ecdsa.h"
#include "attest/nras.h"
#include "attest/root.h"
#include "attest/spdm.h"
#include "attest/verdict.h"

#define NVIDIA_GPUS_MAX 64
#define NVIDIA_CHAIN 5 /* FMC LF, BROM, provisioner, model identity, device identity root */
#define NVIDIA_CHAIN_BYTES_MAX 65536
#define NVIDIA_NAME_BYTES 64

/* Steps in the order in which they are made; a device fails at the first that does not hold. */
enum nvidia_step {
    NVIDIA_CERTIFICATES, /* chain of five to the pinned root, all P-384 */
    NVIDIA_ARCH,         /* the leaf is a GPU's, of the architecture that was claimed */
    NVIDIA_REPORT,       /* SPDM request and response by their lengths */
    NVIDIA_SIGNATURE,
    NVIDIA_NONCE,
    NVIDIA_FIRMWARE, /* FWID in the report is the one in the leaf certificate */
    NVIDIA_VERIFIED  /* all of them hold */
};

/* One GPU, as far as it got. */
struct nvidia_device {
    enum nvidia_step reached; /* the step that failed, or NVIDIA_VERIFIED */
    bool firmware_absent;     /* driver 535 reports no FWID: firmware is not checked */
    uint8_t key[P384_KEY_BYTES];
    char driver[SPDM_TEXT_BYTES], vbios[SPDM_VBIOS_CHARS + 1];
};

/* Judges one report with its chain (PEM, leaf first; NUL padding behind is ignored) at the moment now. nonce is 32 bytes;
 * root NULL: NVIDIA's, pinned. True when all steps hold; else err is ERR_INVALID naming the step, or ERR_MEMORY, ERR_CRYPTO. */
bool nvidia_device_check(struct nvidia_device *out, const uint8_t *report, size_t report_len, const char *pem,
                         size_t pem_len, const char *arch, const uint8_t nonce[static SPDM_NONCE_BYTES],
                         const struct attest_root *root, int64_t now, struct err *err) MUST_CHECK;

/* By what a body's GPUs are judged. */
struct nvidia_terms {
    const uint8_t *nonce;             /* 32 bytes; NULL: the quote's own is expected */
    const struct attest_root *root;   /* NULL: NVIDIA's, pinned */
    const struct nras_evidence *nras; /* NULL: NVIDIA's service was not asked */
    bool enforced;
    bool required; /* a body without evidence of GPUs is refused; enforced is set then */
};

/* Appends gpu.evidence, gpu.certificates, gpu.report, gpu.signature, gpu.nonce, gpu.firmware and gpu.devices, enforced
 * or not, gpu.nras where NVIDIA's service was asked, and gpu.measurements, gpu.revocation and gpu.binding, as not checked
 * unless that service vouches for the first two. body NULL: not applicable. v->measurements must be filled. False only
 * for ERR_MEMORY, ERR_CRYPTO and ERR_INTERNAL. */
bool nvidia_check(struct attest_verdict *v, const struct attest_body *body, const struct nvidia_terms *terms,
                  struct err *err) MUST_CHECK;
/* Appends those checks as not-checked. */
void nvidia_skip(struct attest_verdict *v, bool enforced, const char *why);

#endif
