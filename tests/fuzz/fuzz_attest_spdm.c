/* A GPU's report: what is read lies within the bytes and ends with the signature. Its certificate is
 * fuzz_attest_leaf's. */
#include <stdlib.h>
#include <string.h>

#include "attest/spdm.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool ok)
{
    if (!ok) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct spdm_report zero;
    struct spdm_report r;
    struct err err = {0};

    if (!spdm_parse(&r, data, size, &err)) {
        require(err.kind == ERR_INVALID && memcmp(&r, &zero, sizeof r) == 0);
        return 0;
    }
    require(r.message == data && r.message_len + SPDM_SIGNATURE_BYTES == size);
    require(r.signature == data + r.message_len && r.nonce == data + 4);
    require(r.blocks > 0 && r.record + r.blocks * SPDM_BLOCK_BYTES <= r.responder_nonce);
    require(r.responder_nonce + SPDM_NONCE_BYTES + 2 <= r.signature);
    require(r.fwid == NULL || (r.fwid > r.responder_nonce && r.fwid + SPDM_FWID_BYTES <= r.signature));
    require(memchr(r.driver, 0, sizeof r.driver) != NULL && memchr(r.vbios, 0, sizeof r.vbios) != NULL);
    return 0;
}
