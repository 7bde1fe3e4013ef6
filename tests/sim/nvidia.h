/*
 * NVIDIA's remote attestation service, on the same port: POST /v3/attest/gpu and GET /.well-known/jwks.json. It vouches for
 * whatever evidence it gets; tests/pki signs. Faults of the endpoint "nras" (fault.h) make it say otherwise.
 */
#ifndef SIM_NVIDIA_H
#define SIM_NVIDIA_H

#include "http.h"

/* True when the path is one of the service. */
bool nras_handle(struct http_conn *conn, const struct http_request *request);
void nras_stop(void); /* frees everything */

#endif
