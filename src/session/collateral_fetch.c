#include "session/collateral_fetch.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/hex.h"
#include "base/mem.h"
#include "upstream/config.h"
#include "upstream/fetch.h"

#define FETCH_TIMEOUT_S 20 /* one piece */
#define URL_BYTES_MAX 1024

/* docs/ATTESTATION.md, collateral: Intel keeps its root's CRL on a host of its own; mirrors serve it as hex. */
#define INTEL_ROOT_CRL "https://certificates.trustedservices.intel.com/IntelSGXRootCA.der"
#define MIRROR_ROOT_CRL "/sgx/certification/v4/rootcacrl"

struct collateral_fetch {
    struct upstream_config *http;
    bool intel;
};

/* The URL without what the requests append themselves. */
static bool base_of(const char *url, char out[static URL_BYTES_MAX], struct err *err)
{
    static const char *const tails[] = {"/sgx/certification/v4", "/tdx/certification/v4"};
    size_t len = strlen(url);
    if (len >= URL_BYTES_MAX) {
        return err_set(err, ERR_CONFIG, "--collateral: the URL is too long");
    }
    memcpy(out, url, len + 1);
    while (len > 0 && out[len - 1] == '/') {
        out[--len] = '\0';
    }
    for (size_t i = 0; i < 2; i++) {
        size_t tail = strlen(tails[i]);
        if (len > tail && strcmp(out + len - tail, tails[i]) == 0) {
            out[len -= tail] = '\0';
        }
    }
    return true;
}

struct collateral_fetch *collateral_fetch_new(const char *url, bool unsafe_http, struct err *err)
{
    char base[URL_BYTES_MAX];
    const struct upstream_options options = {.base_url = base,
                                             .unsafe_http = unsafe_http,
                                             .silence_s = FETCH_TIMEOUT_S,
                                             .first_byte_s = FETCH_TIMEOUT_S};
    if (!base_of(url != NULL ? url : COLLATERAL_INTEL_URL, base, err)) {
        return NULL;
    }
    struct collateral_fetch *fetch = mem_calloc(1, sizeof *fetch);
    if (fetch == NULL) {
        err_set(err, ERR_MEMORY, "no memory for the source of collateral");
        return NULL;
    }
    fetch->intel = strcmp(base, COLLATERAL_INTEL_URL) == 0;
    fetch->http = upstream_config_new(&options, err);
    if (fetch->http == NULL) {
        err_context(err, "--collateral");
        mem_free(fetch);
        fetch = NULL;
    }
    return fetch;
}

void collateral_fetch_free(struct collateral_fetch *fetch)
{
    if (fetch != NULL) {
        upstream_config_free(fetch->http);
        mem_free(fetch);
    }
}

void collateral_fetch_abort(struct collateral_fetch *fetch)
{
    upstream_config_abort(fetch->http);
}

bool collateral_chain_decode(struct buf *out, const char *header, struct err *err)
{
    buf_reset(out);
    for (const char *p = header; *p != '\0'; p++) {
        uint8_t byte = (uint8_t)*p;
        if (*p == '%') {
            if (p[1] == '\0' || p[2] == '\0' || !hex_decode(&byte, p + 1, 2) || byte == 0) {
                buf_reset(out);
                return err_set(err, ERR_INVALID, "an issuer chain is not URL-encoded as it should be");
            }
            p += 2;
        }
        buf_append_byte(out, byte);
    }
    return buf_check(out, "an issuer chain", err);
}

static bool get(struct collateral_fetch *fetch, const char *path, const char *url,
                struct upstream_fetch_header *headers, size_t count, struct buf *out, struct err *err)
{
    const struct upstream_fetch_request request = {
        .path = path, .url = url, .timeout_s = FETCH_TIMEOUT_S, .headers = headers, .header_count = count};
    int status = 0;
    if (!upstream_fetch(fetch->http, &request, out, &status, NULL, err)) {
        return false;
    }
    if (status == 200 && out->len > 0) {
        return true;
    }
    buf_reset(out);
    return err_set(err, status == 404 || status == 410 ? ERR_NOT_FOUND : ERR_UPSTREAM,
                   status == 200   ? "the answer is empty"
                   : status == 404 ? "the service does not know it (status 404)"
                   : status == 410 ? "the service has retired it (status 410)"
                                   : "the service answered with status %d",
                   status);
}

/* A document whose issuer chain comes in a header, under one of two names. */
static bool get_chained(struct collateral_fetch *fetch, const char *path, const char *name,
                        const char *old_name, struct buf *out, struct buf *chain, struct err *err)
{
    struct upstream_fetch_header headers[] = {{.name = name}, {.name = old_name}};
    bool ok = get(fetch, path, NULL, headers, old_name != NULL ? 2 : 1, out, err);
    if (ok) {
        const char *text = headers[0].value != NULL ? headers[0].value : headers[1].value;
        ok = text != NULL ? collateral_chain_decode(chain, text, err)
                          : err_set(err, ERR_UPSTREAM, "the answer names no issuer chain");
    }
    mem_free(headers[0].value);
    mem_free(headers[1].value);
    return ok;
}

static bool get_crls(struct collateral_fetch *fetch, const struct collateral_key *key, struct collateral *out,
                     struct err *err)
{
    char path[128];
    struct buf raw;
    buf_init(&raw, COLLATERAL_ITEM_BYTES_MAX);
    snprintf(path, sizeof path, "/sgx/certification/v4/pckcrl?ca=%s&encoding=der",
             key->processor_ca ? "processor" : "platform");
    bool ok = (get_chained(fetch, path, "SGX-PCK-CRL-Issuer-Chain", NULL, &raw, &out->pck_crl_chain, err) &&
               collateral_set_crl(&out->pck_crl, raw.data, raw.len, err)) ||
              err_context(err, "PCK CRL");
    ok = ok && ((get(fetch, fetch->intel ? NULL : MIRROR_ROOT_CRL, fetch->intel ? INTEL_ROOT_CRL : NULL, NULL,
                     0, &raw, err) &&
                 collateral_set_crl(&out->root_crl, raw.data, raw.len, err)) ||
                err_context(err, "root CRL"));
    buf_free(&raw);
    return ok;
}

bool collateral_fetch(struct collateral_fetch *fetch, const struct collateral_key *key,
                      struct collateral *out, struct err *err)
{
    char path[128], qe_path[128], number[48] = "", fmspc[2 * FMSPC_BYTES + 1];
    collateral_free(out);
    if (key->evaluation != 0) {
        snprintf(number, sizeof number, "tcbEvaluationDataNumber=%" PRIu32, key->evaluation);
    }
    const char *and = number[0] != '\0' ? "&" : "", *with = number[0] != '\0' ? "?" : "";
    snprintf(path, sizeof path, "/tdx/certification/v4/tcb?fmspc=%s%s%s",
             hex_str(fmspc, key->fmspc, FMSPC_BYTES), and, number);
    snprintf(qe_path, sizeof qe_path, "/tdx/certification/v4/qe/identity%s%s", with, number);
    bool ok = (get_chained(fetch, path, "TCB-Info-Issuer-Chain", "SGX-TCB-Info-Issuer-Chain", &out->tcb_info,
                           &out->tcb_info_chain, err) ||
               err_context(err, "TCB info")) &&
              (get_chained(fetch, qe_path, "SGX-Enclave-Identity-Issuer-Chain", NULL, &out->qe_identity,
                           &out->qe_identity_chain, err) ||
               err_context(err, "QE identity")) &&
              get_crls(fetch, key, out, err);
    if (!ok) {
        collateral_free(out);
    }
    return ok;
}
