/* Collateral in other tools' JSON, and CRLs in three forms. */
#include <stdint.h>
#include <stdlib.h>

#include "attest/collateral.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct collateral c;
    struct buf crl;
    int64_t from, until;
    collateral_init(&c);
    buf_init(&crl, 0);
    if (collateral_parse_json(&c, (const char *)data, size, NULL)) {
        if (c.tcb_info.len == 0 || c.root_crl.len == 0) {
            abort();
        }
        if (!collateral_validity(&c, &from, &until, NULL) && (from != 0 || until != 0)) {
            abort();
        }
    } else if (c.tcb_info.len > 0 || c.pck_crl.len > 0) {
        abort();
    }
    if (collateral_set_crl(&crl, data, size, NULL) ? crl.len == 0 : crl.len > 0) {
        abort();
    }
    buf_free(&crl);
    collateral_free(&c);
    return 0;
}
