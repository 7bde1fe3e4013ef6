/* A GPU's attestation report: SPDM 1.1 GET_MEASUREMENTS request and MEASUREMENTS response, one behind the other
 * (attestation.md section 5, steps 2 and 4). Views of the caller's bytes; parsing proves nothing. */
#ifndef E2EE_ATTEST_SPDM_H
#define E2EE_ATTEST_SPDM_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define SPDM_BYTES_MAX 65536
#define SPDM_NONCE_BYTES 32
#define SPDM_SIGNATURE_BYTES 96
#define SPDM_FWID_BYTES 48
#define SPDM_TEXT_BYTES 40
#define SPDM_VBIOS_CHARS 14 /* "96.00.CF.00.02" */

struct spdm_report {
    const uint8_t *nonce;           /* of the request: the one that proves freshness */
    const uint8_t *responder_nonce; /* the GPU's own */
    unsigned slot;
    size_t blocks;          /* measurements, each a SHA-384 digest */
    const uint8_t *record;  /* blocks * SPDM_BLOCK_BYTES */
    const uint8_t *message; /* what the signature covers: all that comes before it */
    size_t message_len;
    const uint8_t *signature;     /* r || s; it ends the buffer */
    const uint8_t *fwid;          /* SPDM_FWID_BYTES, or NULL: drivers before 550 do not report it */
    char driver[SPDM_TEXT_BYTES]; /* version, or empty; only digits and dots */
    char vbios[SPDM_VBIOS_CHARS + 1];
};

#define SPDM_BLOCK_BYTES 55 /* index, specification, size, then type, size and 48 bytes of digest */

/* ERR_INVALID names the field and the rule; *out is zero then. */
bool spdm_parse(struct spdm_report *out, const uint8_t *bytes, size_t len, struct err *err) MUST_CHECK;

#endif
