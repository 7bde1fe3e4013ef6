/* Quotes: whatever parses has every view inside the bytes, and the same bytes without their padding parse alike. The
 * certificates in them are fuzz_attest_chain's. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "attest/quote.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void inside(const uint8_t *data, size_t size, const void *view, size_t len)
{
    const uint8_t *p = view;
    if (p < data || len > size || (size_t)(p - data) > size - len) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct quote q, cut;
    if (!quote_parse(&q, data, size, NULL)) {
        if (q.bytes != NULL) {
            abort();
        }
        return 0;
    }
    inside(data, size, data, q.used);
    inside(data, q.used, q.body, q.version == 5 && q.body_type == 3 ? QUOTE_TD15_BYTES : QUOTE_TD10_BYTES);
    inside(data, q.used, data, q.signed_len);
    inside(data, q.used, q.signature, QUOTE_SIGNATURE_BYTES);
    inside(data, q.used, q.attestation_key, QUOTE_KEY_BYTES);
    inside(data, q.used, q.qe_report, QUOTE_QE_REPORT_BYTES);
    inside(data, q.used, q.qe_signature, QUOTE_SIGNATURE_BYTES);
    inside(data, q.used, q.qe_auth, q.qe_auth_len);
    inside(data, q.used, q.pck_pem, q.pck_pem_len);
    if (!quote_parse(&cut, data, q.used, NULL) || memcmp(&cut, &q, sizeof q) != 0) {
        abort();
    }
    return 0;
}
