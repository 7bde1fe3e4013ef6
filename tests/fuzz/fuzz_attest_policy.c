/* Policy files: what is read can be shown, and what is shown is read again as the same policy. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "attest/policy.h"
#include "base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct attest_policy p, again;
    struct buf shown;
    uint8_t a[SHA256_BYTES], b[SHA256_BYTES];
    char *text = size < POLICY_FILE_BYTES ? mem_strndup((const char *)data, size) : NULL;
    if (text == NULL) {
        return 0;
    }
    policy_init(&p);
    policy_init(&again);
    buf_init(&shown, 0);
    if (policy_parse(&p, "policy", text, NULL)) {
        if (p.accept & TCB_BIT(TCB_REVOKED) || !policy_show(&p, &shown, NULL) || buf_cstr(&shown) == NULL) {
            abort();
        }
        if (!policy_parse(&again, "policy", buf_cstr(&shown), NULL) || !policy_digest(&p, a) ||
            !policy_digest(&again, b) || memcmp(a, b, sizeof a) != 0) {
            abort();
        }
    }
    buf_free(&shown);
    policy_free(&p);
    policy_free(&again);
    mem_free(text);
    return 0;
}
