/*
 * Bodies of GET /tee/attestation in the three shapes of docs/PROTOCOL.md section 1, right or wrong as asked.
 */
#ifndef SIM_ATTEST_H
#define SIM_ATTEST_H

#include "model.h"

struct attest_request {
    const struct model *model;
    const char *model_id; /* as asked, a fault's suffix included */
    uint8_t nonce[32];
    bool server_nonce;
    struct fault_use fault;
    long stale_after; /* seconds of freshness that the ACI shape claims */
};

/* The body; caller frees. */
char *attest_body(const struct attest_request *request);

#endif
