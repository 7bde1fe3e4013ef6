/*
 * Intel's part, and the GPU maker's, played by the PKI of tests/pki: certificates of the machine, quotes that its quoting enclave signs, and
 * the collateral service (paths of PCS and PCCS) that says what the machine is worth. Every simulator has a root of its
 * own, which a client must be told to trust.
 */
#ifndef SIM_INTEL_H
#define SIM_INTEL_H

#include "gpu.h"
#include "http.h"
#include "pki.h"
#include "util.h"

/* What the fields of a quote begin from; the caller sets its own and hands it back. */
void intel_spec(struct pki_spec *spec);
/* A signed quote. stranger: by a machine under another root. */
void intel_quote(const struct pki_spec *spec, bool stranger, struct bytes *out);
/* nvidia_payload with evidence of count GPUs, signed up to the root of GPUs. */
char *intel_gpus(size_t count, const struct pki_gpu_spec *spec);
/* The root and that of GPUs, PEM, into a file. */
bool intel_write_root(const char *path);
/* True when the path is one of the collateral service. */
bool intel_handle(struct http_conn *conn, const struct http_request *request);
/* What the collateral service serves from now on: a mode of README.md. */
bool intel_set_collateral(const char *mode);
void intel_reset(void);
void intel_stop(void); /* frees everything */

#endif
