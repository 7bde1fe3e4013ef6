/* A TDX quote, version 4 or 5, read by offsets (attestation.md section 1). Pointers are views of the caller's bytes and
 * live as long as these. Parsing proves nothing: no field has a meaning before the signatures are checked. */
#ifndef E2EE_ATTEST_QUOTE_H
#define E2EE_ATTEST_QUOTE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define QUOTE_BYTES_MAX 65536
#define QUOTE_HEADER_BYTES 48
#define QUOTE_SIGNATURE_BYTES 64
#define QUOTE_KEY_BYTES 64
#define QUOTE_QE_REPORT_BYTES 384
#define QUOTE_TD10_BYTES 584
#define QUOTE_TD15_BYTES 648

struct quote {
    unsigned version;   /* 4 or 5 */
    unsigned body_type; /* 2: TD report 1.0, 3: 1.5 */
    const uint8_t *bytes;
    size_t signed_len;              /* header and body: what the quote's signature covers */
    const uint8_t *body;            /* the TD report, QUOTE_TD10_BYTES or QUOTE_TD15_BYTES */
    const uint8_t *signature;       /* r || s over the first signed_len bytes */
    const uint8_t *attestation_key; /* X || Y */
    const uint8_t *qe_report;
    const uint8_t *qe_signature;
    const uint8_t *qe_auth; /* qe_auth_len bytes, possibly none */
    size_t qe_auth_len;
    const char *pck_pem; /* leaf, intermediate, root */
    size_t pck_pem_len;
    size_t used; /* bytes up to the end of the signature data; what follows is unsigned padding, never read */
};

/* Offsets within the TD report. */
enum quote_report_offset {
    TD_TEE_TCB_SVN = 0,
    TD_MRSEAM = 16,
    TD_MRSIGNERSEAM = 64,
    TD_SEAMATTRIBUTES = 112,
    TD_TDATTRIBUTES = 120,
    TD_XFAM = 128,
    TD_MRTD = 136,
    TD_MRCONFIGID = 184,
    TD_MROWNER = 232,
    TD_MROWNERCONFIG = 280,
    TD_RTMR0 = 328, /* four of 48 bytes */
    TD_REPORTDATA = 520,
    TD_TEE_TCB_SVN2 = 584, /* 1.5 only */
    TD_MRSERVICETD = 600   /* 1.5 only */
};

/* Offsets within the quoting enclave's report. */
enum quote_qe_offset {
    QE_CPUSVN = 0,
    QE_MISCSELECT = 16,
    QE_ATTRIBUTES = 48,
    QE_MRENCLAVE = 64,
    QE_MRSIGNER = 128,
    QE_ISVPRODID = 256,
    QE_ISVSVN = 258,
    QE_REPORTDATA = 320
};

/* ERR_INVALID (or ERR_UNSUPPORTED, ERR_TOO_LARGE) names the field; *out is empty then. */
bool quote_parse(struct quote *out, const uint8_t *bytes, size_t len, struct err *err) MUST_CHECK;

#endif
