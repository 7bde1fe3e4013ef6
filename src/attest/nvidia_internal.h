/* Shared by the files that check GPUs. */
#ifndef E2EE_ATTEST_NVIDIA_INTERNAL_H
#define E2EE_ATTEST_NVIDIA_INTERNAL_H

#include "attest/certs.h"
#include "attest/nvidia.h"

/* Five certificates that end in root (NULL: NVIDIA's, pinned) at the moment now, all on P-384 with SHA-384. */
bool nvidia_chain_read(struct certs *out, const char *pem, size_t len, const struct attest_root *root,
                       int64_t now, struct err *err) MUST_CHECK;
/* The leaf is a GPU's, of the architecture that arch ("HOPPER", "BLACKWELL") names. */
bool nvidia_leaf_is(const X509 *leaf, const char *arch);
/* Whether the leaf was made for firmware of that identity: its DICE extension, of either kind, holds it. */
bool nvidia_leaf_has_fwid(const X509 *leaf, const uint8_t fwid[static SPDM_FWID_BYTES]);

#endif
