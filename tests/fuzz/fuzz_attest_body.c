/* Attestation bodies: what parses has a quote and valid keys; what does not leaves nothing. A verdict is always
 * reached, and never a good one without collateral. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "attest/attest.h"
#include "attest/body.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct attest_verdict v;
    static const uint8_t nonce[ATTEST_NONCE_BYTES];
    struct attest_body b;
    struct attest_policy policy;
    body_init(&b);
    bool ok = body_parse(&b, (const char *)data, size, NULL);
    if (ok ? b.quote.len == 0 : b.quote.len > 0 || b.key_count > 0 || b.event_log.len > 0) {
        abort();
    }
    for (size_t i = 0; i < b.key_count; i++) {
        if (!point_valid(b.keys[i].point) || strlen(b.keys[i].hex) != POINT_HEX_CHARS) {
            abort();
        }
    }
    body_free(&b);
    policy_init(&policy);
    struct attest_input in = {.body = (const char *)data, .body_len = size, .nonce = nonce, .model = "m"};
    if (attest_verify(&in, &policy, 1780000000, &v, NULL) && (v.verified || v.has_point)) {
        abort();
    }
    policy_free(&policy);
    return 0;
}
