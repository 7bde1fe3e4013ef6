/* The SGX extension of a PCK certificate: which platform it is, and its TCB (attestation.md section 1, step 4). */
#ifndef E2EE_ATTEST_SGX_H
#define E2EE_ATTEST_SGX_H

#include <openssl/types.h>
#include <stdint.h>

#include "base/err.h"

#define SGX_COMPONENTS 16

struct sgx_extension {
    uint8_t ppid[16], cpusvn[16], fmspc[6], pceid[2];
    uint8_t component[SGX_COMPONENTS];
    unsigned pcesvn;
};

/* The extension's value in DER. ERR_INVALID when a part is missing, there twice, malformed, or CPUSVN is not the
 * components. */
bool sgx_parse(struct sgx_extension *out, const uint8_t *der, size_t len, struct err *err) MUST_CHECK;
/* From the certificate, which must have exactly one such extension. */
bool sgx_of_cert(struct sgx_extension *out, const X509 *cert, struct err *err) MUST_CHECK;

#endif
