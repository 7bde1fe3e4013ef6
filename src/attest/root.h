/* The attestation root: Intel's SGX root CA, compiled in, or another given by --unsafe-attestation-root. */
#ifndef E2EE_ATTEST_ROOT_H
#define E2EE_ATTEST_ROOT_H

#include <stdint.h>

#include "base/err.h"
#include "crypto/hash.h"

struct attest_root; /* immutable; any thread */

/* Intel's root: DER checked against its SHA-256 (attestation.md section 1, step 2). */
struct attest_root *root_intel(struct err *err);
/* One certificate, DER or PEM. A second one in PEM stands in the place of NVIDIA's root. ERR_CONFIG, ERR_MEMORY. */
struct attest_root *root_parse(const uint8_t *data, size_t len, struct err *err);
void root_free(struct attest_root *root);
/* The root of GPUs that came with it, owned by it; NULL: NVIDIA's, compiled in. root may be NULL. */
const struct attest_root *root_gpus(const struct attest_root *root);
/* SHA-256 of the DER: state on disk is kept apart by it. */
const uint8_t *root_sha256(const struct attest_root *root);
bool root_is_intel(const struct attest_root *root);

#endif
